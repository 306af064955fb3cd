"""The triggers against the emulator: what they fire, how often they look, what they leave behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators.container import VertexContainerOperator
from airflow_vertex_provider.operators.member import VertexMemberOperator
from airflow_vertex_provider.operators.pipeline_job import (
    SubmitVertexPipelineOperator,
    WaitVertexPipelineOperator,
)
from airflow_vertex_provider.outputs import Outcome
from airflow_vertex_provider.runtime.protocol import SKIPPED
from airflow_vertex_provider.sensors.pipeline_job import VertexPipelineJobSensor
from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger, VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.watcher import Watcher
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT, create

#: What a waiting operator made by a group hands to its trigger.
WAIT_FIELDS = ("airflow_ids", "output_tasks", "rules")


async def fired(trigger: Any) -> Any:
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def reads(emulator: VertexEmulator) -> int:
    return len([item for item in emulator.requests if item.method == "GET"])


def test_job_trigger(hook: VertexPipelineHook) -> None:
    name = create(hook, 3)
    payload = asyncio.run(
        fired(
            VertexPipelineJobTrigger(
                job_name=name, vertex_url="u", poll_interval=0.05, output_tasks={"g.second": "second"}
            )
        )
    )
    assert payload["outcome"]["succeeded"] is True
    assert payload["xcoms"] == {
        "vertex_state": "PIPELINE_STATE_SUCCEEDED",
        "return_value": {
            "job_name": name,
            "state": "PIPELINE_STATE_SUCCEEDED",
            "url": "u",
            "outputs": {"g.second": {"got": 3}},
        },
    }


def test_job_trigger_of_a_failed_job(hook: VertexPipelineHook) -> None:
    name = create(hook, "fail")
    payload = asyncio.run(
        fired(VertexPipelineJobTrigger(job_name=name, poll_interval=0.05, airflow_ids={"first": "g.first"}))
    )
    assert payload["outcome"]["succeeded"] is False
    assert "g.first" in payload["outcome"]["message"]
    assert "KeyError: 'no such thing'" in payload["outcome"]["message"]


def test_member_triggers(hook: VertexPipelineHook) -> None:
    name = create(hook, [1])

    async def both() -> list[Any]:
        return await asyncio.gather(
            *(
                fired(VertexMemberTrigger(job_name=name, task_name=task_name, poll_interval=0.05))
                for task_name in ("first", "second")
            )
        )

    first, second = asyncio.run(both())
    assert first["outcome"]["value_text"] == "[1]"
    assert second["outcome"]["value_text"] == '{"got":[1]}'


@pytest.mark.parametrize("multiple_outputs", [False, True])
@pytest.mark.parametrize(
    ("text", "pushed"),
    [("null", {}), (SKIPPED, {}), ('{"a":null}', {"return_value": {"a": None}})],
)
def test_none_is_no_xcom(text: str, pushed: dict[str, Any], multiple_outputs: bool) -> None:
    trigger = VertexMemberTrigger(job_name="j", task_name="t", multiple_outputs=multiple_outputs)
    if multiple_outputs and pushed:
        pushed = {**pushed, "a": None}
    assert trigger._value_xcoms(Outcome(succeeded=True, message="", value_text=text)) == pushed


@task
def numbers() -> list[int]:
    return [1, 2, 3]


@task
def even(x):  # type: ignore[no-untyped-def]
    from airflow.exceptions import AirflowSkipException

    if x == 2:
        raise ValueError("two")
    if x == 3:
        raise AirflowSkipException("three")
    return x * 10


@task(trigger_rule="all_done")
def after() -> str:
    return "done"


def test_iterations_skips_and_a_failure_that_is_taken_care_of(hook: VertexPipelineHook) -> None:
    with DAG("d") as dag, VertexTaskGroup("g", location=LOCATION, pipeline_root=ROOT):
        even.expand(x=numbers()) >> after()
    name, _ = hook.create_job(
        location=LOCATION,
        job_id="loops",
        job={
            "display_name": "d.g",
            "pipeline_spec": compile_group(dag.task_group.children["g"]),
            "runtime_config": {"gcs_output_directory": ROOT},
        },
    )
    wait: Any = dag.get_task("g.wait_for_pipeline")
    options: dict[str, Any] = {"job_name": name, "poll_interval": 0.05}

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(
            *(fired(VertexMemberTrigger(task_name="even", index=index, **options)) for index in range(3)),
            fired(VertexMemberTrigger(task_name="after", **options)),
            fired(VertexPipelineJobTrigger(**options, **{key: getattr(wait, key) for key in WAIT_FIELDS})),
            fired(VertexPipelineJobTrigger(**options)),
        )

    *members, judged, unjudged = [event["outcome"] for event in asyncio.run(all_of_them())]
    assert [member["value_text"] for member in members] == ["10", None, None, '"done"']
    assert [member["succeeded"] for member in members] == [True, False, False, True]
    assert [member["skipped"] for member in members] == [False, False, True, False]
    assert "ValueError: two" in members[1]["message"]
    assert judged["succeeded"] is True
    assert "Failed task 'g.even[1]' (Vertex task 'even[1]')" in judged["message"]
    assert unjudged["succeeded"] is False


def test_many_followers_share_one_reader(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    name = create(hook, {"gate": str(gate)})

    async def run() -> tuple[int, int]:
        before = reads(emulator)
        waits = [
            asyncio.create_task(
                fired(VertexMemberTrigger(job_name=name, task_name="first", poll_interval=60.0))
            )
            for _ in range(50)
        ]
        while reads(emulator) == before:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        while_waiting = reads(emulator) - before
        gate.touch()
        await asyncio.to_thread(wait_until, lambda: hook.get_job(name).done or None, 30, "the job to end")
        at_end = reads(emulator)
        # The most impatient follower decides how often there is a look, for all the others too.
        waits.append(
            asyncio.create_task(
                fired(VertexMemberTrigger(job_name=name, task_name="first", poll_interval=0.05))
            )
        )
        await asyncio.gather(*waits)
        return while_waiting, reads(emulator) - at_end

    while_waiting, after = asyncio.run(run())
    assert while_waiting == 1
    assert after <= 2
    assert not Watcher._running


def test_cancelled_follower_leaves_nothing(hook: VertexPipelineHook, tmp_path: Path) -> None:
    name = create(hook, {"gate": str(tmp_path / "never")})

    async def run() -> bool:
        wait = asyncio.create_task(fired(VertexPipelineJobTrigger(job_name=name, poll_interval=0.05)))
        readers: list[asyncio.Task[Any]] = []
        while not readers:
            await asyncio.sleep(0.01)
            readers = [task for task in asyncio.all_tasks() if task.get_name().startswith("watch")]
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        await asyncio.wait(readers, timeout=10)
        return all(task.done() for task in readers)

    assert asyncio.run(run())
    assert not Watcher._running


def test_transient_errors_are_waited_out(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    name = create(hook, 1)
    emulator.faults.add("pipelineJobs.get", error="UNAVAILABLE", count=2)
    payload = asyncio.run(fired(VertexPipelineJobTrigger(job_name=name, poll_interval=0.05)))
    assert payload["outcome"]["succeeded"] is True


def test_unknown_job_fails(hook: VertexPipelineHook) -> None:
    name = "projects/demo-project/locations/europe-west4/pipelineJobs/none"
    payload = asyncio.run(fired(VertexPipelineJobTrigger(job_name=name, poll_interval=0.05)))
    assert payload["outcome"]["succeeded"] is False
    assert "none" in payload["outcome"]["message"]


@pytest.mark.parametrize(
    ("text", "push_value", "pushed"),
    [
        ("null", True, {"model": {"uri": "gs://b/m"}}),
        ("1", True, {"model": {"uri": "gs://b/m"}, "return_value": 1}),
        ("1", False, {}),
    ],
)
def test_artifacts_are_xcoms_of_their_own(text: str, push_value: bool, pushed: dict[str, Any]) -> None:
    trigger = VertexMemberTrigger(job_name="j", task_name="t", artifacts=["model"], push_value=push_value)
    outcome = Outcome(True, "", value_text=text, artifact_texts={"model": '{"uri":"gs://b/m"}'})
    assert trigger._value_xcoms(outcome) == pushed
    assert trigger._keys() == ["model"]


@pytest.mark.parametrize("job_name", ["None", ""])
def test_missing_job_name_fails_plainly(emulator: VertexEmulator, job_name: str) -> None:
    payload = asyncio.run(fired(VertexMemberTrigger(job_name=job_name, task_name="t", poll_interval=0.05)))
    assert "pipelineJobs" in payload["outcome"]["message"]


@pytest.mark.parametrize("cancel", [True, False])
def test_on_kill(hook: VertexPipelineHook, tmp_path: Path, cancel: bool) -> None:
    name = create(hook, {"gate": str(tmp_path / "never")})
    trigger = VertexPipelineJobTrigger(job_name=name, cancel_on_kill=cancel)
    asyncio.run(trigger.on_kill())
    state = hook.get_job(name).state_text
    assert ("CANCEL" in state) is cancel


@pytest.mark.parametrize(
    "trigger",
    [
        VertexPipelineJobTrigger(
            job_name="j",
            vertex_url="u",
            vertex_logs_url="l",
            gcp_conn_id="c",
            impersonation_chain=["a", "b"],
            project_id="p",
            poll_interval=1.5,
            end_in_trigger=True,
            airflow_ids={"a": "b"},
            output_tasks={"c": "d"},
            rules={"tasks": {"g.a": {"name": "a"}}, "loops": {}, "leaves": ["g.a"]},
            cancel_on_kill=False,
        ),
        VertexMemberTrigger(
            job_name="j",
            task_name="t",
            multiple_outputs=True,
            push_value=False,
            artifacts=["model"],
            index=3,
            submit_task_id="g.submit_pipeline",
            may_lack_job=True,
            impersonation_chain="x",
            end_in_trigger=True,
        ),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_serialises_and_comes_back(trigger: Any) -> None:
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    assert type(trigger)(**kwargs).serialize() == (path, kwargs)


OPERATORS: dict[Any, dict[str, Any]] = {
    SubmitVertexPipelineOperator: {"graph": {}, "pipeline": {}},
    WaitVertexPipelineOperator: {"submit_task_id": "s"},
    VertexContainerOperator: {},
    VertexPipelineJobSensor: {"job_name": "j"},
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_template_fields_exist(operator: Any) -> None:
    built = operator(task_id="t", **OPERATORS[operator])
    assert built.template_fields
    assert [name for name in built.template_fields if not hasattr(built, name)] == []


@pytest.mark.parametrize("kind", [VertexMemberTrigger, VertexPipelineJobTrigger])
def test_templated_arguments_are_attributes_of_the_trigger(kind: Any) -> None:
    """Airflow renders an argument in the triggerer only if operator and trigger both have it."""
    task_name = {"task_name": "t"} if kind is VertexMemberTrigger else {}
    trigger = kind(job_name="j", **task_name)
    assert [name for name in VertexMemberOperator.template_fields if not hasattr(trigger, name)] == []
