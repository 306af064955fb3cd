"""Bundles in the container: what a function imports of one, and what becomes of one that was changed."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.bundle import archive, pack
from airflow_vertex_provider.runtime.protocol import bash_config, constant
from tests.support.projects import SHOP, lay
from tests.unit.runtime.container import PYTHONS, Container, Ended, config_of, find_python

ADDRESS = "gs://bucket/root/code/{}.zip"

PROJECT = {
    **SHOP,
    "calendar.py": "raise ImportError('a DAG file, not the calendar')\n",
    "team/near.py": "HERE = 'near'\n",
}


def total(net):  # type: ignore[no-untyped-def]
    import calendar

    from shop.prices import total  # type: ignore[import-not-found]

    return [*total(net), calendar.isleap(2024)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return lay(tmp_path / "dags", PROJECT)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path / "gcs")


def sent(container: Container, project: Path, **other: Any) -> dict[str, Any]:
    """Put the project where the container looks for it, and return what its configuration says of it."""
    packed = pack(project)
    bundle = packed.under("gs://bucket/root")
    put(container, bundle.uri, packed.data)
    return {**bundle.to_config(), **other}


def put(container: Container, uri: str, data: bytes) -> None:
    path = container.root / uri[5:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def run(
    container: Container, bundle: Mapping[str, Any], function: Any = total, *args: Any, **env: Any
) -> Ended:
    config = config_of(function, [constant(arg) for arg in args])
    return container.run({**config, "bundle": bundle}, **env)


@pytest.mark.parametrize("version", PYTHONS)
def test_modules_of_the_project(tmp_path: Path, project: Path, version: str) -> None:
    """Relative imports, a data file beside a module, and a DAG file called like a module of Python's."""
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    container = Container(tmp_path / "gcs", python)
    assert run(container, sent(container, project), total, 100).value() == ["shop", 125.0, True]


def test_goes_before_installed_modules_and_the_working_directory(
    container: Container, project: Path, tmp_path: Path
) -> None:
    bundle = sent(container, project)
    for place in (container.root, tmp_path / "installed"):
        (place / "shop").mkdir(parents=True)
        (place / "shop/__init__.py").write_text("raise ImportError('an old copy')")
    ended = run(container, bundle, total, 100, PYTHONPATH=str(tmp_path / "installed"))
    assert ended.value() == ["shop", 125.0, True]


def near() -> Any:
    import os
    import subprocess
    import sys

    import near  # type: ignore[import-not-found]

    code = "import near, shop; print(near.HERE, shop.NAME)"
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True)
    return [near.HERE, done.stdout.split(), os.environ["PYTHONPATH"].endswith(":/elsewhere")]


def test_further_roots_and_programs(container: Container, project: Path) -> None:
    bundle = sent(container, project, roots=["team", ""])
    (project / "calendar.py").unlink()
    assert run(container, bundle, near, PYTHONPATH="/elsewhere").value() == ["near", ["near", "shop"], True]


def test_bash(container: Container, project: Path) -> None:
    config = bash_config(task="t", command=constant("python3 -c 'import shop; print(shop.NAME)'"))
    python = str(Path(container.python).parent)
    ended = container.run({**config, "bundle": sent(container, project)}, PATH=f"{python}:/usr/bin:/bin")
    assert ended.value() == "shop"


def fork() -> Any:
    import os
    import sys

    if os.fork() == 0:
        sys.exit(0)  # a child that ends as a program does
    os.wait()
    from shop.prices import total

    return total(100)


@pytest.mark.parametrize("function", [fork, near])
def test_leaves_nothing_behind(container: Container, project: Path, tmp_path: Path, function: Any) -> None:
    (tmp_path / "scratch").mkdir()
    ended = run(container, sent(container, project), function, TMPDIR=str(tmp_path / "scratch"))
    # Without its folder among the roots, near is not found.
    assert ended.code == (0 if function is fork else 1), ended.stderr
    assert list((tmp_path / "scratch").iterdir()) == []


class TestRefused:
    def test_changed(self, container: Container, project: Path) -> None:
        bundle = sent(container, project)
        data = pack(project).data
        other = data.replace(b"0.25", b"0.99")
        assert other != data
        put(container, bundle["uri"], other)
        error = run(container, bundle, total, 100).error()
        assert bundle["uri"] in error["message"]
        assert archive.digest(data) in error["message"]
        assert archive.digest(other) in error["message"]

    def test_cut_short(self, container: Container, project: Path) -> None:
        bundle = sent(container, project)
        put(container, bundle["uri"], b"")
        assert f"expected {bundle['size']} bytes" in run(container, bundle, total, 100).error()["message"]

    def test_missing(self, container: Container, project: Path) -> None:
        bundle = sent(container, project)
        (container.root / bundle["uri"][5:]).unlink()
        message = run(container, bundle, total, 100).error()["message"]
        assert message.startswith(f"cannot read {bundle['uri']}, where the DAG's code was put")
        assert "No such file" in message

    @pytest.mark.parametrize("name", ["../out.py", "/tmp/out.py", "a/../../out.py", "a/.."])
    def test_leaving_its_folder(self, container: Container, name: str, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as opened:
            opened.writestr(name, "")
        data = buffer.getvalue()
        uri = ADDRESS.format(archive.digest(data))
        put(container, uri, data)
        bundle = {"uri": uri, "sha256": archive.digest(data), "size": len(data), "roots": [""]}
        error = run(container, bundle, total, 100, TMPDIR=str(tmp_path)).error()
        assert f"{name!r} would leave the folder" in error["message"]


BROKEN = {
    "shop/prices.py": "def total(net):\n    return 1 / net\n",
    "shop/rates.py": "from .nowhere import vat\n",
    "shop/syntax.py": "def f(:\n",
}


def divide() -> Any:
    from shop.prices import total

    return total(0)


def import_wrong() -> Any:
    from shop.rates import vat  # type: ignore[import-not-found]

    return vat


def import_name() -> Any:
    from shop import nothing  # type: ignore[import-not-found]

    return nothing


def import_syntax() -> Any:
    from shop import syntax

    return syntax


@pytest.mark.parametrize(
    ("function", "kind", "shown"),
    [
        (divide, "ZeroDivisionError", ['File "shop/prices.py", line 2, in total', "return 1 / net"]),
        (import_wrong, "ModuleNotFoundError", ['File "shop/rates.py", line 1', "from .nowhere import vat"]),
        (import_name, "ImportError", ["cannot import name 'nothing' from 'shop' (shop/__init__.py)"]),
        (import_syntax, "SyntaxError", ['File "shop/syntax.py", line 1', "def f(:"]),
    ],
)
def test_errors_show_the_projects_own_names(
    container: Container, project: Path, function: Any, kind: str, shown: list[str]
) -> None:
    for name, content in BROKEN.items():
        (project / name).write_text(content)
    ended = run(container, sent(container, project), function)
    error = ended.error()
    assert error["type"] == kind
    assert re.search(rf'File "test_bundle.py", line \d+, in {function.__name__}\n', error["traceback"])
    for text in shown:
        assert text in error["traceback"]
    for text in (error["traceback"], error["message"], ended.shown_error(), ended.stderr):
        assert "airflow-vertex-" not in text
