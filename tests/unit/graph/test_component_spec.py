"""Reading a component: objects, files and addresses, and everything that is none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, components, dsl

from airflow_vertex_provider.graph.component_spec import (
    Component,
    ComponentError,
    Port,
    artifact_type,
    fits,
    read_component,
    value_of_outputs,
)
from tests.unit import component_samples as samples

DATASET = "ARTIFACT system.Dataset@0.0.1"


def file_of(component: Any, path: Path) -> Path:
    compiler.Compiler().compile(component, str(path))
    return path


def refused(component: object, folder: Path) -> ComponentError:
    with pytest.raises(ComponentError) as caught:
        read_component(component, str(folder))
    return caught.value


class TestObjects:
    def test_a_python_component(self) -> None:
        found = read_component(samples.add, "")
        whole = samples.specification(samples.add)
        assert found == Component(
            name="add",
            specification=whole["components"]["comp-add"],
            components={},
            executors=whole["deploymentSpec"]["executors"],
            inputs={"a": Port("NUMBER_INTEGER"), "b": Port("NUMBER_INTEGER", optional=True)},
            outputs={"Output": "NUMBER_INTEGER"},
        )
        assert not found.is_pipeline
        assert json.loads(json.dumps(found.payload())) == found.payload()

    def test_an_object_is_compiled_once(self) -> None:
        assert read_component(samples.inner, "") is read_component(samples.inner, "elsewhere")

    def test_every_type_of_parameter(self) -> None:
        found = read_component(samples.every_type, "")
        assert {name: port.type for name, port in found.inputs.items()} == {
            "text": "STRING",
            "number": "NUMBER_INTEGER",
            "share": "NUMBER_DOUBLE",
            "flag": "BOOLEAN",
            "items": "LIST",
            "table": "STRUCT",
            "note": "STRING",
        }
        assert [name for name, port in found.inputs.items() if port.optional] == ["note"]
        assert found.outputs == {"Output": "STRUCT"}

    def test_artifacts(self) -> None:
        assert read_component(samples.write, "").outputs == {"data": DATASET}
        assert read_component(samples.read, "").inputs == {"data": Port(DATASET)}
        assert read_component(samples.judge, "").inputs == {
            "model": Port("ARTIFACT system.Model@0.0.1"),
            "anything": Port("ARTIFACT system.Artifact@0.0.1", optional=True),
        }

    def test_a_container_component(self) -> None:
        found = read_component(samples.shell, "")
        assert found.outputs == {"result": "STRING", "count": "NUMBER_INTEGER"}
        assert list(found.executors) == ["exec-shell"]
        assert read_component(samples.silent, "").outputs == {}

    def test_a_pipeline_is_taken_whole(self) -> None:
        found = read_component(samples.inner, "")
        whole = samples.specification(samples.inner)
        assert found.is_pipeline
        assert found.specification == whole["root"]
        assert found.components == whole["components"]
        assert found.executors == whole["deploymentSpec"]["executors"]
        assert found.inputs == {"n": Port("NUMBER_INTEGER"), "word": Port("STRING", optional=True)}

    def test_a_pipeline_in_a_pipeline(self) -> None:
        found = read_component(samples.outer_one, "")
        whole = samples.specification(samples.outer_one)
        assert found.components == whole["components"]
        assert found.executors == whole["deploymentSpec"]["executors"]
        assert any("importer" in executor for executor in found.executors.values())

    def test_a_pipeline_called_as_the_component_in_it(self) -> None:
        found = read_component(samples.namesake, "")
        assert found.is_pipeline
        assert list(found.inputs) == ["n"]

    def test_googles_components(self) -> None:
        from google_cloud_pipeline_components.v1.bigquery import BigqueryQueryJobOp
        from google_cloud_pipeline_components.v1.custom_job import CustomTrainingJobOp

        job = read_component(CustomTrainingJobOp, "")
        assert job.inputs["display_name"] == Port("STRING")
        assert job.inputs["worker_pool_specs"] == Port("LIST", optional=True)
        assert job.outputs == {"gcp_resources": "STRING"}
        assert read_component(BigqueryQueryJobOp, "").outputs == {
            "destination_table": "ARTIFACT google.BQTable@0.0.1",
            "gcp_resources": "STRING",
        }

    def test_a_component_of_kfp_1_that_kfp_has_read(self) -> None:
        found = read_component(components.load_component_from_text(yaml.safe_dump(OLD)), "")
        assert found.inputs == {"text": Port("STRING")}
        assert found.outputs == {"length": "NUMBER_INTEGER"}

    def test_what_is_no_component(self, tmp_path: Path) -> None:
        def function(a: int) -> int:
            return a

        things: list[object] = [function, 5, None, {"root": {}}, samples.add.python_func]
        for thing in things:
            assert "load_component_from_file" in refused(thing, tmp_path).allowed
        error = refused(dsl.importer, tmp_path)
        assert "@dsl.pipeline" in error.allowed

    def test_a_component_that_was_called(self, tmp_path: Path) -> None:
        assert refused(samples.a_call(), tmp_path).found == "the call of a component"

    def test_a_component_that_is_for_exit_tasks(self, tmp_path: Path) -> None:
        assert "'status'" in refused(samples.farewell, tmp_path).found

    def test_settings_for_kubernetes(self, tmp_path: Path) -> None:
        path = file_of(samples.add, tmp_path / "add.yaml")
        with path.open("a") as file:
            file.write("---\nplatforms:\n  kubernetes:\n    deploymentSpec: {}\n")
        assert "Kubernetes" in refused(path, tmp_path).found


OLD = {
    "name": "Count",
    "inputs": [{"name": "text", "type": "String"}],
    "outputs": [{"name": "length", "type": "Integer"}],
    "implementation": {
        "container": {
            "image": "alpine",
            "command": ["count", {"inputValue": "text"}, {"outputPath": "length"}],
        }
    },
}


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["add", "write", "shell", "inner", "outer_one", "namesake", "every_type"]
    )
    def test_a_file_is_the_same_as_the_object(self, name: str, tmp_path: Path) -> None:
        component = getattr(samples, name)
        file_of(component, tmp_path / "c.yaml")
        assert read_component("c.yaml", str(tmp_path)) == read_component(component, "")

    def test_json(self, tmp_path: Path) -> None:
        path = file_of(samples.inner, tmp_path / "c.json")
        assert read_component(path, "") == read_component(samples.inner, "")

    def test_path_object_absolute_path_and_file_url(self, tmp_path: Path) -> None:
        path = file_of(samples.add, tmp_path / "a b.yaml")
        wanted = read_component(samples.add, "")
        for way in (path, str(path), path.as_uri(), f"file://localhost{tmp_path}/a%20b.yaml"):
            assert read_component(way, "/elsewhere") == wanted

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = file_of(samples.add, tmp_path / "c.yaml")
        read_component(path, "")
        file_of(samples.shell, path)
        os.utime(path, ns=(1, 1))
        assert read_component(path, "").name == "shell"

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        error = refused("none.yaml", tmp_path)
        assert str(tmp_path / "none.yaml") in error.found
        assert "file that can be read" in refused(str(tmp_path), tmp_path).allowed

    def test_a_component_of_kfp_1(self, tmp_path: Path) -> None:
        path = tmp_path / "old.yaml"
        path.write_text(yaml.safe_dump(OLD))
        error = refused(path, tmp_path)
        assert "kfp 1" in error.found
        assert "load_component_from_file" in error.allowed
        assert "compile" in error.allowed

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "- 1",
            "just text",
            "a: [",
            "\x00",
            "root: 5",
            "{pipelineInfo: {name: x}, root: {dag: {tasks: {a: {componentRef: {name: comp-none}}}}}}",
            "pipelineSpec: {root: {}}\nruntimeConfig: {}",
            "{pipelineInfo: {name: x}, root: {dag: {tasks: {}}, inputDefinitions: {parameters: {a: {}}}}}",
            "{pipelineInfo: {name: x}, date: 2024-01-01, root: {dag: {tasks: {}}}}",
            "{pipelineInfo: {name: x}, root: {dag: {tasks: {}}}, components: .nan}",
        ],
    )
    def test_files_that_kfp_did_not_write(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        assert str(path) in refused(path, tmp_path).found

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_bytes(b"\xff\xfe\xfa")
        assert "no YAML" in refused(path, tmp_path).found

    def test_a_type_of_another_day(self, tmp_path: Path) -> None:
        whole = samples.specification(samples.add)
        for spec in (whole["root"], whole["components"]["comp-add"]):
            spec["inputDefinitions"]["parameters"]["a"]["parameterType"] = "TASK_CONFIG"
        path = tmp_path / "c.json"
        path.write_text(json.dumps(whole))
        assert "TASK_CONFIG" in refused(path, tmp_path).found


class TestAddresses:
    REGISTRY = "https://europe-west4-kfp.pkg.dev/acme/ml/add/sha256:0123abcd"

    def test_a_registry_path_with_its_file_on_disk(self, tmp_path: Path) -> None:
        folder = tmp_path / "vertex_components/europe-west4-kfp.pkg.dev/acme/ml/add"
        error = refused(self.REGISTRY, tmp_path)
        assert str(folder / "sha256-0123abcd.yaml") in error.allowed
        assert "download_pipeline" in error.allowed
        folder.mkdir(parents=True)
        file_of(samples.add, folder / "sha256-0123abcd.yaml")
        assert read_component(self.REGISTRY, str(tmp_path)) == read_component(samples.add, "")

    def test_another_address_with_its_file_on_disk(self, tmp_path: Path) -> None:
        folder = tmp_path / "vertex_components/example.com/shared"
        url = "https://example.com/shared/add.yaml"
        assert str(folder / "add.yaml") in refused(url, tmp_path).allowed
        folder.mkdir(parents=True)
        file_of(samples.add, folder / "add.yaml")
        assert read_component(url, str(tmp_path)) == read_component(samples.add, "")

    @pytest.mark.parametrize(
        "url",
        [
            "https://europe-west4-kfp.pkg.dev/acme/ml/add",
            "https://example.com",
            "https://example.com/../../etc/passwd",
            "https://example.com/%2e%2e/secret.yaml",
            "gs://bucket/add.yaml",
            "ftp://example.com/add.yaml",
            "file://elsewhere/add.yaml",
        ],
    )
    def test_addresses_that_are_refused(self, url: str, tmp_path: Path) -> None:
        assert url in refused(url, tmp_path).found


class TestTypes:
    def test_artifacts_fit_as_kfp_has_it(self) -> None:
        list_of = "ARTIFACT_LIST system.Dataset@0.0.1"
        assert fits(DATASET, DATASET)
        assert fits(DATASET, "ARTIFACT system.Dataset@0.2.0")
        assert fits(DATASET, "ARTIFACT system.Artifact@0.0.1")
        assert fits("ARTIFACT system.Artifact@0.0.1", DATASET)
        assert not fits(DATASET, "ARTIFACT system.Model@0.0.1")
        assert not fits(DATASET, "ARTIFACT system.Dataset@1.0.0")
        assert not fits(DATASET, list_of)
        assert fits(list_of, list_of)

    def test_parameters_fit_their_own_type(self) -> None:
        assert fits("STRING", "STRING")
        assert not fits("NUMBER_INTEGER", "NUMBER_DOUBLE")
        assert not fits("STRING", DATASET)
        assert not fits(DATASET, "STRING")

    def test_a_type_without_a_schema_is_any_artifact(self) -> None:
        assert artifact_type({}) == "ARTIFACT system.Artifact@0.0.1"


class TestValues:
    def test_the_only_output_is_the_value(self) -> None:
        assert value_of_outputs({"Output": "NUMBER_INTEGER"}, {"Output": 3.0}) == 3
        assert type(value_of_outputs({"Output": "NUMBER_INTEGER"}, {"Output": 3.0})) is int
        assert value_of_outputs({"Output": DATASET}, {"Output": {"uri": "gs://b/o"}}) == {"uri": "gs://b/o"}

    def test_others_are_a_dict(self) -> None:
        types = {"a": "STRING", "b": "STRUCT", "data": DATASET, "late": "BOOLEAN"}
        found = {"a": "1.0", "b": {"k": [1.0, 0.5, True]}, "data": {"uri": "gs://b/o", "n": 1.0}, "x": 1}
        value = value_of_outputs(types, found)
        assert value == {
            "a": "1.0",
            "b": {"k": [1, 0.5, True]},
            "data": {"uri": "gs://b/o", "n": 1.0},
            "late": None,
        }
        assert json.dumps(value["b"]) == '{"k": [1, 0.5, true]}'

    def test_none(self) -> None:
        assert value_of_outputs({}, {"x": 1}) is None


def test_reading_a_file_loads_neither_kfp_nor_google(tmp_path: Path) -> None:
    path = file_of(samples.outer_one, tmp_path / "c.yaml")
    code = (
        "import sys\n"
        "from airflow_vertex_provider.graph.component_spec import read_component\n"
        f"read_component({str(path)!r}, '')\n"
        "sys.exit(any(name.startswith(('kfp', 'google.protobuf')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
