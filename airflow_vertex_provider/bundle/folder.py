"""Where a DAG's own modules lie: the DAG's file in, the folder that Airflow parsed it from out.

Airflow puts the root of the DAG bundle on ``sys.path`` before it parses a file, in the DAG processor as on a
worker, and tells the DAG its path below that root only afterwards. ``sys.path`` holds more folders above the
file: the script's, an editable project's, those of pytest and of the file's own code. So while the file is
parsed the root is asked from the ``DagBag`` that parses it; without any, as in ``python dags/etl.py``, it is
the configured DAG folder, or else the nearest folder that imports are looked up in.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

from airflow_vertex_provider.exceptions import VertexSettingsError

#: Modules of the class that parses DAG files, in Airflow 3.1 and later ones.
_DAG_BAGS = ("airflow.dag_processing.dagbag", "airflow.models.dagbag")
#: What a ``DagBag`` without a bundle told, for the tasks of ``dag.test()`` that run after it.
_remembered: dict[Path, Path] = {}


def dag_folder(fileloc: str, relative_fileloc: str | None = None) -> Path:
    """Return the folder that holds a DAG's own modules. Runs at parse and on a worker.

    :param fileloc: ``dag.fileloc``.
    :param relative_fileloc: ``dag.relative_fileloc``, which Airflow sets once the file is parsed.
    :raises VertexSettingsError: the file lies in a zip, or Python code made the DAG without any file.
    """
    file = Path(os.path.abspath(fileloc))  # noqa: PTH100 - resolve() would follow links out of the folder
    if not file.is_file():
        raise VertexSettingsError(
            "code",
            f"a DAG made in {fileloc}",
            'with "bundle": a DAG whose file lies in a folder, not in a zip',
        )
    if relative_fileloc and not Path(relative_fileloc).is_absolute():
        for folder in file.parents:
            if folder / relative_fileloc == file:
                return folder
    told = _parsed_from(file) or _remembered.get(file)
    if told is not None:
        _remembered[file] = told
        return told
    configured = _configured()
    if configured is not None and file.is_relative_to(configured):
        return configured
    return max(_import_roots(file), key=lambda folder: len(folder.parts), default=file.parent)


def import_roots(folder: Path) -> list[str]:
    """Return the folders at and below ``folder`` that imports are looked up in, as on this machine.

    Relative to ``folder`` and in the order of ``sys.path``; ``folder`` itself, ``""``, is always there.
    """
    roots: dict[str, None] = {}
    for entry in _entries():
        if entry.is_relative_to(folder):
            relative = entry.relative_to(folder).as_posix()
            roots["" if relative == "." else relative] = None
    return list(roots) if "" in roots else ["", *roots]


def is_installed(fileloc: str) -> bool:
    """Tell whether a file belongs to an installed package: a factory there made the DAG of another file."""
    return any(Path(fileloc).is_relative_to(folder) for folder in _installed())


def _parsed_from(file: Path) -> Path | None:
    """Return the root of the ``DagBag`` that is parsing a file right now, if one is."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") in _DAG_BAGS and "self" in frame.f_code.co_varnames:
            bag = frame.f_locals.get("self")
            for told in (getattr(bag, "bundle_path", None), getattr(bag, "dag_folder", None)):
                root = Path(os.path.abspath(told)) if told else None  # noqa: PTH100
                if root is not None and root.is_dir() and file.is_relative_to(root):
                    return root
        frame = frame.f_back
    return None


def _configured() -> Path | None:
    from airflow.configuration import conf

    folder = conf.get("core", "dags_folder", fallback=None)
    return Path(os.path.abspath(folder)) if folder else None  # noqa: PTH100


def _import_roots(file: Path) -> Iterator[Path]:
    installed = _installed()
    for entry in _entries():
        if file.is_relative_to(entry) and entry not in installed and entry != Path(entry.anchor):
            yield entry


def _installed() -> set[Path]:
    paths = sysconfig.get_paths()
    return {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _entries() -> Iterator[Path]:
    for text in sys.path:
        entry = Path(os.path.abspath(text))  # noqa: PTH100
        if entry.is_dir():
            yield entry
