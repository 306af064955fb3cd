"""A failed job runs again what failed by itself alone, attempt after attempt, as a wait task asks for it."""

from __future__ import annotations

from pathlib import Path

from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.unit.reruns.reruns import Rig, member
from tests.unit.reruns.test_rerun import collected, items


def chain(at: str) -> None:
    a = member("a")(at, "a")
    b = member("b")(at, "b", a)
    c = member("c")(at, "c", b)
    member("d")(at, "d", c, a)


def test_attempt_after_attempt(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, chain)
    rig.first("b")
    assert rig.of_itself("c") == {"b", "c"}
    assert rig.of_itself("c") == {"c"}
    assert rig.of_itself("d") == {"c", "d"}
    assert rig.of_itself() == {"d"}
    assert set(rig.job.tasks) >= {"a", "b", "c", "d"}
    assert rig.value("d") == ["d", ["c", ["b", ["a"]]], ["a"]]


def test_nothing_to_reuse(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, chain)
    rig.first("a")
    assert rig.of_itself("a") == {"a"}
    assert rig.of_itself() == {"a", "b", "c", "d"}


def test_loops(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, collected, **items(3))
    rig.first("each-0", "each-1")
    assert rig.of_itself("each-1") == {"each-0", "each-1"}
    assert rig.of_itself("sum") == {"each-1", "sum"}
    assert rig.of_itself() == {"sum"}
    assert rig.value("sum") == ["sum", [["each-0"], ["each-1"], ["each-2"]]]
    assert [rig.value("each", index) for index in range(3)] == [["each-0"], ["each-1"], ["each-2"]]


def test_a_later_clear_after_attempts_of_its_own(hook: VertexPipelineHook, tmp_path: Path) -> None:
    """What the author's present DAG asks for is compared with what ran, through attempts of both kinds."""

    def changed(at: str) -> None:
        a = member("a")(at, "a")
        b = member("b", retries=1)(at, "b", a)
        c = member("c")(at, "c", b)
        member("d")(at, "d", c, a)

    rig = Rig(hook, tmp_path, chain)
    rig.first("b")
    rig.of_itself("d")
    assert rig.second("d") == {"d"}
    rig.spec, _ = rig.compiled(changed)
    assert rig.second() == {"b", "c", "d"}
    assert rig.value("d") == ["d", ["c", ["b", ["a"]]], ["a"]]
