"""What of ``code`` and ``code_paths`` is refused when a DAG is parsed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexContainerOperator, VertexTaskGroup
from airflow_vertex_provider.exceptions import VertexGroupError

HERE = Path(__file__).name


@task
def give() -> int:
    return 1


def said(**settings: Any) -> dict[str, Any]:
    return {"executor_config": {"vertex": settings}}


def own(**settings: Any) -> Callable[[], Any]:
    return lambda: give.override(**said(**settings))()


def shell(**settings: Any) -> Callable[[], Any]:
    return lambda: BashOperator(task_id="sh", bash_command="true", **said(**settings))


def box(**settings: Any) -> Callable[[], Any]:
    return lambda: VertexContainerOperator(task_id="box", image="i", command=["true"], **said(**settings))


def close(fill: list[Callable[[], Any]], fileloc: str | None, **settings: Any) -> None:
    with DAG("d", schedule=None) as dag:
        if fileloc is not None:
            dag.fileloc = fileloc
        options = {"location": "europe-west4", "pipeline_root": "gs://bucket/root", **settings}
        with VertexTaskGroup("g", **options):
            for each in fill:
                each()


NEEDS = 'none, or code="bundle" where they are to count'


@pytest.mark.parametrize(
    ("fill", "settings", "problems"),
    [
        ([give], {"code": "bundle"}, []),
        ([give], {"code": "bundle", "code_paths": ["tests"]}, []),
        ([shell()], {"code": "bundle"}, []),
        ([give], {"code": "bundle", "code_paths": ["tests", "nowhere", "/not/there"]},
         [("g", "code_paths[1]", "'nowhere'"), ("g", "code_paths[2]", "'/not/there'")]),
        ([own(code_paths=["nowhere"]), shell(code_paths=["gone"])], {"code": "bundle"},
         [("g.give", "code_paths[0]", "'nowhere'"), ("g.sh", "code_paths[0]", "'gone'")]),
        ([own(code="bundle", code_paths=["nowhere"]), shell()], {},
         [("g.give", "code_paths[0]", "'nowhere'")]),
        ([give], {"code_paths": ["tests"]}, [("g", "code_paths", "['tests']")]),
        ([own(code="bundle")], {"code_paths": ["tests"]}, []),
        ([own(code="inline")], {"code": "bundle", "code_paths": ["tests"]},
         [("g", "code_paths", "['tests']")]),
        ([own(code="inline", code_paths=["tests"]), shell()], {"code": "bundle"},
         [("g.give", "code_paths", "['tests']")]),
        ([box(code="bundle"), give], {"code": "bundle"}, [("g.box", "code", "'bundle'")]),
        ([box(code_paths=["tests"]), give], {"code": "bundle"}, [("g.box", "code_paths", "['tests']")]),
        ([box(), give], {"code": "bundle"}, []),
    ],
)  # fmt: skip
def test_settings(
    fill: list[Callable[[], Any]], settings: dict[str, Any], problems: list[tuple[str, str, str]]
) -> None:
    if not problems:
        close(fill, None, **settings)
        return
    with pytest.raises(VertexGroupError) as caught:
        close(fill, None, **settings)
    assert [(found.where, found.field, found.found) for found in caught.value.problems] == problems


def test_missing_path_tells_where_it_was_looked_for() -> None:
    with pytest.raises(VertexGroupError, match=rf"not {Path.cwd()}/nowhere"):
        close([give], None, code="bundle", code_paths=["nowhere"])


def test_zip(tmp_path: Path) -> None:
    (tmp_path / "dags.zip").write_bytes(b"")
    with pytest.raises(VertexGroupError, match=r"g: code: found .*dags\.zip/dag\.py.*not in a zip"):
        close([give], str(tmp_path / "dags.zip" / "dag.py"), code="bundle")
    close([give], str(tmp_path / "dags.zip" / "dag.py"))


def test_factory_in_an_installed_package() -> None:
    """Which folder the DAG's file lies in is told after parsing, so paths are looked for at submit."""
    close([give], pytest.__file__, code="bundle", code_paths=["nowhere"])
