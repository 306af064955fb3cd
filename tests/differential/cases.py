"""A small group and what Airflow makes of it in, a test of both sides out: the form of the written cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.differential.bench import canonical
from tests.differential.comparison import compare
from tests.differential.laboratory import Laboratory, Outcome

#: Tasks that the cases have in common; ``t`` makes one of a kind under a name.
BASICS = """
@task
def ok(name, value=None):
    MARK(name)
    return [name, value]


@task
def bad(name, value=None):
    MARK(name)
    raise ValueError(name)


@task
def skip(name, value=None):
    from airflow.exceptions import AirflowSkipException

    MARK(name)
    raise AirflowSkipException(name)


@task
def plain(name, value=None):
    MARK(name)
    return value


def t(kind, name, value=None, **options):
    return kind.override(task_id=name, **options)(name, value)
"""


@dataclass(frozen=True)
class Case:
    """One idea.

    :param body: see :mod:`tests.differential.laboratory`.
    :param failed: task instances that Airflow lets fail; so the other states. All others must succeed.
    :param xcoms: task instance to its return value as Airflow has it, where the case is about the value.
    :param options: more arguments of ``DAG``.
    :param conf: the run's ``dag_run.conf``.
    :param files: name to text of files beside the DAG file.
    :param patient: what is expected holds if rules wait for all tasks above, see bench.py.
    :param here: states on the Vertex side that docs/translation.md makes an exception of ("The group starts
        as one"); what is below these tasks is not compared.
    :param refused: part of the message of the group that refuses this; docs/translation.md names it.
    """

    name: str
    body: str
    failed: str = ""
    skipped: str = ""
    upstream_failed: str = ""
    removed: str = ""
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    options: str = ""
    conf: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    patient: bool = False
    here: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


def cases(items: Iterable[Case]) -> pytest.MarkDecorator:
    """Return the parametrisation of a test by these cases."""
    listed = list(items)
    return pytest.mark.parametrize("case", listed, ids=[case.name.replace(" ", "-") for case in listed])


def check(case: Case, laboratory: Laboratory) -> None:
    """Run a case on both sides; Airflow must do what the case says, and the pipeline what Airflow does."""

    def run(side: Any) -> Outcome:
        return laboratory.run(
            side, case.body, above=BASICS, options=case.options, conf=case.conf, files=case.files
        )

    airflow = run("airflow")
    patient = run("patient") if case.patient else None
    check_expectation(case, patient or airflow)
    vertex = run("vertex")
    if case.refused:
        assert vertex.refused, f"not refused\n{vertex}"
        assert case.refused in vertex.error
        return
    result = compare(airflow, vertex, lambda: patient or run("patient"), [*case.here])
    assert not result.differences, "\n".join([*result.differences, "", vertex.error or vertex.log])
    found = {name: vertex.states.get(name) for name in case.here}
    assert found == dict(case.here), vertex.log


def check_expectation(case: Case, airflow: Outcome) -> None:
    """Check that Airflow alone did what the case says."""
    assert not airflow.error, airflow.error
    expected: dict[str, str | None] = dict.fromkeys(airflow.states, "success")
    for state in ("failed", "skipped", "upstream_failed", "removed"):
        expected |= dict.fromkeys(getattr(case, state).split(), state)
    assert airflow.states == expected, f"found {_unequal(airflow.states)}\n{airflow.log}"
    for name, value in case.xcoms.items():
        assert airflow.xcoms[name].get("return_value") == canonical(value), f"{name}: {airflow.xcoms[name]}"


def _unequal(states: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: state for name, state in states.items() if state != "success"}
