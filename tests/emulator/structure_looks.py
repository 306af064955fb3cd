"""Looks at the answers of conditions, loops and exit handlers that are guesses; see test_guesses.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import (
    COPY,
    Client,
    Pipeline,
    constant,
    output,
    outputs,
    parameter,
    say,
    states,
    tasks,
    wait_for,
)

Look = Callable[[VertexEmulator, Client], Any]


def loop(items: Any, *, skip: str = "", outer: Pipeline | None = None) -> Pipeline:
    """Return a pipeline with a loop ``each`` that copies its items, and a task ``all`` that reads the copies.

    :param skip: item that is not copied.
    """
    step = Pipeline("step", item="STRING")
    step.python("copy", COPY, inputs={"x": parameter("item")}, outputs={"Output": "STRING"})
    step.result("copied", "copy")
    body = Pipeline("body", item="STRING")
    condition = f"inputs.parameter_values['item'] != '{skip}'"
    body.nested("step", step, inputs={"item": parameter("item")}, condition=condition)
    body.result("copies", "step", "LIST", "copied")
    pipe = outer or Pipeline()
    pipe.nested("each", body, items=items)
    pipe.python(
        "all",
        COPY.replace(
            "d['inputs']['parameterValues']['x']", "json.dumps(d['inputs']['parameterValues']['x'])"
        ),
        inputs={"x": output("each", "copies")},
        kinds={"x": "LIST"},
        outputs={"Output": "STRING"},
    )
    return pipe


def handled(command: list[str], exit_command: list[str]) -> Pipeline:
    """Return a pipeline with a task ``t`` in an exit handler and its exit task ``exit``."""
    pipe = Pipeline().nested("exit-handler-1", Pipeline("inner").task("t", command))
    return pipe.task("exit", exit_command, after=["exit-handler-1"]).completed("exit")


def _fail_fast(emulator: VertexEmulator, client: Client) -> Any:
    go = emulator.state_dir / "go"
    wait = ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.01; done', str(go)]
    pipe = Pipeline().nested("sub", Pipeline("inner").task("runs", wait).task("later", after=["runs"]))
    pipe.task("bad", ["sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.01; done; exit 1', str(go) + "1"])
    name = client.create(pipe, failure_policy="PIPELINE_FAILURE_POLICY_FAIL_FAST")["name"]
    client.wait_state(name, "runs", "RUNNING")
    (emulator.state_dir / "go1").touch()
    client.wait_state(name, "bad", "FAILED")
    go.touch()
    return states(client.wait(name))["sub"]


def _names(_: VertexEmulator, client: Client) -> Any:
    job = client.run(loop(["a"]))
    parent = tasks(job)["each"]["taskId"]
    entries = job["jobDetail"]["taskDetails"]
    return [entry["taskUniqueName"] for entry in entries if entry.get("parentTaskId") == parent]


def _order(_: VertexEmulator, client: Client) -> Any:
    job = client.run(loop(["a", "b"]))
    entries = job["jobDetail"]["taskDetails"]
    return [entry["taskName"] for entry in entries if entry["taskName"].startswith("each-")]


def _collected(items: list[Any], skip: str = "") -> Look:
    return lambda _, client: (
        tasks(client.run(loop(items, skip=skip)))["all"].get("execution", {}).get("metadata")
    )


def _failed_outputs(_: VertexEmulator, client: Client) -> Any:
    inner = Pipeline("inner").task("made", say("v"), outputs={"Output": "STRING"}).task("bad", ["false"])
    inner.result("out", "made")
    pipe = Pipeline().nested("sub", inner)
    pipe.python("t", COPY, inputs={"x": output("sub", "out")}, outputs={"Output": "STRING"})
    return outputs(client.run(pipe.completed("t", x="default")), "t")


def _ignored(_: VertexEmulator, client: Client) -> Any:
    pipe = Pipeline().task("bad", ["false"])
    pipe.task("t", inputs={"x": constant("v")}, after=["bad"]).completed("t")
    return client.run(pipe)["state"]


def _exit_on_cancel(emulator: VertexEmulator, client: Client) -> Any:
    began = emulator.state_dir / "began"
    pipe = handled(["sh", "-c", 'touch "$0"; sleep 300', str(began)], ["true"])
    name = client.create(pipe)["name"]
    wait_for(began.exists, "the task to begin")
    client.call("POST", f"/v1/{name}:cancel", {})
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job)["exit-handler-1"] == states(job)["t"] == "CANCELLED"
    return states(job)["exit"]


LOOKS: dict[str, Look] = {
    "fail_fast_cut_dag": _fail_fast,
    "iteration_name": _names,
    "iteration_order": _order,
    "loop_item_text": _collected([1, {"a": 2}]),
    "collected_gaps": _collected(["a", "b", "c"], skip="b"),
    "failed_dag_outputs": _failed_outputs,
    "ignored_failure": _ignored,
    "exit_task_on_cancel": _exit_on_cancel,
}
