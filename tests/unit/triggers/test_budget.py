"""The read budget: no minute holds more than it allows, and nobody waits for long."""

from __future__ import annotations

import asyncio

import pytest

from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.triggers.budget import ReadBudget
from tests.unit.triggers.skipping_loop import run


async def moments(budget: ReadBudget, readers: int, reads: int, pause: float = 0.0) -> list[float]:
    """Return when each of many readers was allowed to read."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []

    async def reader() -> None:
        for _ in range(reads):
            await budget.take()
            taken.append(loop.time())
            await asyncio.sleep(pause)

    await asyncio.gather(*(reader() for _ in range(readers)))
    return taken


@pytest.mark.parametrize("per_minute", [1, 7, 300])
@pytest.mark.parametrize("pause", [0.0, 40.0])
def test_no_minute_holds_more(per_minute: int, pause: float) -> None:
    taken = run(moments(ReadBudget(per_minute), readers=50, reads=30, pause=pause))
    assert len(taken) == 1500
    busiest = max(sum(begin <= moment < begin + 60 for moment in taken) for begin in taken)
    assert busiest <= per_minute


def test_most_of_the_budget_can_be_used() -> None:
    taken = run(moments(ReadBudget(300), readers=10, reads=300))
    assert 3000 / max(taken) * 60 >= 270


def test_readers_share_fairly() -> None:
    budget = ReadBudget(60)
    order: list[int] = []

    async def reader(number: int) -> None:
        for _ in range(20):
            await budget.take()
            order.append(number)

    async def race() -> None:
        await asyncio.gather(*(reader(number) for number in range(5)))

    run(race())
    # What came at once aside, everybody has a turn before anybody has another.
    for begin in range(10, 50, 5):
        assert set(order[begin : begin + 5]) == set(range(5))


def test_one_budget_for_an_endpoint_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VERTEX_PIPELINES__READS_PER_MINUTE", "12")

    async def budgets() -> tuple[ReadBudget, ...]:
        return tuple(ReadBudget.shared(*key) for key in (("e", "p"), ("e", "p"), ("e", "q"), ("f", "p")))

    first, again, *others = run(budgets())
    assert first is again
    assert first.per_minute == 12
    assert first not in others


@pytest.mark.parametrize("found", ["0", "-1", "many", "2.5"])
def test_wrong_option(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setenv("AIRFLOW__VERTEX_PIPELINES__READS_PER_MINUTE", found)
    with pytest.raises(VertexConfigurationError, match=r"reads_per_minute: found .* at least 1"):
        ReadBudget()
