"""How tasks and jobs ended, seen from jobs as the API gives them: skips, gates, iterations, outputs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.outputs import (
    Outcome,
    artifact_values,
    job_outcome,
    job_outputs,
    no_job_outcome,
    task_outcome,
)
from airflow_vertex_provider.runtime import protocol
from tests.unit.api_jobs import entry, job, loop

RUNNING = "PIPELINE_STATE_RUNNING"
FAILED = "PIPELINE_STATE_FAILED"
NOT_RUN = "UpstreamFailed: not run: trigger rule 'one_success' found 0 of 2 upstream tasks succeeded"


def outcome(*args: Any) -> Outcome:
    found = task_outcome(*args)
    assert found is not None
    return found


class TestSkipped:
    @pytest.mark.parametrize("state", ["SUCCEEDED", "SKIPPED"])
    def test_by_its_own_wish_and_from_the_cache(self, state: str) -> None:
        found = outcome(job(entry(1, "t", state=state, output__Output=protocol.SKIPPED)), "t")
        assert (found.skipped, found.succeeded, found.value_text) == (True, False, None)
        assert "'t' was skipped" in found.message

    def test_survives_the_event(self) -> None:
        found = outcome(job(entry(1, "t", output__Output=protocol.SKIPPED)), "t")
        assert Outcome.from_dict(found.to_dict()) == found

    @pytest.mark.parametrize("shown", [(), (entry(3, "t", 2, "NOT_TRIGGERED"),)], ids=["no entry", "entry"])
    def test_by_its_gate_at_once(self, shown: tuple[Any, ...]) -> None:
        found = outcome(job(entry(1, "t-gate", output__Decision="skip"), *shown, state=RUNNING), "t")
        assert found.skipped
        assert "trigger rule" in found.message

    def test_by_the_gate_of_its_iteration(self) -> None:
        ended = job(
            loop(),
            entry(2, "t-gate", 1, input__item_index="0", output__Decision="skip"),
            entry(3, "t-gate", 1, input__item_index="1", output__Decision="run"),
            entry(4, "t", 1, input__item_index="1", output__Output="7"),
        )
        assert outcome(ended, "t", 0).skipped
        assert outcome(ended, "t", 1).value_text == "7"

    def test_by_the_gate_of_the_whole_loop(self) -> None:
        assert outcome(job(entry(1, "t-gate", output__Decision="skip")), "t", 4).skipped

    @pytest.mark.parametrize(
        "gate",
        [
            entry(1, "t-gate", output__Decision="run"),
            entry(1, "t-gate", state="FAILED"),
            entry(1, "t-gate", state="RUNNING"),
        ],
    )
    def test_not_by_a_gate_that_says_otherwise(self, gate: dict[str, Any]) -> None:
        assert task_outcome(job(gate, state=RUNNING), "t") is None
        assert not outcome(job(gate, state=FAILED), "t").skipped


def test_the_error_of_the_gate_is_told() -> None:
    gate = {**entry(1, "t-gate", state="FAILED"), "error": {"code": 9, "message": NOT_RUN}}
    found = outcome(job(gate, entry(2, "t", state="NOT_TRIGGERED"), state=FAILED), "t")
    assert not found.skipped
    assert NOT_RUN in found.message


@pytest.mark.parametrize(
    ("state", "skipped", "text"),
    [
        ("skipped", True, "made no pipeline job (skipped)"),
        ("failed", False, "made no pipeline job (failed)"),
        (None, False, "made no pipeline job."),
    ],
)
def test_no_job(state: str | None, skipped: bool, text: str) -> None:
    found = no_job_outcome("g.submit_pipeline", state)
    assert found.skipped is skipped
    assert not found.succeeded
    assert "'g.submit_pipeline'" in found.message
    assert text in found.message


def test_iterations_end_each_for_itself() -> None:
    ended = job(
        loop(),
        entry(2, "t", 1, input__item_index="0", output__Output="1"),
        entry(3, "t", 1, "FAILED", input__item_index="1"),
        state=FAILED,
    )
    assert outcome(ended, "t", 0).succeeded
    assert "'t[1]' ended FAILED" in outcome(ended, "t", 1).message
    missing = outcome(ended, "t", 2)
    assert "'t[2]' did not run to its end" in missing.message


def test_only_real_failures_are_listed() -> None:
    ended = job(
        entry(1, "for-loop-1", state="FAILED", title="system.DagExecution"),
        {**entry(2, "t", 1, "FAILED", input__item_index="1"), "error": {"message": "ValueError: x"}},
        {**entry(3, "join", state="FAILED"), "error": {"message": NOT_RUN}},
        {**entry(4, "other-gate", state="FAILED"), "error": {"message": NOT_RUN}},
        entry(5, "other", state="NOT_TRIGGERED"),
        state=FAILED,
    )
    found = job_outcome(ended, {"t": "g.t", "join": "g.join"})
    assert found is not None
    failures = [line for line in found.message.splitlines() if line.startswith("Failed task")]
    assert failures == ["Failed task 'g.t[1]' (Vertex task 't[1]'): ValueError: x"]


MODEL = {"uri": "gs://b/m", "type": "system.Model", "metadata": {"framework": "none"}}


def test_artifacts_of_functions() -> None:
    text = protocol.encode(MODEL)
    ended = job(
        entry(
            1, "fit", output__Output="null", output__Artifact_model=text, output__Artifact_page="@gs://b/p#x"
        ),
        entry(2, "gone", output__Output=protocol.SKIPPED, output__Artifact_model=protocol.SKIPPED),
        loop(3),
        *(
            entry(
                10 + index,
                "many",
                3,
                input__item_index=str(index),
                output__Output=str(index),
                output__Artifact_model=found,
            )
            for index, found in enumerate([text, protocol.SKIPPED])
        ),
    )
    found = outcome(ended, "fit")
    assert found.artifact_texts == {"model": text, "page": "@gs://b/p#x"}
    assert Outcome.from_dict(found.to_dict()) == found
    assert artifact_values(Outcome(True, "", artifact_texts={"model": text})) == {"model": MODEL}
    with pytest.raises(VertexValueError, match="cannot be read back"):
        artifact_values(found)
    assert outcome(ended, "gone").artifact_texts == {}
    names = {"g.gone": "gone", "g.many": "many"}
    assert job_outputs(ended, names) == {"g.many": [0, 1], 'g.many["model"]': [MODEL]}


def test_outputs_of_mapped_and_skipped_tasks() -> None:
    reference = str(protocol.Reference.to("gs://b/x", '"' + "x" * 50 + '"'))
    ended = job(
        entry(1, "one", output__Output="[1]"),
        entry(2, "gone", output__Output=protocol.SKIPPED),
        entry(3, "nothing", output__Output="null"),
        loop(4),
        *(
            entry(10 + index, "many", 4, input__item_index=str(index), output__Output=text)
            for index, text in enumerate(["2", protocol.SKIPPED, "null", '"a"', reference])
        ),
    )
    names = {f"g.{name}": name for name in ("one", "gone", "nothing", "many", "never")}
    assert job_outputs(ended, names) == {
        "g.one": [1],
        "g.nothing": None,
        "g.many": [2, "a", {"uri": "gs://b/x", "size": 52}],
    }
