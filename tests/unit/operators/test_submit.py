"""What submit sends, seen at the emulator, and the values and settings it refuses."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.graph.model import (
    Encoding,
    FromOutput,
    FromParameter,
    Graph,
    Parameter,
    Task,
    TaskKind,
)
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators.job_request import job_request
from airflow_vertex_provider.operators.parameters import check_environment, write_parameter
from airflow_vertex_provider.outputs import read_value
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.settings import PipelineSettings
from tests.unit.emulated import LOCATION, ROOT, spec

PIPELINE = PipelineSettings(location=LOCATION, pipeline_root=ROOT, project_id="demo-project")


class TestValues:
    def test_small(self, hook: VertexPipelineHook) -> None:
        text = write_parameter(Parameter("p"), {"a": "{{$}}"}, 1000, PIPELINE, hook)
        assert protocol.decode(text) == {"a": "{{$}}"}
        assert "{{" not in text

    def test_large_goes_into_a_file_once(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        value = ["x" * 100_000, {"ä": "\n"}]
        first = write_parameter(Parameter("p"), value, 24_000, PIPELINE, hook)
        second = write_parameter(Parameter("q"), value, 24_000, PIPELINE, hook)
        assert first == second
        reference = protocol.Reference.parse(first)
        digest = hashlib.sha256(protocol.encode(value).encode()).hexdigest()
        assert reference.uri == f"{ROOT}/values/{digest}.json"
        assert read_value(first, hook.read_gcs) == value

    @pytest.mark.parametrize(("limit", "large"), [(None, False), (12, False), (11, True)])
    def test_above_the_groups_own_limit(
        self, hook: VertexPipelineHook, limit: int | None, large: bool
    ) -> None:
        text = write_parameter(Parameter("p"), "x" * 10, 24_000, PIPELINE, hook, value_limit=limit)
        assert protocol.is_reference(text) is large
        assert read_value(text, hook.read_gcs) == "x" * 10
        bare = Parameter("p", encoding=Encoding.TEXT)
        assert write_parameter(bare, "x" * 20, 24_000, PIPELINE, hook, value_limit=limit) == "x" * 20

    def test_damaged_file(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        text = write_parameter(Parameter("p"), "x" * 100_000, 24_000, PIPELINE, hook)
        file = emulator.state_dir / "gcs" / protocol.Reference.parse(text).uri.removeprefix("gs://")
        file.write_bytes(file.read_bytes().replace(b"x", b"y"))
        with pytest.raises(VertexValueError, match=r"sha256|digest|size|bytes"):
            read_value(text, hook.read_gcs)

    def test_what_cannot_travel(self, hook: VertexPipelineHook) -> None:
        with pytest.raises(VertexValueError, match=r"'p'.*object"):
            write_parameter(Parameter("p"), [object()], 1000, PIPELINE, hook)

    @pytest.mark.parametrize(("value", "text"), [("plain 'text'", "plain 'text'"), ([1, "a"], '[1,"a"]')])
    def test_text(self, hook: VertexPipelineHook, value: Any, text: str) -> None:
        assert write_parameter(Parameter("p", Encoding.TEXT), value, 1000, PIPELINE, hook) == text

    @pytest.mark.parametrize(
        ("text", "found"), [("a {{$}} b", r"\{\{\$"), ("a\0b", "NUL"), ("a\ud800b", "surrogate")]
    )
    def test_text_that_no_argument_can_be(self, hook: VertexPipelineHook, text: str, found: str) -> None:
        with pytest.raises(VertexValueError, match=rf"'p'.*{found}"):
            write_parameter(Parameter("p", Encoding.TEXT), text, 1000, PIPELINE, hook)

    @pytest.mark.parametrize(
        ("part", "refused"),
        [
            ([{"$in": "x"}], True),
            (["a", {"$in": "x"}], False),
            ([{"$in": "out"}], False),
            ("fixed", False),
            ([{"$out": "o"}], False),
            ([{"$in": "x"}, {"$out": "o"}], False),
            ([{"$uri": "model"}], False),
        ],
    )
    def test_environment_variable_that_turns_out_empty(self, part: Any, refused: bool) -> None:
        box = Task(
            "g.box",
            "box",
            TaskKind.CONTAINER,
            {"env": {"DAY": part}},
            inputs={"x": FromParameter("p"), "out": FromOutput("g.a", "Text")},
        )
        check_environment(box, {"p": "text"})
        if refused:
            with pytest.raises(VertexValueError, match=r"g\.box: env\.DAY"):
                check_environment(box, {"p": ""})
        else:
            check_environment(box, {"p": ""})

    def test_text_too_long_for_an_argument(self, hook: VertexPipelineHook) -> None:
        with pytest.raises(VertexValueError, match=r"'p'.*100000 characters"):
            write_parameter(Parameter("p", Encoding.TEXT), "x" * 100_000, 24_000, PIPELINE, hook)


def test_every_job_setting_arrives(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    pipeline = PipelineSettings(
        location=LOCATION,
        pipeline_root="gs://bucket/elsewhere",
        service_account="w@demo-project.iam.gserviceaccount.com",
        network="projects/123/global/networks/vpc",
        reserved_ip_ranges=["range-a"],
        encryption_spec_key_name=f"projects/p/locations/{LOCATION}/keyRings/r/cryptoKeys/k",
        labels={"team": "blue"},
        failure_policy="fast",
        display_name="My run",
    )
    graph = Graph("D.Ag", "g", "d-ag-g", ())
    job, _ = job_request(graph, spec(), {"give": "1"}, pipeline, run_id="manual__2026-01-01T00:00:00+00:00")
    hook.create_job(location=LOCATION, job_id="job-1", job=job)
    sent = next(item.body for item in emulator.requests if item.method == "POST")
    assert sent["displayName"] == "My run"
    assert sent["serviceAccount"] == "w@demo-project.iam.gserviceaccount.com"
    assert sent["network"] == "projects/123/global/networks/vpc"
    assert sent["reservedIpRanges"] == ["range-a"]
    assert sent["encryptionSpec"]["kmsKeyName"].endswith("/k")
    assert sent["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/elsewhere"
    assert sent["runtimeConfig"]["failurePolicy"] in (2, "PIPELINE_FAILURE_POLICY_FAIL_FAST")
    assert sent["runtimeConfig"]["parameterValues"] == {"give": "1"}
    labels = sent["labels"]
    assert labels["team"] == "blue"
    assert set(labels) == {
        "team",
        "airflow_dag_id",
        "airflow_group_id",
        "airflow_run_id",
    }
    # The service took them, so they obey its rules.
    assert emulator.jobs()[0]["labels"]["airflow_dag_id"] == labels["airflow_dag_id"]


def test_psc_attachment_arrives(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    pipeline = PipelineSettings(location=LOCATION, pipeline_root=ROOT, psc_network_attachment="attachment")
    job, _ = job_request(Graph("d", "g", "d-g", ()), spec(), {"give": "1"}, pipeline, run_id="r")
    hook.create_job(location=LOCATION, job_id="job-1", job=job)
    sent = next(item.body for item in emulator.requests if item.method == "POST")
    assert sent["pscInterfaceConfig"] == {"networkAttachment": "attachment"}
    assert sent["displayName"] == "d.g"
