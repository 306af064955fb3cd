"""The author's own modules for a container: a DAG folder and paths in, a zip named by its content out.

Submit makes the zip on a worker and puts it under the pipeline root once; the container reads it through the
mounted folder. Parsing a DAG reads no file of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_vertex_provider.bundle.archive import digest, zipped
from airflow_vertex_provider.bundle.files import choose, located, missing
from airflow_vertex_provider.bundle.folder import dag_folder, import_roots, is_installed
from airflow_vertex_provider.bundle.ignoring import NAME as IGNORE_FILE
from airflow_vertex_provider.bundle.withheld import SECRET_NAMES, holds_private_key
from airflow_vertex_provider.exceptions import VertexConfigurationError

__all__ = [
    "IGNORE_FILE",
    "LIMIT",
    "SECRET_NAMES",
    "Bundle",
    "BundleError",
    "Packed",
    "dag_folder",
    "is_installed",
    "missing_paths",
    "pack",
]

#: Bytes that the files of one bundle may have together.
LIMIT = 32 << 20
_LEFT_OUT = f"keep it out by a line in {IGNORE_FILE}"
#: Largest files that are named when there is too much.
_NAMED = 5


class BundleError(VertexConfigurationError):
    """A bundle cannot be made.

    :param problems: field, what was found, what is allowed; at least one.
    """

    def __init__(self, problems: Sequence[tuple[str, str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: found {found}; allowed: {ok}" for name, found, ok in problems))

    def __reduce__(self) -> tuple[type[BundleError], tuple[tuple[tuple[str, str, str], ...]]]:
        """Rebuild from the argument; Exception's own way would pass the message alone."""
        return type(self), (self.problems,)


@dataclass(frozen=True)
class Bundle:
    """Where a container finds a bundle, and how it knows it.

    :param uri: ``gs://`` address of the zip. :param sha256: its digest in hexadecimal.
    :param size: its bytes.
    :param roots: folders in it that imports are looked up in, in that order; ``""`` is the zip itself.
    """

    uri: str
    sha256: str
    size: int
    roots: tuple[str, ...] = ("",)

    def to_config(self) -> dict[str, Any]:
        """Return what stands in a container's configuration."""
        return {"uri": self.uri, "sha256": self.sha256, "size": self.size, "roots": list(self.roots)}


@dataclass(frozen=True)
class Packed:
    """A bundle that was made.

    :param data: the zip. :param sha256: its digest in hexadecimal.
    :param roots: see :class:`Bundle`.
    :param names: the files in it. :param secrets: files left out, as their names say that they hold secrets.
    """

    data: bytes
    sha256: str
    roots: tuple[str, ...]
    names: tuple[str, ...]
    secrets: tuple[str, ...] = ()

    def holds(self, module: str) -> bool:
        """Tell whether the module of that dotted name can be imported from the bundle."""
        path = module.replace(".", "/")
        ends = (f"{path}.py", f"{path}/__init__.py")
        return any(f"{root}/{end}".lstrip("/") in self.names for root in self.roots for end in ends)

    def under(self, pipeline_root: str) -> Bundle:
        """Return the bundle as it lies under the job's ``gs://`` folder, named by its content."""
        uri = f"{pipeline_root.rstrip('/')}/code/{self.sha256}.zip"
        return Bundle(uri, self.sha256, len(self.data), self.roots)


def pack(folder: Path, paths: Sequence[str] = ()) -> Packed:
    """Pack the modules of ``folder``, or ``paths``. Runs on a worker; reads every file that goes in.

    :param folder: the DAG folder, see :func:`dag_folder`.
    :param paths: absolute, or from ``folder``; see :func:`~airflow_vertex_provider.bundle.files.choose`.
    :raises BundleError: a path is missing, a link leads out, a file holds a private key, or all is too much.
    """
    chosen = choose(folder, paths)
    problems = chosen.problems
    field = "code_paths" if paths else "code"
    if sum(chosen.sizes.values()) > LIMIT:
        raise BundleError([*problems, _too_much(field, chosen.sizes)])
    contents: dict[str, bytes] = {}
    for name, path in chosen.files.items():
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            problems.append((field, f"{path} ({error.strerror})", f"a file that can be read; {_LEFT_OUT}"))
            continue
        if holds_private_key(contents[name]):
            problems.append((field, f"a private key in {path}", f"code and data without one; {_LEFT_OUT}"))
    if problems:
        raise BundleError(problems)
    data = zipped(contents)
    roots = [""] if paths else [root for root in import_roots(folder) if not root or _holds(contents, root)]
    return Packed(data, digest(data), tuple(roots), tuple(sorted(contents)), tuple(chosen.secrets))


def missing_paths(folder: Path, paths: Sequence[str]) -> list[tuple[str, str, str]]:
    """Find the paths that lead nowhere: field, what was found, what is allowed. Runs at parse."""
    return [
        missing(f"code_paths[{index}]", text, path)
        for index, (text, path) in enumerate(zip(paths, located(folder, paths), strict=True))
        if not path.exists()
    ]


def _too_much(field: str, sizes: dict[str, int]) -> tuple[str, str, str]:
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_NAMED]
    listed = ", ".join(f"{name} ({_size(sizes[name])})" for name in largest)
    found = f"{_size(sum(sizes.values()))} in {len(sizes)} files, the largest: {listed}"
    way_out = f"name what is needed in code_paths, or keep the rest out by lines in {IGNORE_FILE}"
    return field, found, f"at most {_size(LIMIT)}; {way_out}"


def _holds(contents: dict[str, bytes], root: str) -> bool:
    return any(name.startswith(f"{root}/") for name in contents)


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count} bytes"
