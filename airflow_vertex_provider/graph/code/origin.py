"""Whose a module is: its name in, where it comes from out. Nothing is imported or run to tell."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import json
import sys
import sysconfig
import urllib.parse
from enum import StrEnum
from pathlib import Path

#: Folders that installers put packages into, under any name of the environment above them.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
#: What Airflow puts before the name of a DAG file that it reads.
_DAG_FILE = "unusual_prefix_"


class Origin(StrEnum):
    """Where a module comes from."""

    #: Python's own: every container has it.
    STDLIB = "stdlib"
    #: Installed by a package: the image has it or gets it by ``packages``.
    INSTALLED = "installed"
    #: Airflow or a provider of it, this one among them.
    AIRFLOW = "airflow"
    #: The author's own, beside the DAG.
    OWN = "own"
    #: Not to be found here.
    MISSING = "missing"


def origin_of(module: str) -> Origin:
    """Return where the module of that dotted name comes from. Runs at parse."""
    top = module.partition(".")[0]
    if top in ("airflow", "airflow_vertex_provider"):
        return Origin.AIRFLOW
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return Origin.STDLIB
    place = _place(top)
    if place is None:
        return Origin.MISSING
    return (
        Origin.INSTALLED if not place or _is_installed(place) or _is_installed_in_place(place) else Origin.OWN
    )


def is_dag_file(module: str) -> bool:
    """Say whether Airflow read this module as a DAG file, so that nobody can import it by this name."""
    return module.startswith(_DAG_FILE)


def _place(top: str) -> str | None:
    """Return the file or folder of a top-level module, ``""`` for a frozen one, ``None`` for none."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None)
    if module is not None:
        file = getattr(module, "__file__", None)
        if file:
            return str(file)
        folders = list(getattr(module, "__path__", ()))
        return str(folders[0]) if folders else ""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(top, None) if find is not None else None
        if spec is not None:
            return _place_of(spec)
    return None


def _place_of(spec: importlib.machinery.ModuleSpec) -> str:
    if spec.has_location and spec.origin:
        return spec.origin
    folders = list(spec.submodule_search_locations or ())
    return str(folders[0]) if folders else ""


@functools.cache
def _is_installed(place: str) -> bool:
    path = Path(place)
    if _INSTALLED.intersection(path.parts):
        return True
    library = Path(sysconfig.get_paths()["stdlib"])
    return path.is_relative_to(library)


@functools.cache
def _is_installed_in_place(place: str) -> bool:
    """Say whether a module is the top of a project that was installed for development, without a copy."""
    path = Path(place)
    path = path.parent if path.name == "__init__.py" else path
    return any(path.parent in (root, root / "src") for root in _projects())


@functools.cache
def _projects() -> frozenset[Path]:
    """Return the folders of such projects: read once, and only if a module lies elsewhere."""
    roots = set()
    for distribution in importlib.metadata.distributions():
        told = distribution.read_text("direct_url.json")
        data = json.loads(told) if told else {}
        if data.get("dir_info", {}).get("editable"):
            roots.add(Path(urllib.parse.unquote(urllib.parse.urlparse(data["url"]).path)))
    return frozenset(roots)
