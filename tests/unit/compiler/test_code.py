"""What a bundle must hold for the functions of its tasks is looked at when it is packed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from airflow_vertex_provider import compile_group
from airflow_vertex_provider.exceptions import VertexGroupError

DAG_FILE = """
from airflow.sdk import DAG, task
from airflow_vertex_provider import VertexTaskGroup
from r_near import scale
import r_package.rates

@task
def by_text(x=1):
    return scale(x) * r_package.rates.RATE

with DAG("d", schedule=None):
    with VertexTaskGroup(
        "g", location="europe-west4", pipeline_root="gs://bucket/root", code="bundle", code_paths=PATHS
    ) as group:
        by_text()
        task(scale, task_id="by_name")(1)
"""
FILES = {
    "r_near.py": "import json\nfrom r_far import FACTOR\n\n\ndef scale(x):\n    return x * FACTOR\n",
    "r_far.py": "try:\n    import r_absent\nexcept ImportError:\n    pass\nFACTOR = 2\n",
    "r_package/__init__.py": "",
    "r_package/rates.py": "from . import base\nRATE = base.BASE\n",
    "r_package/base.py": "BASE = 3\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("r_")]:
        del sys.modules[name]


def dag_of(folder: Path, paths: list[str]) -> ModuleType:
    (folder / "r_dag.py").write_text(DAG_FILE.replace("PATHS", repr(paths)))
    return importlib.import_module("r_dag")


@pytest.mark.parametrize("paths", [[], ["r_near.py", "r_far.py", "r_package"]])
def test_all_that_is_imported_is_there(folder: Path, paths: list[str]) -> None:
    assert compile_group(dag_of(folder, paths).group)


@pytest.mark.parametrize(
    ("paths", "problems"),
    [
        (
            ["r_near.py", "r_package"],
            [("g.by_text", "'r_far' (r_near.py, line 2)"), ("g.by_name", "'r_far' (r_near.py, line 2)")],
        ),
        (
            ["r_near.py", "r_far.py"],
            [
                ("g.by_text", "'r_package' (r_dag.py, line 5)"),
                ("g.by_text", "'r_package.rates' (r_dag.py, line 5)"),
                ("g.by_text", "'r_package.base' (rates.py, line 1)"),
            ],
        ),
        (
            ["r_near.py", "r_far.py", "r_package/rates.py"],
            [("g.by_text", "'r_package.base' (rates.py, line 1)")],
        ),
    ],
)
def test_a_module_that_is_missing_is_named(
    folder: Path, paths: list[str], problems: list[tuple[str, str]]
) -> None:
    with pytest.raises(VertexGroupError) as caught:
        compile_group(dag_of(folder, paths).group)
    found = [(problem.where, problem.found) for problem in caught.value.problems]
    assert [where for where, _ in found] == [where for where, _ in problems]
    for (_, told), (_, expected) in zip(found, problems, strict=True):
        assert f"needs {expected}, which is not in the bundle" in told
