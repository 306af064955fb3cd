"""Where a DAG's own modules lie: the DAG's file in, the folder that Airflow parsed it from out.

Airflow puts the root of the DAG bundle on ``sys.path`` before it parses a file, in the DAG processor as on a
worker, and tells the DAG its path below that root only afterwards. So while the file is parsed the root is
the last entry of ``sys.path`` above it: what is there because of Python's start or of the file's own code
stands further ahead.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from airflow_vertex_provider.exceptions import VertexSettingsError


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
    found = list(_import_roots(file))
    return found[-1] if found else file.parent


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
