"""Groups drawn at random: what failed once and was run again ends as if nothing had ever failed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.unit.reruns.reruns import MACHINE, Rig, member

pytestmark = pytest.mark.slow

RULES = ["all_success"] * 6 + ["all_done", "none_failed", "one_success", "none_failed_min_one_success"]


class Drawn:
    """A group of tasks that take values of earlier ones, with what may stand in one besides.

    :param followers: name to the names of the tasks that may have to run again with it.
    """

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.names = [f"t{number}" for number in range(draw.randint(3, 8))]
        self.above = {
            name: draw.sample(self.names[:at], draw.randint(0, min(at, 3)))
            for at, name in enumerate(self.names)
        }
        self.rules = {name: draw.choice(RULES) for name in self.names}
        self.machines = {name: draw.random() < 0.3 for name in self.names}
        self.mapped = {name: draw.random() < 0.2 for name in self.names}
        self.setup = self.names[0] if draw.random() < 0.3 else ""
        self.teardown = draw.random() < 0.5
        instances = [
            instance
            for name in self.names
            for instance in ([f"{name}-0", f"{name}-1"] if self.mapped[name] else [name])
        ]
        self.failed = [
            draw.sample(instances, min(len(instances), draw.randint(1, 2))),
            draw.sample(instances, draw.randint(0, 1)),
        ]
        self.values = {
            f"g_{name}_items": [{"index": str(n), "arg_again": str(n)} for n in range(2)]
            for name in self.names
            if self.mapped[name]
        }

    def fill(self, at: str) -> None:
        made: dict[str, Any] = {}
        for name in self.names:
            options: dict[str, Any] = {"trigger_rule": self.rules[name]}
            if self.machines[name]:
                options["executor_config"] = MACHINE
            taken = [made[above] for above in self.above[name]]
            if self.mapped[name]:
                mapped = member(name, **options).partial(at=at, name=name).expand(again=[0, 1])
                for above in taken:
                    above >> mapped
                made[name] = mapped
            else:
                made[name] = member(name, **options)(at, name, *taken)
        if self.setup:
            made[self.setup].as_setup()
        if self.teardown:
            stop = member("stop")(at, "stop")
            for task in made.values():
                task >> stop
            stop.as_teardown(setups=[made[self.setup]] if self.setup else None)

    def may_run(self, failed: list[str]) -> set[str]:
        """Return the names of the tasks that may run again: what failed, its setup, and what follows."""
        found = {name.partition("-")[0] for name in failed}
        if self.setup and (self.teardown or any(self.follows(name, self.setup) for name in self.names)):
            found.add(self.setup)
        for name in self.names:
            if found & set(self.above[name]):
                found.add(name)
        return found | {"stop"}

    def follows(self, name: str, other: str) -> bool:
        return any(above == other or self.follows(above, other) for above in self.above[name])


def results(rig: Rig) -> dict[str, Any]:
    return {
        f"{entry.name}[{entry.index}]": rig.value(entry.name, entry.index)
        for entry in rig.job.entries
        if not entry.scope and "Output" in entry.outputs and not entry.name.startswith("reused-")
    }


@pytest.mark.parametrize("seed", range(24))
def test_a_group_that_failed_ends_as_one_that_did_not(
    hook: VertexPipelineHook, tmp_path: Path, seed: int
) -> None:
    drawn = Drawn(seed)
    try:
        rig = Rig(hook, tmp_path, drawn.fill, {}, **drawn.values)
    except VertexGroupError:
        pytest.skip("such a group is refused")
    rig.first()
    expected = results(rig)
    _, rig.job = run_with(rig, drawn.failed[0])
    may_run = drawn.may_run(drawn.failed[0])
    again = rig.rerun()
    rig.fail(*drawn.failed[1])
    ran = again_with(rig, again)
    assert {name.partition("-")[0] for name in ran} <= may_run
    rig.mend()
    if drawn.failed[1]:
        again_with(rig, rig.rerun())
    assert rig.job.succeeded
    assert results(rig) == expected


def run_with(rig: Rig, failed: list[str]) -> Any:
    rig.fail(*failed)
    found = rig.submit(rig.spec, rig.values)
    rig.mend()
    return found


def again_with(rig: Rig, again: Any) -> set[str]:
    from airflow_vertex_provider.reuse import merged, note_of

    ran, job = rig.submit(again.spec, again.parameter_values)
    rig.job = merged(job, note_of(again.parameter_values), rig.job)
    return set(ran)
