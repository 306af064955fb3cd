"""Packages installed in the container, from folders and a package index on this machine."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.runtime.protocol import bash_config, constant
from tests.unit.runtime.container import PYTHONS, Container, config_of, find_python


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def give_one(value: Any) -> Any:
    return value


def import_installed() -> Any:
    import importlib
    import os

    package = importlib.import_module("tiny_local_package")
    return [package.VALUE, os.environ["PYTHONPATH"].split(os.pathsep)[0] in str(package.__file__)]


def make_index(folder: Path, requires: str = "") -> str:
    """Lay out a package index with one wheel in it and return its address."""
    wheel = "tiny_local_package-1.0-py3-none-any.whl"
    place = folder / "index" / "tiny-local-package"
    place.mkdir(parents=True)
    info = "tiny_local_package-1.0.dist-info"
    with zipfile.ZipFile(place / wheel, "w") as archive:
        archive.writestr("tiny_local_package.py", "VALUE = 'installed'")
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-local-package\nVersion: 1.0\n"
            + (f"Requires-Dist: {requires}\n" if requires else ""),
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"tiny_local_package.py,,\n{info}/RECORD,,\n")
    (place / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    return (folder / "index").as_uri()


def test_packages_are_installed_from_the_given_index(container: Container) -> None:
    index = make_index(container.root)
    options: dict[str, Any] = {"packages": ["tiny-local-package>=1"], "pip_index_urls": [index]}
    ended = container.run(config_of(import_installed, **options), PIP_CONFIG_FILE=os.devnull)
    assert ended.value() == ["installed", True]
    assert "airflow-vertex: installing tiny-local-package>=1" in ended.stdout
    shell = bash_config(
        task="g.b", command="python3 -c 'import tiny_local_package as t; print(t.VALUE)'", **options
    )
    assert container.run(shell, PIP_CONFIG_FILE=os.devnull).value() == "installed"


def test_package_that_does_not_exist_is_named(container: Container) -> None:
    index = make_index(container.root)
    config = config_of(give_one, [constant(1)], packages=["tiny-local-package==9"], pip_index_urls=[index])
    error = container.run(config, PIP_CONFIG_FILE=os.devnull).error()
    assert "pip could not install ['tiny-local-package==9'] (exit code 1)" in error["message"]
    assert "No matching distribution found" in error["message"]


def cached_config(container: Container, index: str, **more: Any) -> dict[str, Any]:
    config = config_of(import_installed, packages=["tiny-local-package>=1"], pip_index_urls=[index])
    return {**config, "wheel_cache": "gs://bucket/wheels/", **more}


def cached(container: Container) -> list[Path]:
    """Return the wheels in the cache, after checking that nothing half written lies beside them."""
    files = [path for path in (container.root / "bucket" / "wheels").rglob("*") if path.is_file()]
    assert all(path.suffix == ".whl" for path in files), files
    return files


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an index and the cache that a first task filled from it; to be copied."""
    root = tmp_path_factory.mktemp("filled")
    ended = Container(root).run(cached_config(Container(root), make_index(root)), PIP_CONFIG_FILE=os.devnull)
    assert ended.value() == ["installed", True]
    return root


class TestWheelCache:
    @pytest.mark.parametrize("version", PYTHONS)
    def test_what_was_fetched_once_needs_no_index(self, tmp_path: Path, version: str) -> None:
        python = find_python(version)
        if python is None:
            pytest.skip(f"no Python {version} here")
        container = Container(tmp_path, python)
        index = make_index(tmp_path)
        first = container.run(cached_config(container, index), PIP_CONFIG_FILE=os.devnull)
        assert first.value() == ["installed", True]
        assert "came from the wheel cache" not in first.stdout
        (wheel,) = cached(container)
        assert wheel.name == "tiny_local_package-1.0-py3-none-any.whl"
        assert f"cpython-{version.replace('.', '')}" in wheel.parent.name
        nowhere = (tmp_path / "nowhere").as_uri()
        second = container.run(cached_config(container, nowhere), PIP_CONFIG_FILE=os.devnull)
        assert second.value() == ["installed", True]
        assert "all of it came from the wheel cache gs://bucket/wheels" in second.stdout

    @pytest.mark.parametrize("content", [b"", b"no wheel at all"], ids=["empty", "text"])
    def test_a_damaged_wheel_is_said_and_renewed(
        self, container: Container, filled: Path, content: bytes
    ) -> None:
        shutil.copytree(filled, container.root, dirs_exist_ok=True)
        config = cached_config(container, (container.root / "index").as_uri())
        (wheel,) = cached(container)
        good = wheel.read_bytes()
        wheel.write_bytes(content)
        ended = container.run(config, PIP_CONFIG_FILE=os.devnull)
        assert ended.value() == ["installed", True]
        assert "not all of it came from the wheel cache" in ended.stdout
        assert [path.read_bytes() for path in cached(container)] == [good]

    def test_a_cache_that_cannot_be_filled(self, container: Container) -> None:
        (container.root / "bucket").mkdir()
        (container.root / "bucket" / "wheels").write_text("a file where the folder should be")
        config = cached_config(container, make_index(container.root))
        ended = container.run(config, PIP_CONFIG_FILE=os.devnull)
        assert ended.value() == ["installed", True]
        assert "the wheel cache gs://bucket/wheels could not be filled" in ended.stdout

    def test_tasks_that_fill_it_at_once(self, container: Container) -> None:
        config = cached_config(container, make_index(container.root))
        with ThreadPoolExecutor(4) as pool:
            ends = pool.map(
                lambda number: container.run(
                    config, folder=f"bucket/job/task_{number}", PIP_CONFIG_FILE=os.devnull
                ),
                range(4),
            )
            assert [ended.value() for ended in ends] == [["installed", True]] * 4
        (wheel,) = cached(container)
        assert zipfile.ZipFile(wheel).testzip() is None

    def test_a_package_that_is_nowhere_is_named(self, container: Container) -> None:
        config = cached_config(container, make_index(container.root), packages=["tiny-local-package==9"])
        error = container.run(config, PIP_CONFIG_FILE=os.devnull).error()
        assert "pip could not install ['tiny-local-package==9'] (exit code 1)" in error["message"]

    def test_replicas_that_are_not_the_chief_write_nothing(self, container: Container) -> None:
        config = cached_config(container, make_index(container.root))
        worker = json.dumps({"task": {"type": "workerpool1", "index": 0}})
        ended = container.run(config, PIP_CONFIG_FILE=os.devnull, CLUSTER_SPEC=worker)
        assert ended.code == 0
        assert cached(container) == []


def test_packages_alone_without_what_they_require(container: Container) -> None:
    index = make_index(container.root, requires="no-such-package-anywhere")
    config = config_of(import_installed, packages=["tiny-local-package"], pip_index_urls=[index])
    assert "no-such-package-anywhere" in container.run(config, PIP_CONFIG_FILE=os.devnull).error()["message"]
    alone = {**config, "pip_no_deps": True}
    assert container.run(alone, PIP_CONFIG_FILE=os.devnull).value() == ["installed", True]
    stored = {**alone, "wheel_cache": "gs://bucket/wheels"}
    assert container.run(stored, PIP_CONFIG_FILE=os.devnull).value() == ["installed", True]
    assert container.run(stored, PIP_CONFIG_FILE=os.devnull).value() == ["installed", True]
