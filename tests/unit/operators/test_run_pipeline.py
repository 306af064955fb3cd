"""A compiled pipeline run by an operator, on the emulator: where templates come from, attempts, XComs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_vertex_provider import RunVertexPipelineOperator
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import (
    VertexConfigurationError,
    VertexRunFailedError,
    VertexSettingsError,
    VertexSubmissionError,
)
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators import ending, pipeline_job
from tests.emulator.pipelines import COPY, Pipeline, parameter, say
from tests.support.processes import wait_until
from tests.unit.operators.driving import Instance, context, drive

ROOT = "gs://demo-bucket/root"


def spec(**parameters: Any) -> dict[str, Any]:
    """Return a pipeline that gives its parameter ``x`` back, and a number and a list of its own."""
    pipeline = Pipeline("copying", **{"x": "STRING", **parameters})
    pipeline.python("copy", COPY, inputs={"x": parameter("x")}, outputs={"Output": "STRING"})
    pipeline.task("count", say("3"), outputs={"Output": "NUMBER_INTEGER"})
    pipeline.task("rate", say("2.0"), outputs={"Output": "NUMBER_DOUBLE"})
    pipeline.task("list", say('[1, {"a": 2.5}]'), outputs={"Output": "LIST"})
    pipeline.result("copied", "copy").result("counted", "count", "NUMBER_INTEGER")
    return pipeline.result("rated", "rate", "NUMBER_DOUBLE").result("listed", "list", "LIST").spec()


def gated(gate: Path) -> dict[str, Any]:
    """Return a pipeline that fails unless a file is there."""
    return Pipeline("gated").task("look", ["test", "-e", str(gate)]).spec()


def waiting(gate: Path) -> dict[str, Any]:
    """Return a pipeline that runs until a file is there."""
    loop = f"while ! test -e {gate}; do sleep 0.05; done"
    return Pipeline("waiting").task("wait", ["sh", "-c", loop]).spec()


def run(template: Any, **options: Any) -> RunVertexPipelineOperator:
    options = {"task_id": "run", "poll_interval": 0.05, **options}
    with DAG("d"):
        return RunVertexPipelineOperator(template=template, **options)


def sent(emulator: VertexEmulator) -> dict[str, Any]:
    """Return the body of the last create."""
    body: dict[str, Any] = [item.body for item in emulator.requests if item.method == "POST"][-1]
    return body


def ids(emulator: VertexEmulator) -> list[str]:
    return [job["name"].rpartition("/")[2] for job in emulator.jobs()]


class TestXComs:
    @pytest.mark.parametrize("deferrable", [True, False])
    def test_the_same_deferrable_or_not(self, emulator: VertexEmulator, deferrable: bool) -> None:
        def make() -> RunVertexPipelineOperator:
            return run(spec(), parameter_values={"x": "{% it's"}, deferrable=deferrable)

        value, instance = drive(make(), again=make)
        job = emulator.jobs()[0]
        assert value == {
            "job_name": job["name"],
            "state": "PIPELINE_STATE_SUCCEEDED",
            "url": instance.pushed["vertex_url"],
            "outputs": {
                "copied": "{% it's",
                "counted": 3,
                "rated": 2.0,
                "listed": [1, {"a": 2.5}],
            },
        }
        assert isinstance(value["outputs"]["counted"], int)
        assert isinstance(value["outputs"]["rated"], float)
        assert instance.pushed["return_value"] == value
        assert instance.pushed["vertex_state"] == "PIPELINE_STATE_SUCCEEDED"
        assert instance.pushed["vertex_job_name"] == job["name"]
        assert job["name"].rpartition("/")[2] in instance.pushed["vertex_url"]
        assert instance.pushed["vertex_logs_url"]

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_of_a_failure(self, emulator: VertexEmulator, tmp_path: Path, deferrable: bool) -> None:
        instance = Instance("run")
        with pytest.raises(VertexRunFailedError, match="look") as raised:
            drive(run(gated(tmp_path / "gate"), deferrable=deferrable), instance)
        assert not isinstance(raised.value, AirflowFailException)  # Airflow may try again
        assert instance.pushed["vertex_state"] == "PIPELINE_STATE_FAILED"
        assert instance.pushed["return_value"]["state"] == "PIPELINE_STATE_FAILED"
        assert instance.pushed["vertex_url"] == instance.pushed["return_value"]["url"]
        addresses = {"vertex_url", "vertex_logs_url", "vertex_job_name"}
        assert set(instance.pushed) == {*addresses, "vertex_state", "return_value"}

    def test_without_a_wait(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        value, instance = drive(run(waiting(tmp_path / "gate"), wait_for_completion=False))
        assert set(value) == {"job_name", "state", "url", "outputs"}
        assert value["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING")
        assert instance.pushed["vertex_state"] == value["state"]
        assert instance.pushed["vertex_url"] == value["url"]

    def test_addresses_are_there_before_the_wait(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        instance = Instance("run")
        with pytest.raises(TaskDeferred):
            run(waiting(tmp_path / "gate")).execute(context(instance))
        assert set(instance.pushed) == {"vertex_url", "vertex_logs_url", "vertex_job_name"}


class TestTemplates:
    @pytest.mark.parametrize("name", ["p.json", "p.yaml", "p.yml"])
    def test_file(self, emulator: VertexEmulator, tmp_path: Path, name: str) -> None:
        dump = json.dumps if name.endswith("json") else yaml.safe_dump
        (tmp_path / name).write_text(dump(spec()))
        value, _ = drive(run(str(tmp_path / name), parameter_values={"x": "1"}))
        assert value["outputs"]["copied"] == "1"
        assert run(tmp_path / name).template == str(tmp_path / name)

    def test_relative_path_starts_at_the_dag_file(self, emulator: VertexEmulator) -> None:
        operator = run("beside.yaml", parameter_values={"x": "1"})
        with pytest.raises(
            VertexSettingsError, match=f"{Path(__file__).parent / 'beside.yaml'}.*No such file"
        ):
            drive(operator)

    def test_cloud_storage(self, emulator: VertexEmulator, hook: VertexPipelineHook) -> None:
        hook.write_gcs("gs://bucket/pipelines/p.yaml", yaml.safe_dump(spec()).encode())
        value, _ = drive(run("gs://bucket/pipelines/p.yaml", parameter_values={"x": "1"}))
        assert value["outputs"]["copied"] == "1"

    def test_kfp_2_with_settings_for_kubernetes(
        self, emulator: VertexEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        platform: dict[str, Any] = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"e": {}}}}}}
        (tmp_path / "p.yaml").write_text(yaml.safe_dump_all([spec(), platform]))
        value, _ = drive(run(str(tmp_path / "p.yaml"), parameter_values={"x": "1"}))
        assert value["outputs"]["copied"] == "1"

    def test_what_kfp_compiles(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        from tests.unit.compiler.kfp_pipelines import containers

        containers(tmp_path)
        operator = run(
            str(tmp_path / "kfp.yaml"),
            parameter_values={"start": "now", "unused": ""},
            wait_for_completion=False,
        )
        drive(operator)
        assert set(sent(emulator)["pipelineSpec"]["root"]["dag"]["tasks"]) == {"load", "fit-model", "report"}

    def test_job_around_the_spec(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        job = {"pipelineSpec": spec(), "runtimeConfig": {"parameterValues": {"x": "own"}}}
        (tmp_path / "p.json").write_text(json.dumps(job))
        value, _ = drive(run(str(tmp_path / "p.json")))
        assert value["outputs"]["copied"] == "own"

    def test_the_templates_own_root_goes_before_the_connections(self, emulator: VertexEmulator) -> None:
        template = {**spec(), "defaultPipelineRoot": "gs://bucket/of-the-template"}
        values = {"x": "1"}
        drive(run(template, parameter_values=values, wait_for_completion=False))
        assert sent(emulator)["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/of-the-template"
        mine = run(
            template,
            parameter_values=values,
            pipeline_root="gs://bucket/mine",
            wait_for_completion=False,
            task_id="mine",
        )
        drive(mine)
        assert sent(emulator)["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/mine"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("- a\n- b", "list at its top"),
            ("a: [", "neither JSON nor YAML"),
            ("a: !!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
            ("a: 2024-01-01", "datetime.date"),
            ("1: a", "the key 1"),
            ("{}", "schemaVersion none"),
            ("schemaVersion: 2.0.0", "schemaVersion 2.0.0"),
            ("schemaVersion: 2.1.0", "no pipelineInfo.name"),
            ("schemaVersion: 2.1.0\nimplementation: {}", "KFP 1"),
            ("a: 1\n---\nb: 2", "no platform spec"),
            ("[" * 200 + "]" * 200, "neither JSON|levels"),
            ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
                f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
            ), "1000000 values"),
        ],
    )  # fmt: skip
    def test_what_is_no_pipeline(
        self, emulator: VertexEmulator, tmp_path: Path, text: str, found: str
    ) -> None:
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(VertexSettingsError, match=rf"(?s)run: template: .*({found}).*allowed: "):
            drive(run(str(tmp_path / "p.yaml")))
        assert ids(emulator) == []

    @pytest.mark.parametrize(
        "template",
        [
            "p.txt",
            "",
            "gs://bucket",
            "http://host/p.yaml",
            "https://host/p.yaml",
            "https://europe-west4-kfp.pkg.dev/p/r/k",
            "https://europe-west4-kfp.pkg.dev/p/r/k/sha256:12",
            3,
            {"schemaVersion": "2.1.0"},
        ],
    )
    def test_refused_at_parse(self, template: Any) -> None:
        with pytest.raises(VertexConfigurationError, match=r"template: found .*allowed: "):
            run(template)

    def test_nothing_of_it_is_rendered(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        (tmp_path / "p.json").write_text(json.dumps(spec()))
        for number, template in enumerate((spec(), str(tmp_path / "{{ name }}.json"))):
            operator = run(
                template,
                parameter_values={"x": "{{ value }}"},
                labels={"team": "{{ name }}"},
                enable_caching="{{ flag }}",
                task_id=f"run-{number}",
                wait_for_completion=False,
            )
            known: Any = {"name": "p", "value": "{{$}}", "flag": False}
            operator.render_template_fields(known)
            drive(operator)
            body = sent(emulator)
            assert body["runtimeConfig"]["parameterValues"] == {"x": "{{$}}"}
            assert body["labels"]["team"] == "p"
            container = body["pipelineSpec"]["deploymentSpec"]["executors"]["exec-copy"]["container"]
            assert container["args"] == ["{{$}}"]
            caching = {
                task["cachingOptions"]["enableCache"]
                for task in body["pipelineSpec"]["root"]["dag"]["tasks"].values()
            }
            assert caching == {False}

    def test_a_spec_from_another_task(self, emulator: VertexEmulator) -> None:
        from airflow.sdk import task

        with DAG("d"):
            given: Any = task(task_id="give")(spec)()
            operator = RunVertexPipelineOperator(
                task_id="run", template=given, parameter_values={"x": "1"}, wait_for_completion=False
            )
        operator.template = spec()  # what rendering makes of it
        drive(operator)
        assert sent(emulator)["pipelineSpec"]["pipelineInfo"]["name"] == "copying"


class TestRequest:
    def test_every_setting_arrives(self, emulator: VertexEmulator) -> None:
        key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
        drive(
            run(
                spec(),
                parameter_values={"x": "1"},
                location="europe-west1",
                project_id="other-project",
                pipeline_root="gs://bucket/elsewhere",
                service_account="w@demo-project.iam.gserviceaccount.com",
                network="projects/123/global/networks/vpc",
                reserved_ip_ranges=["range-a"],
                encryption_spec_key_name=key,
                labels={"team": "blue"},
                failure_policy="fast",
                display_name="My run",
                preflight_validations=True,
                job_overrides={"labels": {"more": "x"}},
                wait_for_completion=False,
            )
        )
        body, job = sent(emulator), emulator.jobs()[0]
        assert "/locations/europe-west1/" in job["name"]
        assert body["displayName"] == "My run"
        assert body["serviceAccount"] == "w@demo-project.iam.gserviceaccount.com"
        assert body["network"] == "projects/123/global/networks/vpc"
        assert body["reservedIpRanges"] == ["range-a"]
        assert body["encryptionSpec"] == {"kmsKeyName": key}
        assert body["preflightValidations"] is True
        assert body["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/elsewhere"
        assert body["runtimeConfig"]["failurePolicy"] in (2, "PIPELINE_FAILURE_POLICY_FAIL_FAST")
        assert set(body["labels"]) == {
            "team",
            "more",
            "airflow_dag_id",
            "airflow_task_id",
            "airflow_run_id",
            "airflow_attempt",
            "airflow_max_tries",
            "airflow_try_number",
            "airflow_fingerprint",
        }

    def test_the_connection_says_what_the_task_does_not(self, emulator: VertexEmulator) -> None:
        drive(run(spec(), parameter_values={"x": "1"}, wait_for_completion=False))
        body = sent(emulator)
        assert body["runtimeConfig"]["gcsOutputDirectory"] == ROOT
        assert body["displayName"] == "d.run"
        assert "/locations/europe-west4/" in emulator.jobs()[0]["name"]

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"location": "nowhere"}, "location"),
            ({"labels": {"A": "b"}}, "labels"),
            ({"labels": {"airflow_task_id": "b"}}, "labels.airflow_task_id"),
            ({"failure_policy": "none"}, "failure_policy"),
            ({"enable_caching": "perhaps"}, "enable_caching"),
            ({"job_id": "Not-An-Id"}, "job_id"),
            (
                {"network": "projects/1/global/networks/v", "psc_network_attachment": "a"},
                "network",
            ),
            ({"job_overrides": {"pipeline_spec": {}}}, "job_overrides.pipeline_spec"),
        ],
    )
    def test_settings_are_checked_at_parse(self, options: dict[str, Any], field: str) -> None:
        with pytest.raises(VertexSettingsError, match=rf"run: {field}: found .*allowed: "):
            run(spec(), **options)

    def test_input_artifacts(self, emulator: VertexEmulator) -> None:
        template = spec()
        template["root"]["inputDefinitions"]["artifacts"] = {
            "data": {"artifactType": {"schemaTitle": "system.Dataset"}},
            "more": {"artifactType": {"schemaTitle": "system.Dataset"}, "isOptional": True},
        }
        full = "projects/1/locations/europe-west4/metadataStores/default/artifacts/77"
        for number, (given, identifier) in enumerate(
            [({"data": "55", "more": None}, "55"), ({"data": full}, "77")]
        ):
            operator = run(
                template,
                parameter_values={"x": "1"},
                input_artifacts=given,
                wait_for_completion=False,
                task_id=f"run-{number}",
            )
            drive(operator)
            assert sent(emulator)["runtimeConfig"]["inputArtifacts"] == {"data": {"artifactId": identifier}}
        wrong: list[tuple[Any, str]] = [
            ({}, r"input_artifacts\.data: found None; .*system\.Dataset"),
            ({"data": "a/b"}, r"input_artifacts\.data: found 'a/b'"),
            (
                {"data": "1", "date": "2"},
                r"input_artifacts: found 'date'; .*data, more \(did you mean 'data'",
            ),
        ]
        for given, message in wrong:
            with pytest.raises(VertexSettingsError, match=message):
                drive(run(template, parameter_values={"x": "1"}, input_artifacts=given))

    @pytest.mark.parametrize("enabled", [None, True, False])
    def test_caching(self, emulator: VertexEmulator, enabled: bool | None) -> None:
        inner = Pipeline("inner").task("deep", cache=True).task("plain")
        template = Pipeline("outer").task("top").nested("inside", inner).spec()
        given = copy.deepcopy(template)
        drive(run(template, enable_caching=enabled, wait_for_completion=False))
        assert template == given
        found = sent(emulator)["pipelineSpec"]
        if enabled is None:
            assert found == template
            return
        tasks = [
            *found["root"]["dag"]["tasks"].values(),
            *found["components"]["comp-inside"]["dag"]["tasks"].values(),
        ]
        assert len(tasks) == 4
        assert [task["cachingOptions"] for task in tasks] == [{"enableCache": enabled}] * 4


class TestParameters:
    DECLARED = {  # noqa: RUF012
        "n": "NUMBER_INTEGER",
        "rate": "NUMBER_DOUBLE",
        "flag": "BOOLEAN",
        "items": "LIST",
        "map": "STRUCT",
    }

    def template(self) -> dict[str, Any]:
        template = spec(**self.DECLARED)
        for item in template["root"]["inputDefinitions"]["parameters"].values():
            item["isOptional"] = True
        return template

    def body(self, emulator: VertexEmulator, **values: Any) -> dict[str, Any]:
        drive(run(self.template(), parameter_values=values, wait_for_completion=False))
        found: dict[str, Any] = sent(emulator)["runtimeConfig"].get("parameterValues", {})
        return found

    def test_typed(self, emulator: VertexEmulator) -> None:
        values = {"x": "3", "n": 3, "rate": 1, "flag": False, "items": [1, None, "a"], "map": {"a": [True]}}
        assert self.body(emulator, **values) == values

    def test_what_a_rendered_template_leaves(self, emulator: VertexEmulator) -> None:
        texts = {"x": "3", "n": " 3", "rate": "0.5", "flag": "False", "items": "[1]", "map": '{"a": 1}'}
        typed = {"x": "3", "n": 3, "rate": 0.5, "flag": False, "items": [1], "map": {"a": 1}}
        assert self.body(emulator, **texts) == typed

    def test_none_is_not_sent(self, emulator: VertexEmulator) -> None:
        assert self.body(emulator, n=None, x="a") == {"x": "a"}

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                {"X": "1"},
                r"run: parameter_values: found 'X'; allowed: inputs of the pipeline: flag, items, map, ",
            ),
            ({"n": "three"}, r"run: parameter_values\.n: found 'three'; allowed: a whole number"),
            ({"n": 2.5}, r"parameter_values\.n: found 2\.5"),
            ({"n": True}, r"parameter_values\.n: found True"),
            ({"n": 2**53 + 1}, r"parameter_values\.n: found 9007199254740993; allowed: whole numbers up to"),
            ({"x": 1}, r"parameter_values\.x: found 1; allowed: a text"),
            ({"flag": 1}, r"parameter_values\.flag: found 1; allowed: True or False"),
            ({"items": {}}, r"parameter_values\.items: found \{\}; allowed: a list"),
            ({"map": []}, r"parameter_values\.map: found \[\]; allowed: a dict"),
            ({"rate": float("nan")}, r"parameter_values\.rate: found nan"),
            ({"items": [{"a": object()}]}, r"parameter_values\.items\[0\]\.a: found <object"),
            ({"map": {1: 2}}, r"parameter_values\.map: found 1; allowed: texts as keys"),
        ],
    )
    def test_refused(self, emulator: VertexEmulator, values: dict[str, Any], message: str) -> None:
        with pytest.raises(VertexSettingsError, match=message):
            self.body(emulator, **values)
        assert ids(emulator) == []

    @pytest.mark.parametrize("values", [{}, {"x": None}])
    def test_missing(self, emulator: VertexEmulator, values: dict[str, Any]) -> None:
        with pytest.raises(
            VertexSettingsError, match=r"parameter_values\.x: found None; allowed: a text: .*no d"
        ):
            drive(run(spec(), parameter_values=values))

    def test_default_of_the_pipeline(self, emulator: VertexEmulator) -> None:
        value, _ = drive(run(spec(x="as declared")))
        assert value["outputs"]["copied"] == "as declared"


class TestAttempts:
    def test_a_lost_answer_makes_no_second_job(self, emulator: VertexEmulator) -> None:
        emulator.faults.add("pipelineJobs.create", lose_response=True)
        value, _ = drive(run(spec(), parameter_values={"x": "1"}))
        assert value["outputs"]["copied"] == "1"
        assert len(ids(emulator)) == 1

    def test_a_lost_answer_of_a_job_that_fails_at_once(
        self, emulator: VertexEmulator, hook: VertexPipelineHook, tmp_path: Path
    ) -> None:
        with pytest.raises(VertexRunFailedError):
            drive(run(gated(tmp_path / "gate")))
        # The same try of the task again: as if its worker had not heard of the job.
        with pytest.raises(VertexRunFailedError):
            drive(run(gated(tmp_path / "gate")))
        assert len(ids(emulator)) == 1

    def test_a_retry_after_a_failure_makes_the_next_job(
        self, emulator: VertexEmulator, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        for number in (1, 2):
            with pytest.raises(VertexRunFailedError):
                drive(run(gated(gate)), Instance("run", try_number=number))
        gate.touch()
        value, _ = drive(run(gated(gate)), Instance("run", try_number=3))
        assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
        assert [name[-2:] for name in ids(emulator)] == ["-1", "-2", "-3"]
        assert len({name[:-2] for name in ids(emulator)}) == 1
        assert value["job_name"].endswith(ids(emulator)[-1])

    def test_a_retry_after_a_lost_worker_attaches(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        with pytest.raises(TaskDeferred):
            run(waiting(gate)).execute(context(Instance("run")))
        gate.touch()
        value, _ = drive(run(waiting(gate)), Instance("run", try_number=2))
        assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
        # It has succeeded: a third try, of a task whose end Airflow never heard of, attaches too.
        again, _ = drive(run(waiting(gate)), Instance("run", try_number=3))
        assert again == value
        assert len(ids(emulator)) == 1

    def test_a_job_made_by_an_earlier_try_that_fails_under_a_later_one(
        self, emulator: VertexEmulator, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        template = waiting(gate)
        template["deploymentSpec"]["executors"]["exec-wait"]["container"]["command"][2] += "; exit 1"
        with pytest.raises(TaskDeferred):
            run(template).execute(context(Instance("run")))
        with pytest.raises(TaskDeferred):
            run(template).execute(context(Instance("run", try_number=2)))
        gate.touch()
        with pytest.raises(VertexRunFailedError):
            drive(run(template), Instance("run", try_number=2))
        with pytest.raises(VertexRunFailedError):
            drive(run(template), Instance("run", try_number=3))
        assert [name[-2:] for name in ids(emulator)] == ["-1", "-2"]

    def test_clearing_begins_anew(self, emulator: VertexEmulator) -> None:
        for tries in (2, 5):
            operator = run(spec(), parameter_values={"x": "1"})
            drive(operator, Instance("run", try_number=tries - 1, max_tries=tries))
        assert [name[-2:] for name in ids(emulator)] == ["-1", "-2"]

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_a_retry_waits_for_a_job_that_is_being_cancelled(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deferrable: bool
    ) -> None:
        monkeypatch.setattr(ending, "ENDING_INTERVAL", 0.05)
        gate = tmp_path / "gate"
        with VertexEmulator(time_scale=0.2, cancelling_seconds=5.0, pending_seconds=0.0) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            hook = VertexPipelineHook()
            first, _ = drive(run(waiting(gate), wait_for_completion=False))
            wait_until(
                lambda: hook.get_job(first["job_name"]).state_text.endswith("RUNNING"), 30, "it to run"
            )
            hook.cancel_job(first["job_name"])
            assert not hook.get_job(first["job_name"]).done
            gate.touch()

            def make() -> RunVertexPipelineOperator:
                return run(waiting(gate), deferrable=deferrable)

            value, _ = drive(make(), Instance("run", try_number=2), again=make)
            assert hook.get_job(first["job_name"]).done
            assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
            assert [name[-2:] for name in ids(emulator)] == ["-1", "-2"]

    def test_instances_of_a_mapped_task_have_jobs_of_their_own(self, emulator: VertexEmulator) -> None:
        for index in (0, 1):
            operator = run(spec(), parameter_values={"x": str(index)}, wait_for_completion=False)
            drive(operator, Instance("run", map_index=index))
        assert len(set(ids(emulator))) == 2

    def test_an_id_of_the_authors(self, emulator: VertexEmulator, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        with pytest.raises(VertexRunFailedError):
            drive(run(gated(gate), job_id="mine"))
        gate.touch()
        drive(run(gated(gate), job_id="mine"), Instance("run", try_number=2))
        assert ids(emulator) == ["mine", "mine-2"]

    @pytest.mark.parametrize(
        "other", [Instance("run", "run-2"), Instance("else"), Instance("run", map_index=3)]
    )
    def test_an_id_that_another_has(self, emulator: VertexEmulator, other: Instance) -> None:
        drive(run(spec(), parameter_values={"x": "1"}, job_id="mine"))
        operator = run(spec(), parameter_values={"x": "1"}, job_id="mine", task_id=other.task_id)
        with pytest.raises(
            VertexSubmissionError, match=r"found a job of another task or run.*allowed: an id"
        ):
            drive(operator, other)
        assert ids(emulator) == ["mine"]


class TestEndBeforeItsTime:
    @pytest.mark.parametrize("deferrable", [True, False])
    def test_execution_timeout_cancels(
        self, emulator: VertexEmulator, hook: VertexPipelineHook, tmp_path: Path, deferrable: bool
    ) -> None:
        from datetime import timedelta

        operator = run(
            waiting(tmp_path / "gate"), deferrable=deferrable, execution_timeout=timedelta(seconds=1)
        )
        instance = Instance("run")
        with pytest.raises(VertexRunFailedError, match=r"had not ended within .*cancelled"):
            drive(operator, instance)
        name = instance.pushed["vertex_job_name"]
        wait_until(lambda: hook.get_job(name).done or None, 30, "the job to end")
        assert hook.get_job(name).state_text == "PIPELINE_STATE_CANCELLED"

    def test_a_triggerer_that_is_down_for_too_long(
        self, emulator: VertexEmulator, hook: VertexPipelineHook, tmp_path: Path
    ) -> None:
        instance = Instance("run")
        given = context(instance)
        with pytest.raises(TaskDeferred):
            run(waiting(tmp_path / "gate")).execute(given)
        with pytest.raises(Exception, match="imeout"):
            run(waiting(tmp_path / "gate")).resume_execution("__fail__", {"error": "Trigger timeout"}, given)
        name = instance.pushed["vertex_job_name"]
        wait_until(lambda: hook.get_job(name).done or None, 30, "the job to end")

    def test_the_trigger_may_cancel_only_if_that_is_wanted(
        self, emulator: VertexEmulator, tmp_path: Path
    ) -> None:
        for number, wanted in enumerate((True, False)):
            operator = run(waiting(tmp_path / "gate"), cancel_on_kill=wanted, task_id=f"t{number}")
            with pytest.raises(TaskDeferred) as deferred:
                operator.execute(context(Instance("run")))
            assert deferred.value.trigger.cancel_on_kill is wanted


def test_importable_from_the_module_of_jobs_too() -> None:
    assert pipeline_job.RunVertexPipelineOperator is RunVertexPipelineOperator
    with pytest.raises(AttributeError, match="NoSuch"):
        pipeline_job.NoSuch  # noqa: B018


def test_every_argument_is_templated() -> None:
    operator = run(spec())
    assert [name for name in operator.template_fields if not hasattr(operator, name)] == []
    own = {"deferrable", "poll_interval", "wait_for_completion", "cancel_on_kill", "kwargs", "self"}
    arguments = set(RunVertexPipelineOperator.__init__.__wrapped__.__code__.co_varnames)  # type: ignore[attr-defined]
    assert set(operator.template_fields) <= arguments
    assert set(operator.template_fields) | own >= {
        name for name in arguments if hasattr(operator, name) or name in own
    }
