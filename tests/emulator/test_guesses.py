"""Every guess is a switch that changes an answer, and the documentation lists exactly these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.__main__ import parser
from airflow_vertex_provider.emulator.guesses import GUESSES, Guess, Switches, with_guesses
from airflow_vertex_provider.emulator.launcher import MODULE
from tests.emulator import structure_looks
from tests.emulator.pipelines import (
    LOCATION,
    PARENT,
    PROJECT,
    ApiFailure,
    Client,
    Json,
    Pipeline,
    constant,
    outputs,
    parameter,
    say,
    states,
    tasks,
    wait_for,
)

DOCS = Path(__file__).parents[2] / "docs" / "emulator.md"
CHOICES = [guess for guess in GUESSES if guess.others]
DURATIONS = [
    guess for guess in GUESSES if guess.switch.endswith("_seconds") or guess.switch == "contexts_after"
]

#: Looks at one answer; what it returns must depend on the switch it is for.
Look = Callable[[VertexEmulator, Client], Any]
LOOKS: dict[str, Look] = dict(structure_looks.LOOKS)


def look(switch: str) -> Callable[[Look], Look]:
    def register(function: Look) -> Look:
        LOOKS[switch] = function
        return function

    return register


def _task(client: Client, pipe: Pipeline, name: str = "t", **fields: Any) -> Json:
    return tasks(client.run(pipe, **fields))[name]


def _nested_failure() -> Pipeline:
    return Pipeline().nested("sub", Pipeline("inner").task("deep", ["false"]))


def _launcher(payload: str, **options: Any) -> Pipeline:
    return Pipeline().task(
        "t",
        ["python3", "-m", MODULE],
        args=["--type", "CustomJob", "--payload", payload, "--project", PROJECT, "--location", LOCATION,
              "--gcp_resources", "{{$.outputs.parameters['gcp_resources'].output_file}}"],
        outputs={"gcp_resources": "STRING"},
        **options,
    )  # fmt: skip


def _payload(script: str, *args: str, timeout: str = "60s") -> str:
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {"image_uri": "i", "command": ["sh", "-c", script, *args]},
    }
    job_spec = {"scheduling": {"timeout": timeout}, "worker_pool_specs": [pool]}
    return json.dumps({"display_name": "d", "job_spec": job_spec})


@contextmanager
def _blocked(client: Client, emulator: VertexEmulator, **fields: Any) -> Iterator[tuple[str, Path]]:
    """Run a job with a task that waits for a file, and one after it."""
    go = emulator.state_dir / "go"
    pipe = Pipeline().task("t", ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.01; done', str(go)])
    name = client.create(pipe.task("after", after=["t"]), **fields)["name"]
    client.wait_state(name, "t", "RUNNING")
    yield name, go
    go.touch()


@look("top_level_parent")
def _(_: VertexEmulator, client: Client) -> Any:
    return "parentTaskId" in _task(client, Pipeline().task("t"))


@look("unique_name_root")
def _(_: VertexEmulator, client: Client) -> Any:
    return tasks(client.run(Pipeline().task("t"), "root-name"))["t"]["taskUniqueName"]


@look("task_name_source")
def _(_: VertexEmulator, client: Client) -> Any:
    return sorted(states(client.run(Pipeline().task("t", name="Named"))))


@look("task_entries")
def _(emulator: VertexEmulator, client: Client) -> Any:
    with _blocked(client, emulator) as (name, _go):
        return sorted(states(client.get(name)))


@look("running_from")
def _(emulator: VertexEmulator, client: Client) -> Any:
    emulator.clock.time_scale = 1.0
    name = client.create(Pipeline().task("t"))["name"]
    _pass_time(emulator, 10, lambda: tasks(client.get(name)).get("t", {}).get("executorDetail"))
    # With the clock standing, a machine takes a minute at least; the state is what it is meanwhile.
    wait_for(
        lambda: emulator.custom_jobs()[0]["state"] == "JOB_STATE_PENDING", "the machine to be on its way"
    )
    return _settled(lambda: tasks(client.get(name))["t"]["state"])


def _pass_time(emulator: VertexEmulator, seconds: float, condition: Callable[[], Any]) -> None:
    """Let the emulator's time pass in steps until a condition holds."""

    def later() -> Any:
        found = condition()
        if not found:
            emulator.clock.advance(seconds)
        return found

    wait_for(later, "something that comes with time")


def _settled(read: Callable[[], Any]) -> Any:
    """Return what is read once it stays the same for a while."""
    seen: list[Any] = []

    def stable() -> bool:
        seen.append(read())
        return len(seen) >= 10 and len(set(seen[-10:])) == 1

    wait_for(stable, "an answer that stays")
    return seen[-1]


@look("launcher_schema")
def _(_: VertexEmulator, client: Client) -> Any:
    return _task(client, _launcher(_payload("exit 0")))["execution"]["schemaTitle"]


@look("retry_status")
def _(_: VertexEmulator, client: Client) -> Any:
    entry = _task(client, Pipeline().task("t", ["false"], retry={"maxRetryCount": 1}))
    return [status["state"] for status in entry["pipelineTaskStatus"]]


@look("fail_fast_unstarted")
def _(emulator: VertexEmulator, client: Client) -> Any:
    go = emulator.state_dir / "go"
    pipe = Pipeline().task("slow", ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.01; done', str(go)])
    pipe.task("t", after=["slow"]).task("bad", ["false"])
    name = client.create(pipe, failure_policy="PIPELINE_FAILURE_POLICY_FAIL_FAST")["name"]
    client.wait_state(name, "bad", "FAILED")
    go.touch()
    return states(client.wait(name))["t"]


@look("replica_error_code")
def _(_: VertexEmulator, client: Client) -> Any:
    return _task(client, Pipeline().task("t", ["false"]))["error"]["code"]


@look("replica_error_detail")
def _(_: VertexEmulator, client: Client) -> Any:
    message = _task(client, Pipeline().task("t", ["sh", "-c", "echo the cause >&2; exit 1"]))["error"][
        "message"
    ]
    assert "non-zero status of 1." in message
    return "the cause" in message


@look("job_error_third_part")
def _(_: VertexEmulator, client: Client) -> Any:
    found = [
        "Failed to handle the job" in client.run(Pipeline().task("t", ["false"]))["error"]["message"]
        for _ in range(8)
    ]
    return {0: "never", 8: "always"}.get(sum(found), "random")


@look("failed_names")
def _(_: VertexEmulator, client: Client) -> Any:
    return client.run(_nested_failure())["error"]["message"].partition(";")[0]


@look("killed_process")
def _(_: VertexEmulator, client: Client) -> Any:
    return (
        "low on memory" in _task(client, Pipeline().task("t", ["sh", "-c", "kill -9 $$"]))["error"]["message"]
    )


@look("stockout_code")
def _(emulator: VertexEmulator, client: Client) -> Any:
    emulator.faults.add_task(kind="stockout")
    return _task(client, Pipeline().task("t"))["error"]["code"]


@look("bucket_permission_code")
def _(emulator: VertexEmulator, client: Client) -> Any:
    emulator.faults.deny("bucket")
    return client.run(Pipeline().task("t"))["error"]["code"]


@look("guessed_texts")
def _(_: VertexEmulator, client: Client) -> Any:
    return _failure(lambda: client.get(f"{PARENT}/pipelineJobs/none")).message == "NOT_FOUND"


def _failure(act: Callable[[], Any]) -> ApiFailure:
    with pytest.raises(ApiFailure) as error:
        act()
    return error.value


@look("cancel_finished")
def _(_: VertexEmulator, client: Client) -> Any:
    name = client.run(Pipeline().task("t"))["name"]
    try:
        return client.call("POST", f"/v1/{name}:cancel", {}) == {}
    except ApiFailure as error:
        return error.message.partition(" is in state ")[2]


@look("delete_running")
def _(emulator: VertexEmulator, client: Client) -> Any:
    with _blocked(client, emulator) as (name, _go):
        try:
            return client.call("DELETE", f"/v1/{name}")["done"]
        except ApiFailure as error:
            return error.http_status


@look("timeout_state")
def _(emulator: VertexEmulator, client: Client) -> Any:
    client.run(_launcher(_payload("sleep 60", timeout="0.1s")))
    return emulator.custom_jobs()[1]["state"]


@look("job_update_time")
def _(emulator: VertexEmulator, client: Client) -> Any:
    with _blocked(client, emulator) as (name, _go):
        job = client.get(name)
        return job["updateTime"] > job["startTime"]


@look("cancel_outcome")
def _(emulator: VertexEmulator, client: Client) -> Any:
    with _blocked(client, emulator) as (name, go):
        client.call("POST", f"/v1/{name}:cancel", {})
        go.touch()
        return client.wait(name)["state"]


@look("cancelled_unstarted")
def _(emulator: VertexEmulator, client: Client) -> Any:
    with _blocked(client, emulator) as (name, _go):
        client.call("POST", f"/v1/{name}:cancel", {})
        return states(client.wait(name))["after"]


@look("placeholders_in_values")
def _(_: VertexEmulator, client: Client) -> Any:
    command = ["sh", "-c", 'printf %s "$1,$2" > "$0"', "{{$.outputs.parameters['Output'].output_file}}",
               "{{$.inputs.parameters['given']}}", "{{$.inputs.parameters['written']}}"]  # fmt: skip
    text = "{{$.pipeline_google_cloud_location}}"
    inputs = {"given": parameter("word"), "written": constant(text)}
    pipe = Pipeline(word="STRING").task("t", command, inputs=inputs, outputs={"Output": "STRING"})
    return outputs(client.run(pipe, parameters={"word": text}), "t")["Output"]


@look("unknown_placeholder")
def _(_: VertexEmulator, client: Client) -> Any:
    return _task(client, Pipeline().task("t", ["echo", "{{$.no_such_thing}}"]))["state"]


@look("unset_optional")
def _(_: VertexEmulator, client: Client) -> Any:
    command, inputs = say("{{$.inputs.parameters['x']}}"), {"x": constant({})}
    pipe = Pipeline().task("t", command, inputs=inputs, kinds={"x": "STRUCT"}, outputs={"Output": "STRING"})
    pipe.components["comp-t"]["inputDefinitions"]["parameters"]["x"]["isOptional"] = True
    del pipe.tasks["t"]["inputs"]
    return outputs(client.run(pipe), "t")["Output"]


@look("empty_inputs")
def _(_: VertexEmulator, client: Client) -> Any:
    return (
        "inputs"
        in outputs(client.run(Pipeline().task("t", say("{{$}}"), outputs={"Output": "STRING"})), "t")[
            "Output"
        ]
    )


@look("job_name_placeholders")
def _(_: VertexEmulator, client: Client) -> Any:
    pipe = Pipeline().task("t", say("{{$.pipeline_job_name}}"), outputs={"Output": "STRING"})
    return outputs(client.run(pipe, "its-name"), "t")["Output"] == "its-name"


def _tell(variable: str) -> list[str]:
    """Command that writes a variable of its environment to ``Output``."""
    return ["sh", "-c", f'printf %s "${variable}" > "$0"', "{{$.outputs.parameters['Output'].output_file}}"]


@look("run_labels_winner")
def _(_: VertexEmulator, client: Client) -> Any:
    command = _tell("VERTEX_AI_PIPELINES_RUN_LABELS")
    pipe = Pipeline().task(
        "t", command, env={"VERTEX_AI_PIPELINES_RUN_LABELS": "own"}, outputs={"Output": "STRING"}
    )
    return outputs(client.run(pipe), "t")["Output"] == "own"


@look("cloud_ml_project")
def _(_: VertexEmulator, client: Client) -> Any:
    command = _tell("CLOUD_ML_PROJECT_ID")
    return outputs(client.run(Pipeline().task("t", command, outputs={"Output": "STRING"})), "t")["Output"]


@look("missing_output")
def _(_: VertexEmulator, client: Client) -> Any:
    return _task(client, Pipeline().task("t", outputs={"Output": "STRING"}))["state"]


@look("task_folder_name")
def _(emulator: VertexEmulator, client: Client) -> Any:
    client.run(Pipeline().task("t", name="a/b"))
    return sorted(path.name.split("_")[0] for path in emulator.state_dir.glob("gcs/bucket/root/*/*/*"))


@look("custom_job_display_name")
def _(emulator: VertexEmulator, client: Client) -> Any:
    client.run(Pipeline().task("t"), "named")
    return emulator.custom_jobs()[0]["displayName"]


@look("machine_for_resources")
def _(emulator: VertexEmulator, client: Client) -> Any:
    client.run(Pipeline().task("t", resources={"cpuLimit": 32.0}))
    return emulator.custom_jobs()[0]["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["machineType"]


@look("retry_backoff")
def _(emulator: VertexEmulator, client: Client) -> Any:
    emulator.clock.time_scale = 1.0
    retry = {"maxRetryCount": 1, "backoffDuration": "3600s"}
    client.create(Pipeline().task("t", ["false"], retry=retry))
    _pass_time(
        emulator,
        100,
        lambda: emulator.custom_jobs() and emulator.custom_jobs()[0]["state"] == "JOB_STATE_FAILED",
    )
    return _settled(lambda: len(emulator.custom_jobs()))


@look("retry_clears_outputs")
def _(emulator: VertexEmulator, client: Client) -> Any:
    script = f"mkdir {emulator.state_dir}/once && exit 1; exit 0"
    return states(client.run(_launcher(_payload(script), retry={"maxRetryCount": 1})))


@look("launcher_argument_limit")
def _(_: VertexEmulator, client: Client) -> Any:
    return states(client.run(_launcher(_payload("exit 0", "x" * 80_000, "y" * 80_000))))


@look("unknown_filter_field")
def _(_: VertexEmulator, client: Client) -> Any:
    try:
        return client.call("GET", f"/v1/{PARENT}/pipelineJobs", query={"filter": 'no_such="x"'})
    except ApiFailure as error:
        return error.http_status


@look("filter_precedence")
def _(_: VertexEmulator, client: Client) -> Any:
    client.create(Pipeline().task("t"), labels={"a": "1"})
    text = 'labels.a="1" OR labels.b="1" AND labels.c="1"'
    return bool(client.call("GET", f"/v1/{PARENT}/pipelineJobs", query={"filter": text}))


@pytest.mark.parametrize("guess", CHOICES, ids=lambda guess: guess.switch)
def test_every_choice_of_a_switch_gives_another_answer(
    start_emulator: Callable[..., VertexEmulator], guess: Guess
) -> None:
    seen = []
    for choice in (guess.default, *guess.others):
        emulator = start_emulator(**{guess.switch: choice})
        seen.append(LOOKS[guess.switch](emulator, Client(emulator.endpoint)))
    assert len({repr(answer) for answer in seen}) == len(seen), seen


def test_durations_are_switches(start_emulator: Callable[..., VertexEmulator]) -> None:
    none = {guess.switch: 0.0 for guess in DURATIONS}
    emulator = start_emulator(
        time_scale=1.0,
        **{
            **none,
            "container_start_max_seconds": 3600.0,
            "container_start_min_seconds": 3600.0,
            "contexts_after": 1800.0,
        },
    )
    client = Client(emulator.endpoint)
    pipe = Pipeline().task("t", cache=True)
    name = client.create(pipe)["name"]
    client.wait_state(name, "t", "RUNNING")
    assert emulator.custom_jobs()[0]["state"] == "JOB_STATE_PENDING"
    assert "pipelineContext" not in client.get(name)["jobDetail"]
    _pass_time(emulator, 3600, lambda: "endTime" in client.get(name))
    assert client.get(name)["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert "pipelineContext" in client.get(name)["jobDetail"]

    emulator = start_emulator(time_scale=1.0, **{**none, "cached_seconds": 3600.0})
    client = Client(emulator.endpoint)
    client.run(pipe)
    name = client.create(pipe)["name"]
    assert _settled(lambda: client.get(name)["state"]) == "PIPELINE_STATE_RUNNING"
    assert states(client.get(name)) == {"t": "PENDING"}
    _pass_time(emulator, 3600, lambda: "endTime" in client.get(name))
    assert states(client.get(name)) == {"t": "SKIPPED"}

    emulator = start_emulator(
        time_scale=1.0, **{**none, "cancelling_seconds": 3600.0, "launcher_poll_seconds": 7200.0}
    )
    client = Client(emulator.endpoint)
    name = client.create(_launcher(_payload("exit 0")))["name"]
    wait_for(
        lambda: (
            len(emulator.custom_jobs()) == 2 and emulator.custom_jobs()[1]["state"] == "JOB_STATE_SUCCEEDED"
        ),
        "the job",
    )
    assert emulator.custom_jobs()[0]["state"] == "JOB_STATE_RUNNING"  # the launcher has not looked yet
    client.call("POST", f"/v1/{name}:cancel", {})
    wait_for(lambda: states(client.get(name)) == {"t": "CANCELLED"}, "the task to be cancelled")
    assert _settled(lambda: client.get(name)["state"]) == "PIPELINE_STATE_CANCELLING"
    _pass_time(emulator, 3600, lambda: "endTime" in client.get(name))
    assert client.get(name)["state"] == "PIPELINE_STATE_CANCELLED"


def test_a_job_whose_results_are_all_cached_takes_that_time_once(
    start_emulator: Callable[..., VertexEmulator],
) -> None:
    none = {guess.switch: 0.0 for guess in DURATIONS}
    emulator = start_emulator(time_scale=1.0, **{**none, "cached_seconds": 3600.0})
    client = Client(emulator.endpoint)
    pipe = Pipeline()
    for task, after in (("one", []), ("beside", []), ("two", ["one"]), ("three", ["two"])):
        pipe.task(task, ["echo", task], cache=True, after=after)
    client.run(pipe)
    name = client.create(pipe)["name"]
    assert _settled(lambda: client.get(name)["state"]) == "PIPELINE_STATE_RUNNING"
    emulator.clock.advance(3600)
    assert set(states(client.wait(name)).values()) == {"SKIPPED"}


def test_the_page_size_is_a_switch(start_emulator: Callable[..., VertexEmulator]) -> None:
    client = Client(start_emulator(page_size=1).endpoint)
    for _ in range(2):
        client.create(Pipeline().task("t"))
    assert len(client.call("GET", f"/v1/{PARENT}/pipelineJobs")["pipelineJobs"]) == 1


def test_every_guess_is_tried() -> None:
    assert set(LOOKS) == {guess.switch for guess in CHOICES}


def test_the_documentation_lists_the_guesses() -> None:
    text = DOCS.read_text()
    assert with_guesses(text) == text, "run: Path(DOCS).write_text(with_guesses(Path(DOCS).read_text()))"


def test_every_guess_is_an_option_of_the_command_line() -> None:
    argv = [f"--{guess.switch.replace('_', '-')}={(*guess.others, guess.default)[0]}" for guess in GUESSES]
    options = vars(parser().parse_args(argv))
    chosen = {guess.switch: options[guess.switch] for guess in GUESSES}
    assert Switches(**chosen).as_dict() == {
        guess.switch: (*guess.others, guess.default)[0] for guess in GUESSES
    }
    with pytest.raises(SystemExit):
        parser().parse_args(["--cancel-finished", "perhaps"])
