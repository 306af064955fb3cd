"""The container's trigger rules against Airflow's own: each rule over all combinations of upstream states."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.serialization.serialized_objects import DagSerialization
from airflow.task.trigger_rule import TriggerRule
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.runtime.protocol import RULES, TOLERANT_RULES, decide

STATES = ("success", "skipped", "failed", "upstream_failed")
VERDICTS = {None: "run", "skipped": "skip", "upstream_failed": "fail"}


def upstream_only(rule: str, setups: Sequence[bool]) -> Any:
    """Return Airflow's own form of a task below others, each of which is a setup or not."""
    with DAG("d") as dag:
        task = BaseOperator(task_id="t", trigger_rule=rule)
        for number, setup in enumerate(setups):
            above = BaseOperator(task_id=f"u{number}")
            above.is_setup = setup
            above >> task
        if rule == TriggerRule.ALL_DONE_SETUP_SUCCESS:
            task.is_teardown = True
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).get_task("t")


def airflow_decides(task: Any, states: dict[str, str]) -> str:
    """Return what Airflow's scheduler makes of ``task`` when the tasks named in ``states`` have ended so."""
    ended = [
        SimpleNamespace(task_id=name, task=task.dag.get_task(name), state=s) for name, s in states.items()
    ]
    set_to: list[Any] = []

    def set_state(state: Any, session: Any) -> bool:
        set_to.append(state.value)
        return True

    instance: Any = SimpleNamespace(
        task=task, map_index=-1, get_dagrun=lambda session: None, set_state=set_state
    )
    context = DepContext(flag_upstream_failed=True, finished_tis=ended)  # type: ignore[arg-type]
    statuses: Iterator[Any] = TriggerRuleDep()._get_dep_statuses(instance, context, session=None)  # type: ignore[arg-type]
    passed = [status.passed for status in statuses]
    assert all(passed) == (not set_to), "Airflow would wait for ever"
    return VERDICTS[set_to[0] if set_to else None]


def test_the_rules_are_airflow_s() -> None:
    assert {rule.value for rule in TriggerRule} == RULES
    assert TOLERANT_RULES < RULES


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_over_every_combination(rule: str) -> None:
    for count in range(4):
        for setups in itertools.combinations_with_replacement((False, True), count):
            task = upstream_only(rule, setups)
            for states in itertools.product(STATES, repeat=count):
                expected = airflow_decides(task, {f"u{number}": s for number, s in enumerate(states)})
                setup_states = [state for state, setup in zip(states, setups, strict=True) if setup]
                assert decide(rule, states, setup_states) == expected, (states, setups)
                if expected == "run" and rule not in TOLERANT_RULES | {"always"}:
                    assert {"failed", "upstream_failed"}.isdisjoint(states)


@pytest.mark.parametrize("rule", sorted(RULES - {"all_done_setup_success"}))
def test_indirect_setups(rule: str) -> None:
    with DAG("d") as dag:
        first, second = BaseOperator(task_id="s0"), BaseOperator(task_id="s1")
        work = BaseOperator(task_id="u0")
        task = BaseOperator(task_id="t", trigger_rule=rule)
        down = BaseOperator(task_id="down")
        [first, second] >> work >> task >> down
        down.as_teardown(setups=[first, second])
    below = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).get_task("t")
    assert {setup.task_id for setup in below.get_upstreams_only_setups()} == {"s0", "s1"}
    for one, other, above in itertools.product(STATES, repeat=3):
        expected = airflow_decides(below, {"s0": one, "s1": other, "u0": above})
        assert decide(rule, [above], setups=[one, other]) == expected, (one, other, above)


def test_a_branch_goes_before_every_rule() -> None:
    # Airflow sets the state of a task that a branch did not choose, and never asks for its rule.
    for rule in RULES:
        assert decide(rule, ["success"], follow=["run", "skip"]) == "skip"
        assert decide(rule, [], follow=["run"]) == "run"


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(VertexValueError, match="found 'dummy'; allowed: all_done, "):
        decide("dummy", ["success"])
