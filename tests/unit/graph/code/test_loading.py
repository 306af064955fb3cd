"""How functions get into containers by their mode: by module name or by text, and what that gives there."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_vertex_provider.graph.code import CarryError, Loading, carry_function, how_to_load
from airflow_vertex_provider.graph.code.origin import Origin, origin_of
from tests.unit.graph.code.batch import config_of, run_batch
from tests.unit.runtime.container import BARE_PYTHON, PYTHONS, find_python

PROJECT = Path(__file__).parent / "project"

DAG_FILE = """
from airflow.sdk import task
from shop.prices import price
from shop import rates as own_rates

LIMIT = 2


def helper(x):
    return price(x) * LIMIT


@task
def member(x):
    return helper(x) + own_rates.RATE


def plain(x):
    return x + LIMIT
"""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A DAG folder with a package and a DAG file, on Python's path as Airflow has it."""
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "dag.py").write_text(DAG_FILE)
    (tmp_path / "shop").symlink_to(PROJECT / "shop")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def as_airflow(path: Path) -> ModuleType:
    """Import a DAG file under the name that Airflow gives it."""
    digest = hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()
    name = f"unusual_prefix_{digest}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded(name: str) -> Any:
    return importlib.import_module(name)


def test_where_modules_come_from(project: Path) -> None:
    assert origin_of("json") is Origin.STDLIB
    assert origin_of("os.path") is Origin.STDLIB
    assert origin_of("sys") is Origin.STDLIB
    assert origin_of("pytest") is Origin.INSTALLED
    assert origin_of("airflow.sdk") is Origin.AIRFLOW
    assert origin_of("airflow_vertex_provider") is Origin.AIRFLOW
    assert origin_of("shop") is Origin.OWN
    assert "shop" not in sys.modules
    loaded("shop.prices")
    assert origin_of("shop.prices") is Origin.OWN
    assert origin_of("there_is_no_such_module") is Origin.MISSING


def test_the_decision(project: Path) -> None:
    prices, tasks, dag = loaded("shop.prices"), loaded("shop.tasks"), as_airflow(project / "team" / "dag.py")
    text, by_text = Loading(), Loading(own_modules=True)
    cases = [
        (prices.price, "inline", text),
        (dag.plain, "inline", text),
        (prices.price, "image", Loading(module="shop.prices")),
        (tasks.priced.function, "image", Loading(module="shop.tasks")),
        (dag.plain, "image", Loading(module="team.dag")),
        (prices.price, "bundle", Loading(module="shop.prices", own_modules=True)),
        (prices.outer(), "bundle", by_text),
        (tasks.priced.function, "bundle", by_text),
        (dag.plain, "bundle", by_text),
    ]
    for function, mode, expected in cases:
        assert how_to_load(function, mode) == expected, (function, mode)


def test_inline_sends_no_module_of_the_authors(project: Path) -> None:
    dag = as_airflow(project / "team" / "dag.py")
    with pytest.raises(CarryError, match="code='bundle'") as caught:
        carry_function(dag.member)
    assert caught.value.names == [("price", 3), ("own_rates", 4)]


@pytest.mark.parametrize("version", PYTHONS)
def test_text_and_names_give_the_same_where_the_modules_are(project: Path, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    prices, tasks, dag = loaded("shop.prices"), loaded("shop.tasks"), as_airflow(project / "team" / "dag.py")
    carried = [
        carry_function(prices.price, "bundle"),
        carry_function(prices.outer(), "bundle"),
        carry_function(tasks.priced, "bundle"),
        carry_function(dag.member, "bundle"),
        carry_function(prices.price, "image"),
    ]
    assert [item.module for item in carried] == ["shop.prices", None, None, None, "shop.prices"]
    assert carried[2].package == "shop"
    answers = run_batch(python, [config_of(item, [2], {}) for item in carried], path=project)
    assert [answer.get("value", answer) for answer in answers] == ["3.0", "3.0", "4.5", "7.5", "3.0"]


def test_a_function_inside_another_has_no_name_in_the_image(project: Path) -> None:
    with pytest.raises(CarryError, match="code='inline' or code='bundle'"):
        carry_function(loaded("shop.prices").outer(), "image")


def test_an_image_without_the_module_or_the_name_says_so(project: Path) -> None:
    config = {**config_of(carry_function(loaded("shop.prices").price, "image"), [2], {}), "image": "shop:1"}
    broken = project / "broken.py"
    broken.write_text("import not_installed_anywhere\n")
    raising = project / "raising.py"
    raising.write_text("\n\nraise ValueError('as the module is read')\n")
    configs = [
        {**config, "module": "no_such.module"},
        {**config, "function": "no_such_function"},
        {**config, "module": "broken"},
        {**config, "module": "raising"},
    ]
    missing, other, dependency, error = run_batch(BARE_PYTHON, configs, path=project)
    assert missing["type"] == other["type"] == "VertexRuntimeError"
    assert "the image shop:1 has no module 'no_such.module'" in missing["message"]
    assert "code='inline'" in missing["message"]
    assert "has no no_such_function" in other["message"]
    assert "shop:1" in other["message"]
    assert dependency["type"] == "ModuleNotFoundError"
    assert "import not_installed_anywhere" in dependency["traceback"]
    assert error["type"] == "ValueError"
    assert f'File "{raising}", line 3' in error["traceback"]
    assert "<frozen" not in error["traceback"].split("raising.py")[0]
    assert "<string>" not in error["traceback"]


AIRFLOW_FURTHER_DOWN = {
    "near": "from shop import rates\nimport middle\n\n\ndef use(x):\n    return middle.deep.VALUE + x\n",
    "middle": "import deep\n",
    "deep": "import os\nfrom airflow.sdk import Variable\nVALUE = 1\n",
    "caring": "try:\n    from airflow.sdk import Variable\nexcept ImportError:\n    Variable = None\n\n\n"
    "def care(x):\n    return x\n",
    "shim": "from airflow.exceptions import AirflowSkipException\n\n\ndef skips(x):\n    return x\n",
    "outer": "from near import use\nfrom caring import care\nfrom shim import skips\n"
    "from airflow.sdk import task\nimport tasks\n\n\n"
    "def reaches(x):\n    return use(x)\n\n\ndef cares(x):\n    return care(x) + skips(x)\n\n\n"
    "@task\ndef other(x):\n    return x\n\n\ndef calls(x):\n    return tasks.other(x)\n",
    "tasks": "from airflow.sdk import task\n\n\n@task\ndef other(x):\n    return x\n",
}


def test_airflow_behind_own_modules(project: Path) -> None:
    for name, text in AIRFLOW_FURTHER_DOWN.items():
        (project / f"{name}.py").write_text(text)
    try:
        outer, near = loaded("outer"), loaded("near")
        assert carry_function(outer.cares, "bundle").module is None
        assert carry_function(loaded("caring").care, "bundle").module == "caring"
        assert carry_function(loaded("shim").skips, "bundle").module == "shim"
        assert how_to_load(near.use, "bundle") == Loading(None, own_modules=True)
        told = r"'use' \(line 1\) is imported from 'near', .* imports 'airflow.sdk' \(deep.py, line 2\)"
        with pytest.raises(CarryError, match=told):
            carry_function(outer.reaches, "bundle")
        with pytest.raises(CarryError, match=r"'middle' \(line 2\) .*\(deep.py, line 2\)"):
            carry_function(near.use, "bundle")
        with pytest.raises(CarryError, match=r"'tasks' \(line 5\) .*\(tasks.py, line 1\)"):
            carry_function(outer.calls, "bundle")
    finally:
        for name in AIRFLOW_FURTHER_DOWN:
            sys.modules.pop(name, None)
