"""Which iteration an entry of a job belongs to, and which entries are tasks at all."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_vertex_provider.snapshot import JobSnapshot, is_scope, label
from airflow_vertex_provider.states import TaskState
from tests.unit.api_jobs import entry, job, loop


def outputs(snapshot: JobSnapshot, name: str = "t") -> dict[int, Any]:
    return {index: task.outputs["Output"] for index, task in snapshot.iterations(name).items()}


@pytest.mark.parametrize("written", [lambda index: str(index), lambda index: index])
def test_by_the_task_s_own_input(written: Any) -> None:
    found = job(
        loop(),
        *(
            entry(20 + made, "t", 1, made=made, input__item_index=written(index), output__Output=f"v{index}")
            for made, index in enumerate((2, 0, 10, 1))
        ),
    )
    assert outputs(found) == {0: "v0", 1: "v1", 2: "v2", 10: "v10"}
    assert list(outputs(found)) == [0, 1, 2, 10]
    assert "t" not in found.tasks
    task = found.task("t", 10)
    assert task is not None
    assert label(task) == "t[10]"
    assert label(task, "g.t") == "g.t[10]"
    assert found.task("t") is None
    assert found.task("t", 5) is None


@pytest.mark.parametrize("as_text", [False, True])
def test_by_the_item_of_the_iteration_around_it(as_text: bool) -> None:
    def item(index: int) -> Any:
        return f'{{"index": "{index}"}}' if as_text else {"index": str(index), "arg_x": "1"}

    name = "input__pipelinechannel--loop-item-param-1"
    key = name if as_text else "input__pipelinechannel--items-loop-item"
    found = job(
        loop(),
        entry(2, "whatever", 1, title="system.DagExecution", **{key: item(1)}),
        entry(3, "whatever", 1, title="system.DagExecution", **{key: item(0)}),
        entry(4, "condition-1", 2, title="system.DagExecution"),
        entry(5, "t", 4, output__Output="one"),
        entry(6, "t", 3, output__Output="none"),
    )
    assert outputs(found) == {0: "none", 1: "one"}


def test_by_the_name_of_the_iteration_around_it() -> None:
    found = job(
        loop(),
        loop(2, "for-loop-1-body-1", 1),
        loop(3, "for-loop-1-0", 1),
        entry(4, "t", 2, output__Output="one"),
        entry(5, "t", 3, output__Output="none"),
    )
    assert outputs(found) == {0: "none", 1: "one"}


class TestByTheOrder:
    ENTRIES = (
        loop(),
        entry(2, "t", 1, made=9, output__Output="last"),
        entry(3, "t", 1, made=5, output__Output="first"),
    )

    def test_of_an_ended_job(self) -> None:
        assert outputs(job(*self.ENTRIES)) == {0: "first", 1: "last"}

    def test_not_while_it_runs(self) -> None:
        found = job(*self.ENTRIES, state="PIPELINE_STATE_RUNNING")
        assert outputs(found) == {}
        assert found.task("t", 0) is None
        assert found.task("t") is None
        assert found.progress() == "2 of 2 done, 0 running, 0 failed"

    def test_of_one(self) -> None:
        assert outputs(job(*self.ENTRIES[:2])) == {0: "last"}

    def test_beside_one_that_tells(self) -> None:
        known = entry(4, "t", 1, input__item_index="0", output__Output="known")
        assert outputs(job(*self.ENTRIES, known)) == {0: "known", 1: "first", 2: "last"}


def test_tasks_outside_of_loops_have_no_number() -> None:
    found = job(entry(1, "a"), entry(2, "condition-1", title="system.DagExecution"), entry(3, "b", 2))
    assert {name: task.index for name, task in found.tasks.items()} == {"a": None, "b": None}
    assert found.iterations("a") == {}


def test_a_circle_of_parents_ends() -> None:
    assert set(
        job(loop(1, "for-loop-1", 2), loop(2, "for-loop-1-0", 1), entry(3, "t", 2)).iterations("t")
    ) == {0}


class TestScopes:
    @pytest.mark.parametrize(
        ("name", "title", "has_container", "expected"),
        [
            ("condition-1", "system.DagExecution", False, True),
            ("my-pipeline", "system.DagExecution", False, True),
            ("condition-1", "system.ContainerExecution", False, False),
            ("condition-branches-2", "", False, True),
            ("for-loop-3-body-0", "", False, True),
            ("exit-handler-1", "", False, True),
            ("condition-1", "", True, False),
            ("conditions", "", False, False),
            ("train", "", False, False),
        ],
    )
    def test_what_is_one(self, name: str, title: str, has_container: bool, expected: bool) -> None:
        assert is_scope(name, title, has_container=has_container) is expected

    def test_they_are_no_tasks(self) -> None:
        failed = entry(1, "condition-1", state="FAILED", title="system.DagExecution")
        found = job(failed, entry(2, "t", 1, "FAILED"), state="PIPELINE_STATE_FAILED")
        assert [task.name for task in found.failed_tasks()] == ["t"]
        assert set(found.tasks) == {"t"}
        assert found.progress() == "1 of 1 done, 0 running, 1 failed"

    def test_a_task_of_the_same_name_is_found(self) -> None:
        found = job(entry(1, "condition-1", output__Output="1"), loop(2, "condition-1"))
        assert found.tasks["condition-1"].outputs == {"Output": "1"}


def test_lists_and_structs_arrive_as_such() -> None:
    found = job(entry(1, "t", output__Items=["a", {"b": 1}], output__Output="x"))
    assert found.tasks["t"].outputs == {"Items": ["a", {"b": 1}], "Output": "x"}
    assert found.tasks["t"].state is TaskState.SUCCEEDED
