"""What keeps a name from travelling: findings in, problems with their way out out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_vertex_provider.graph.code.constants import Finding
from airflow_vertex_provider.graph.code.imports import is_of_airflow

#: What is wrong with a constant, and ways out.
CHANGED = "its value was changed at run time, in a way that its file does not show"
LIVE = (
    "make it inside the function, or in a module of your own that the container imports "
    "(code='bundle' or code='image')"
)
HERE = "pass it as an argument, or read it inside the function, where the container's own is meant"
LITERAL = "write its value out, or compute it inside the function; code='image' imports the whole file"

#: Way out for a loop's variable, which a function would find with its last value.
DEFAULT = "take it as a default argument, {name}={name}, pass it as an argument, or write its value out"


@dataclass(frozen=True)
class Problem:
    """What cannot travel: a name, the line it is made or used at, what it is and the way out."""

    name: str
    line: int
    what: str
    way_out: str


def is_of_a_dag(value: object) -> bool:
    """Say whether an object stands for a task or its output."""
    return type(value).__name__.endswith(("TaskDecorator", "XComArg"))


def airflows(value: object) -> tuple[str, str] | None:
    """Say of an object of Airflow's what it is and what to do instead; ``None`` of any other."""
    kind = type(value)
    if not any(is_of_airflow(base.__module__) for base in kind.__mro__) or isinstance(value, type):
        return None
    if kind.__name__.endswith("TaskDecorator"):
        return (
            "is another task, and a task cannot call one",
            "call it in the DAG and pass its output, or take the shared code into a function without @task",
        )
    if "XComArg" in kind.__name__:
        return "is a task's output", "pass it as an argument"
    return (
        f"is an object of Airflow's ({kind.__name__}), which is not in the container",
        "values as arguments",
    )


def finding_problems(name: str, findings: Iterator[Finding]) -> Iterator[Problem]:
    """Turn what was found in an expression into problems of the name it makes."""
    for finding in findings:
        if finding.here:
            yield Problem(name, finding.line, f"has a value known only here and now: {finding.what}", HERE)
        else:
            yield Problem(
                name, finding.line, f"is a live object, made by {finding.what} as the file is read", LIVE
            )
