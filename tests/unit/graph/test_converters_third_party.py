"""Converters of other packages, installed as a package manager does: good ones, broken ones and rivals."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.converters import third_party

CONVERTER = """
    from airflow_vertex_provider.graph.converters.base import Conversion
    from airflow_vertex_provider.graph.model import TaskKind

    CLASSES = ("acme.operators.FitOperator",)
    LEAVES_VALUE = False


    def convert(operator, values):
        if operator.epochs < 1:
            values.refuse("epochs", operator.epochs, "at least 1")
        payload = {
            "command": [["fit"]],
            "arguments": [values.part("model", operator.model)],
            "env": {},
        }
        return Conversion(TaskKind.CONTAINER, payload, {"image": "acme/fit:1"})
"""
OPERATORS = """
    from airflow.sdk import BaseOperator


    class FitOperator(BaseOperator):
        template_fields = ("model",)

        def __init__(self, *, model, epochs=1, **kwargs):
            super().__init__(**kwargs)
            self.model = model
            self.epochs = epochs
"""
#: Declares a group; the last line of the output says how it went.
DAG_FILE = """
    import acme.operators
    from airflow.sdk import DAG
    from airflow_vertex_provider import VertexTaskGroup, compile_group

    with DAG("d"):
        group = VertexTaskGroup("train", location="europe-west4", pipeline_root="gs://bucket/root")
        with group:
            acme.operators.FitOperator(task_id="fit", model="{{ ds }}")
    print(sorted(compile_group(group)["root"]["dag"]["tasks"]))
"""


@task
def plain() -> int:
    return 1


def install(folder: Path, package: str, files: dict[str, str], entry_points: str) -> None:
    """Put a package and its metadata where an installer would."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    metadata = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("")
    (metadata / "entry_points.txt").write_text(f"[airflow_vertex_provider.converters]\n{entry_points}\n")


def install_acme(folder: Path, converter: str = CONVERTER) -> None:
    files = {"acme/__init__.py": "", "acme/operators.py": OPERATORS, "acme/vertex.py": converter}
    install(folder, "acme-fit", files, "fit = acme.vertex")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the folder on the import path, and forget afterwards what was loaded from it."""
    monkeypatch.syspath_prepend(tmp_path)
    third_party.cache_clear()
    yield
    third_party.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("acme", "rival")]:
        del sys.modules[name]


def fit(**options: Any) -> Any:
    from importlib import import_module

    kind = import_module("acme.operators").FitOperator
    return kind(task_id="fit", **{"model": "{{ ds }}", **options})


def unknown() -> Any:
    return BaseOperator(task_id="x")


def parse(build: Callable[[], Any]) -> str:
    """Declare a group and return the names of its tasks, or the error."""
    try:
        with DAG("d"):
            group = VertexTaskGroup("train", location="europe-west4", pipeline_root="gs://bucket/root")
            with group:
                build()
        return str(sorted(compile_group(group)["root"]["dag"]["tasks"]))
    except VertexConfigurationError as error:
        return str(error)


def test_a_registered_converter_in_a_process_of_its_own(tmp_path: Path) -> None:
    install_acme(tmp_path)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DAG_FILE)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['fit']"


def test_its_refusals_are_problems_of_the_group(tmp_path: Path) -> None:
    install_acme(tmp_path)
    assert parse(fit) == "['fit']"
    assert "train.fit: epochs: found 0; allowed: at least 1" in parse(lambda: fit(epochs=0))


def test_other_packages_are_named_among_what_is_supported(tmp_path: Path) -> None:
    install_acme(tmp_path)
    assert "EmptyOperator, acme.operators.FitOperator" in parse(unknown)


@pytest.mark.parametrize(
    ("converter", "fault"),
    [
        ("import package_that_is_not_there", "cannot be loaded (ModuleNotFoundError: No module named"),
        ("raise RuntimeError('no licence')", "cannot be loaded (RuntimeError: no licence)"),
        ("LEAVES_VALUE = True", "has CLASSES None; allowed: a tuple of dotted names"),
        ("CLASSES = 'acme.operators.FitOperator'", "has CLASSES 'acme.operators.FitOperator'"),
        ("CLASSES = ('acme.operators.FitOperator',)", "has LEAVES_VALUE None; allowed: True or False"),
        ("CLASSES = (); LEAVES_VALUE = True", "has no function convert"),
    ],
)
def test_a_broken_converter_is_named_where_it_is_wanted(tmp_path: Path, converter: str, fault: str) -> None:
    install_acme(tmp_path, converter)
    told = parse(fit)
    assert "train.fit: operator: found acme.operators.FitOperator" in told
    assert f"converter 'fit' of package 'acme-fit' {fault}" in told


def test_a_broken_converter_harms_no_other_group(tmp_path: Path) -> None:
    install_acme(tmp_path, "raise RuntimeError('no licence')")
    assert parse(plain) == "['plain']"


def test_an_entry_point_of_a_module_that_is_not_there(tmp_path: Path) -> None:
    install_acme(tmp_path)
    install(tmp_path, "other", {}, "x = other_that_is_not_there:converter")
    assert parse(fit) == "['fit']"
    assert "converter 'x' of package 'other' cannot be loaded (ModuleNotFoundError" in parse(unknown)


def test_two_packages_for_one_class(tmp_path: Path) -> None:
    install_acme(tmp_path)
    install(tmp_path, "rival", {"rival.py": CONVERTER}, "fit = rival")
    assert (
        "converter 'fit' of package 'rival' names acme.operators.FitOperator, as "
        "converter 'fit' of package 'acme-fit' does: none of them is used" in parse(fit)
    )


def test_classes_of_this_package_are_not_replaced(tmp_path: Path) -> None:
    name = "airflow.providers.standard.decorators.python._PythonDecoratedOperator"
    install_acme(tmp_path, CONVERTER.replace("acme.operators.FitOperator", name))
    assert parse(plain) == "['plain']"
    assert f"names {name}, which is converted already" in parse(fit)
