"""Where a DAG's own modules lie."""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from airflow_vertex_provider.bundle import dag_folder, is_installed
from airflow_vertex_provider.exceptions import VertexSettingsError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        sys, "path", [entry for entry in sys.path if not tmp_path.is_relative_to(entry or ".")]
    )
    file = tmp_path / "root" / "team" / "dag.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    return file


@pytest.mark.parametrize("relative", ["dag.py", "team/dag.py", "root/team/dag.py"])
def test_told_by_airflow(file: Path, relative: str) -> None:
    assert dag_folder(str(file), relative) / relative == file


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "root/team"),
        (["root"], "root"),
        ([".", "root"], "root"),
        (["root", "."], "root"),  # python dags/etl.py in a project that is installed in place
        (["root/team", "root"], "root/team"),
        (["root", "elsewhere"], "root"),
        (["root", "root/team/dag.py"], "root"),
    ],
)
def test_without_airflow_reading_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, entries: list[str], expected: str
) -> None:
    root = file.parents[2]
    (root / "elsewhere").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, *(str(root / entry) for entry in entries)])
    assert dag_folder(str(file)) == root / expected
    # Airflow writes the whole path where it knows no bundle.
    assert dag_folder(str(file), str(file)) == root / expected


def test_the_configured_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(file.parents[2]), str(file.parent), *sys.path])
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(file.parents[1]))
    assert dag_folder(str(file)) == file.parents[1]


@pytest.mark.parametrize("with_bundle", [True, False])
@pytest.mark.parametrize(
    "entries", [[], ["."], ["root/team", "root", "."], ["root", "root/team"], [".", "root"]]
)
def test_while_airflow_reads_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, entries: list[str], *, with_bundle: bool
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    root = file.parents[2]
    monkeypatch.setattr(sys, "path", [*(str(root / entry) for entry in entries), *sys.path])
    file.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_vertex_provider.bundle import dag_folder\n"
        "with DAG('d', tags=[str(dag_folder(__file__))]) as dag:\n"
        "    pass\n"
    )
    place = file if with_bundle else root / "root"
    bag = DagBag(str(place), bundle_path=root / "root" if with_bundle else None, bundle_name="b")
    assert not bag.import_errors
    dag = bag.dags["d"]
    assert dag.tags == {str(root / "root")}
    # What runs its tasks in this process, dag.test(), finds the same.
    assert dag_folder(dag.fileloc, dag.relative_fileloc) == root / "root"


def test_zip(file: Path) -> None:
    with zipfile.ZipFile(file.with_suffix(".zip"), "w") as archive:
        archive.writestr("dag.py", "")
    with pytest.raises(VertexSettingsError, match=r"dag\.zip.*not in a zip"):
        dag_folder(str(file.with_suffix(".zip") / "dag.py"))


def test_installed() -> None:
    assert is_installed(pytest.__file__)
    assert is_installed(sysconfig.__file__)
    assert not is_installed(__file__)
