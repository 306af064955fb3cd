"""The author's code in pipelines: what functions reach runs on every machine, and modules of images."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import AirflowSkipException
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.runtime import protocol
from tests.emulator.pipelines import Client, outputs, states, tasks

MACHINE = {"custom_job": {"machine_type": "n1-standard-4"}}
PROJECT = Path(__file__).parents[1] / "unit" / "graph" / "code" / "project"

FACTOR = 3
WORD = re.compile(r"\w+")


@dataclass
class Line:
    """A line of text."""

    text: str

    def words(self) -> list[str]:
        return WORD.findall(self.text)


def counted(text: str) -> int:
    return len(Line(text).words()) * FACTOR


def some_counted(text: str) -> int:
    if not text:
        raise AirflowSkipException("nothing to count")
    return counted(text)


@task
def count(text: str) -> int:
    return counted(text)


@task
def count_some(text: str) -> int:
    return some_counted(text)


@task.branch
def choose(number: int) -> str:
    return "g.more" if number > FACTOR else "g.less"


@task.bash
def shell(number: int) -> str:
    return f"echo {number * FACTOR}"


@task
def broken(text: str) -> int:
    return counted(text) // (FACTOR - 3)


class Service:
    """Something that lives."""


service = Service()


def group(**settings: Any) -> VertexTaskGroup:
    return VertexTaskGroup(
        "g", location="europe-west4", project_id="p", pipeline_root="gs://bucket/root", **settings
    )


def test_what_functions_reach_runs_on_every_machine(client: Client) -> None:
    with DAG("d", schedule=None), group() as made:
        plain: Any = count("a b")
        own: Any = count.override(task_id="own", executor_config={"vertex": MACHINE})("a b c")
        skipped = count_some.override(task_id="skipped")("")
        shell(plain)
        choice = choose(own)
        choice >> [count.override(task_id=name)("x") for name in ("more", "less")]
        count.override(task_id="after", trigger_rule="all_skipped")("y y") << skipped
    job = client.run(compile_group(made))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    values = {
        name: protocol.decode(outputs(job, name)["Output"])
        for name in ("count", "own", "shell", "more", "after")
    }
    assert values == {"count": 6, "own": 9, "shell": "18", "more": 3, "after": 6}
    assert outputs(job, "skipped")["Output"] == protocol.SKIPPED
    assert outputs(job, "less")["Output"] == protocol.SKIPPED


def test_an_error_shows_the_authors_lines(client: Client) -> None:
    with DAG("d", schedule=None), group() as made:
        broken("a")
    job = client.run(compile_group(made))
    assert states(job)["broken"] == "FAILED"
    line = broken.function.__code__.co_firstlineno + 2
    message = tasks(job)["broken"]["error"]["message"]
    assert "ZeroDivisionError" in message
    assert f'File "test_code.py", line {line}, in broken' in message
    assert "return counted(text) // (FACTOR - 3)" in message


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that the image has."""
    monkeypatch.syspath_prepend(str(PROJECT))
    yield importlib.import_module("shop.prices")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.mark.parametrize("machine", [{}, MACHINE], ids=["plain", "custom job"])
def test_an_image_has_the_module(client: Client, prices: Any, machine: dict[str, Any]) -> None:
    with DAG("d", schedule=None), group(code="image", **machine) as made:
        task(executor_config={"vertex": {"env": {"PYTHONPATH": str(PROJECT)}}})(prices.price)(4)
    spec = compile_group(made)
    assert "RATE" not in str(spec)
    job = client.run(spec)
    assert protocol.decode(outputs(job, "price")["Output"]) == 6.0


def test_an_image_without_the_module(client: Client, prices: Any) -> None:
    with DAG("d", schedule=None), group(code="image", image="shop:1") as made:
        task(prices.price)(4)
    job = client.run(compile_group(made))
    assert states(job)["price"] == "FAILED"
    assert "the image shop:1 has no module 'shop.prices'" in tasks(job)["price"]["error"]["message"]


def test_all_that_cannot_travel_is_said_at_once() -> None:
    @task
    def uses_service() -> str:
        return str(service)

    @task
    def calls_another(text: str) -> Any:
        return count(text)

    with pytest.raises(VertexGroupError) as caught, DAG("d", schedule=None), group():
        uses_service()
        calls_another("x")
    assert {problem.where for problem in caught.value.problems} == {"g.uses_service", "g.calls_another"}
    assert "'service' (line" in str(caught.value)
    assert "is a live object, made by Service()" in str(caught.value)
    assert "'count' (line" in str(caught.value)
    assert "a task cannot call one" in str(caught.value)
