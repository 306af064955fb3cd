"""Packages: requirements in, an installed folder on Python's path out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import os
import sys

from airflow_vertex_provider.runtime.container.base import VertexRuntimeError, part
from airflow_vertex_provider.runtime.container.files import gcs_root
from airflow_vertex_provider.runtime.container.processes import stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def use_packages(config: dict[str, Any]) -> None:
    """Install packages into a folder of their own that goes before all others."""
    import tempfile

    packages, target = config["packages"], tempfile.mkdtemp(prefix="airflow-vertex-")
    print("airflow-vertex: installing %s" % ", ".join(packages), flush=True)
    if not (config.get("wheel_cache") and part("use_wheel_cache")(config, target)):
        code, last = pip(config, packages, "install", "--target", target, *indexes(config))
        if code:
            raise VertexRuntimeError("pip could not install %s (exit code %d): %s" % (packages, code, last))
    sys.path.insert(0, target)
    for name, path in (("PYTHONPATH", target), ("PATH", os.path.join(target, "bin"))):
        rest = os.environ.get(name)
        os.environ[name] = path + os.pathsep + rest if rest else path


def pip(config: dict[str, Any], items: list[str], verb: str, *options: str) -> tuple[int, str]:
    """Run pip on requirements or files; return its exit code and the last line it printed."""
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check"]
    command += [*options, *(["--no-deps"] if config.get("pip_no_deps") else [])]
    return stream([*command, "--", *items], None, None)


def indexes(config: dict[str, Any]) -> list[str]:
    """Return pip's options for the indexes to ask."""
    found: list[str] = []
    for url in config.get("pip_index_urls") or ():
        found += ["--extra-index-url" if found else "--index-url", url]
    return found


def use_wheel_cache(config: dict[str, Any], target: str) -> bool:
    """Install from a folder of wheels, and put there what it lacked; ``False`` if that did not succeed.

    Whatever is wrong with the folder is said and costs time; it never decides whether a task can run.
    """
    import sysconfig
    import tempfile

    uri = config["wheel_cache"].rstrip("/")
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        libc = ""  # another C library than GNU's
    # A wheel that was built here fits images with the same Python, machine and C library alone.
    parts = (sys.implementation.cache_tag, sysconfig.get_platform(), libc.replace(" ", "-"))
    folder = "%s%s/%s" % (gcs_root(), uri[4:], "-".join(filter(None, parts)))
    packages, links = config["packages"], ["--find-links", folder]
    found = os.path.isdir(folder)
    if found:
        code, last = pip(config, packages, "install", "--target", target, "--no-index", *links)
        if not code:
            print("airflow-vertex: all of it came from the wheel cache %s" % uri, flush=True)
            return True
        print("airflow-vertex: not all of it came from the wheel cache %s: %s" % (uri, last), flush=True)
    wheels = tempfile.mkdtemp(prefix="airflow-vertex-")
    for more in (links, []) if found else ([],):
        code, last = pip(config, packages, "wheel", "--wheel-dir", wheels, *more, *indexes(config))
        if not code:
            break
    files = [] if code else sorted(os.listdir(wheels))
    paths = [os.path.join(wheels, name) for name in files]
    if not paths or pip(config, paths, "install", "--target", target, "--no-index", "--no-deps")[0]:
        return False
    if config["chief"]:
        try:
            fill(folder, paths, not more)
        except OSError as error:
            print("airflow-vertex: the wheel cache %s could not be filled: %s" % (uri, error), flush=True)
    return True


def fill(folder: str, paths: list[str], renew: bool) -> None:
    """Copy files into a folder that others read and fill: each appears there whole, or not at all."""
    import shutil
    import tempfile

    os.makedirs(folder, exist_ok=True)
    for path in paths:
        place = os.path.join(folder, os.path.basename(path))
        if renew or not os.path.exists(place) or os.path.getsize(place) != os.path.getsize(path):
            handle, scratch = tempfile.mkstemp(".part", dir=folder)
            os.close(handle)
            try:
                shutil.copyfile(path, scratch)
                os.replace(scratch, place)
            except OSError:
                os.remove(scratch)
                raise
