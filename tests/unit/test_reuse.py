"""The note of a job that runs only a part, and the snapshot of both jobs together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_vertex_provider.reuse import NOTE_PARAMETER, Note, merged, note_of
from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot
from airflow_vertex_provider.states import PipelineState, TaskState

NOTE = Note("projects/1/locations/l/pipelineJobs/a", {"a": "0"}, ("a",), {"for-loop-1": (0, 2)})


def entry(name: str, number: int, parent: int = 0, **options: Any) -> TaskSnapshot:
    return TaskSnapshot(
        name, TaskState.SUCCEEDED, "SUCCEEDED", id=str(number), parent=str(parent or ""), **options
    )


def instance(number: int, at: int, loop: int) -> list[TaskSnapshot]:
    return [
        entry(f"for-loop-1-{number}", at, loop, scope=True),
        entry("each", at + 1, at, inputs={"item_index": str(number)}, index=number),
    ]


def job(name: str, *entries: TaskSnapshot) -> JobSnapshot:
    return JobSnapshot(name, PipelineState.SUCCEEDED, "SUCCEEDED", entries=entries)


def test_a_note_is_read_back() -> None:
    assert note_of({"x": 1, NOTE_PARAMETER: NOTE.to_text()}) == NOTE
    assert note_of({NOTE_PARAMETER: "the author's", f"{NOTE_PARAMETER}_2": NOTE.to_text()}) == NOTE


@pytest.mark.parametrize("text", ["", "null", "{}", '{"version": 0}', 5, json.dumps([NOTE.to_text()])])
def test_what_is_no_note(text: Any) -> None:
    assert note_of({NOTE_PARAMETER: text, "other": NOTE.to_text()}) is None


def test_a_job_without_a_note_stays_as_it_is() -> None:
    later = job("b", entry("a", 1))
    assert merged(later, None, job("a", entry("x", 1))) is later


def test_units_come_with_all_that_is_in_them() -> None:
    earlier = job(
        "a",
        entry("exit-handler-1", 1, scope=True),
        entry("a", 2, 1, scope=True),
        entry("inner", 3, 2),
        entry("other", 4, 1),
        entry("a", 5, 4),
    )
    found = merged(job("b", entry("other", 14)), Note("a", {}, ("a",)), earlier)
    assert [(one.name, one.id) for one in found.entries] == [("other", "14"), ("a", "2"), ("inner", "3")]
    assert found.name == "b"


def test_a_loop_has_the_instances_of_both_jobs() -> None:
    earlier = job(
        "a",
        entry("for-loop-1", 1, scope=True),
        *instance(0, 10, 1),
        *instance(1, 20, 1),
        *instance(2, 30, 1),
    )
    loop = entry("for-loop-1", 2, scope=True, outputs={"pipelinechannel--each-Output": ["new"]})
    found = merged(job("b", loop, *instance(1, 40, 2)), Note("a", {}, (), {"for-loop-1": (0, 2)}), earlier)
    assert {index: one.id for index, one in found.iterations("each").items()} == {0: "11", 1: "41", 2: "31"}
    assert [one.parent for one in found.entries if one.name.startswith("for-loop-1-")] == ["2", "2", "2"]
    # What the later job collected is not the whole list.
    assert found.entries[0].outputs == {}
