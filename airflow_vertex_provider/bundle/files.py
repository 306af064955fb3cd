"""Which files a bundle holds: a DAG folder and the author's paths in, names in the zip and their files out.

Runs on a worker. Nothing is read but the ignore files; what is found wrong is told all at once.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_vertex_provider.bundle.ignoring import NAME as IGNORE_FILE
from airflow_vertex_provider.bundle.ignoring import Ignoring
from airflow_vertex_provider.bundle.withheld import is_no_code, is_secret

_WAY_OUT = f"keep it out by a line in {IGNORE_FILE}"
_PACKAGE = "__init__.py"


@dataclass
class Chosen:
    """The files of one bundle.

    :param files: name in the zip to file. :param sizes: the same names to bytes.
    :param secrets: files left out because their names say that they hold secrets.
    :param problems: field, what was found, what is allowed.
    """

    files: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def choose(folder: Path, paths: Sequence[str]) -> Chosen:
    """Return what a bundle of ``paths`` holds, of the whole ``folder`` if there are none.

    :param folder: the DAG folder, which relative paths begin at.
    :param paths: a folder that is a package goes in as that package, another one as a place that imports are
        looked up in, a file as the module or the data it is; what lies in a package keeps its place there.
    """
    chosen = Chosen()
    if not paths:
        _Walk(chosen, "code", folder).folder(folder, "")
        if not chosen.files and not chosen.problems:
            chosen.problems.append(("code", f"no file that may be packed in {folder}", "at least one"))
    for index, (text, path) in enumerate(zip(paths, located(folder, paths), strict=True)):
        name = f"code_paths[{index}]"
        problems = len(chosen.problems)
        base = folder if path.is_relative_to(folder) else path if path.is_dir() else path.parent
        walk = _Walk(chosen, name, base)
        if not path.exists():
            chosen.problems.append(missing(name, text, path))
        elif path.is_dir():
            walk.folder(path, "".join(f"{part}/" for part in _package(path, folder)))
            walk.packages_above(path, folder)
        else:
            walk.file(path, "".join(f"{part}/" for part in _package(path.parent, folder)))
            walk.packages_above(path, folder)
        if not walk.taken and len(chosen.problems) == problems:
            allowed = f"one that holds a file which no rule and no {IGNORE_FILE} leaves out"
            chosen.problems.append((name, repr(text), allowed))
    return chosen


def located(folder: Path, paths: Sequence[str]) -> list[Path]:
    """Return where the author's paths are on this machine."""
    return [Path(os.path.abspath(folder / path)) for path in paths]  # noqa: PTH100 - keeps links


def missing(name: str, text: str, path: Path) -> tuple[str, str, str]:
    """Return the problem of a path that leads nowhere."""
    return name, repr(text), f"a file or folder that is there, absolute or from the DAG folder: not {path}"


class _Walk:
    """Goes through one of the author's paths and counts what it takes.

    :param base: what links must not lead out of.
    """

    def __init__(self, chosen: Chosen, name: str, base: Path) -> None:
        self._chosen = chosen
        self._name = name
        self._base = base
        self.taken = 0
        self._real_base = Path(os.path.realpath(base))

    def folder(self, path: Path, prefix: str) -> None:
        """Take a folder; its contents are called ``prefix`` and their names in the zip."""
        self._enter(path, prefix, self._ignoring(path), {os.path.realpath(path)})

    def file(self, path: Path, prefix: str) -> None:
        """Take one file."""
        self._take(path, prefix + path.name, self._ignoring(path.parent))

    def packages_above(self, path: Path, folder: Path) -> None:
        """Take what makes packages of the folders above ``path``, so that it can be imported from there."""
        parts = _package(path.parent, folder)
        for depth in range(len(parts), 0, -1):
            path = path.parent
            self._take(path / _PACKAGE, "/".join([*parts[:depth], _PACKAGE]), Ignoring())

    def _ignoring(self, path: Path) -> Ignoring:
        """Return what the ignore files from the base down to ``path``, its own included, say."""
        ignoring = Ignoring()
        above = [folder for folder in (path, *path.parents) if folder.is_relative_to(self._base)]
        for folder in reversed(above):
            ignoring = self._entered(ignoring, folder)
        return ignoring

    def _entered(self, ignoring: Ignoring, folder: Path) -> Ignoring:
        try:
            return ignoring.entering(folder)
        except ValueError as error:
            self._refuse(str(error), "lines in the syntax of .gitignore, in UTF-8")
            return ignoring

    def _enter(self, path: Path, prefix: str, ignoring: Ignoring, above: set[str]) -> None:
        for name in sorted(_names(path)):
            item = path / name
            is_folder = item.is_dir()
            if is_no_code(name) or ignoring.leaves_out(item, is_folder=is_folder):
                continue
            if not is_folder:
                self._take(item, prefix + name, Ignoring())
            elif self._may_follow(item):
                real = os.path.realpath(item)
                if real in above:
                    self._refuse(f"{item}, a link to a folder it lies in", f"no such link; {_WAY_OUT}")
                else:
                    self._enter(item, f"{prefix}{name}/", self._entered(ignoring, item), above | {real})

    def _take(self, path: Path, name: str, ignoring: Ignoring) -> None:
        if ignoring.leaves_out(path, is_folder=False) or not self._may_follow(path):
            return
        if is_secret(path.name):
            self._chosen.secrets.append(str(path))
            return
        try:
            name.encode()
            seen = path.stat()
        except (OSError, ValueError) as error:
            self._refuse(
                f"{str(path)!r} ({error})", f"a file that can be read, its name in UTF-8; {_WAY_OUT}"
            )
            return
        if not stat.S_ISREG(seen.st_mode):
            self._refuse(f"{path}, which is no regular file", f"files and folders; {_WAY_OUT}")
            return
        other = self._chosen.files.get(name)
        if other is not None and os.path.realpath(other) != os.path.realpath(path):
            self._refuse(f"two files that would both be {name}: {other} and {path}", "one file of a name")
            return
        self.taken += 1
        self._chosen.files[name] = path
        self._chosen.sizes[name] = seen.st_size

    def _may_follow(self, path: Path) -> bool:
        """Tell whether ``path`` is taken as far as links go; one that leads out is refused."""
        if not path.is_symlink():
            return True
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._real_base):
            self._refuse(f"{path}, a link to {real}", f"links that stay below {self._base}; {_WAY_OUT}")
            return False
        if is_secret(real.name):
            self._chosen.secrets.append(str(path))
            return False
        return not is_no_code(real.name) and ".git" not in real.relative_to(self._real_base).parts

    def _refuse(self, found: str, allowed: str) -> None:
        self._chosen.problems.append((self._name, found, allowed))


def _names(path: Path) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            yield entry.name


def _package(path: Path, folder: Path) -> list[str]:
    """Return the dotted name of the package that the folder ``path`` is, in parts; nothing if it is none.

    Where imports are looked up no package goes on, though many a DAG folder holds an ``__init__.py``.
    """
    tops = {folder, *map(Path, sys.path)}
    parts: list[str] = []
    while path not in tops and (path / _PACKAGE).is_file():
        parts.insert(0, path.name)
        path = path.parent
    return parts
