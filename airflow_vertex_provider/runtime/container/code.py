"""The author's code: text, a module's name or a bundle in, a function to call out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import os
import sys

from airflow_vertex_provider.runtime.container.base import VertexRuntimeError
from airflow_vertex_provider.runtime.container.files import checked, read_gcs
from airflow_vertex_provider.runtime.container.nodes import present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def use_bundle(config: dict[str, Any]) -> None:
    """Unpack the author's modules and let imports find them before all but the standard library's."""
    import atexit
    import io
    import shutil
    import tempfile
    import zipfile

    bundle = config["bundle"]
    uri = bundle["uri"]
    data = checked(uri, read_gcs(uri, "the DAG's code was put"), bundle["size"], bundle["sha256"])
    folder = bundle["folder"] = os.path.realpath(tempfile.mkdtemp(prefix="airflow-vertex-"))
    owner = os.getpid()

    def clean() -> None:
        if os.getpid() == owner:  # a forked child may end before the task does
            shutil.rmtree(folder, True)

    atexit.register(clean)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name[:1] == "/" or ".." in name.split("/"):
                raise VertexRuntimeError("%s: %r would leave the folder it is unpacked to" % (uri, name))
        archive.extractall(folder)
    print("airflow-vertex: code from %s" % uri, flush=True)
    roots = [os.path.join(folder, root).rstrip("/") for root in bundle["roots"]]
    # A DAG file may be called like one of Python's modules, and Airflow looks into the DAG folder last.
    lib = os.path.dirname(os.__file__)
    first = [path for path in sys.path if path.startswith(lib) and "-packages" not in path]
    sys.path[:] = first + roots + [path for path in sys.path if path not in first]
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, rest] if rest else roots)


def compiled(source: str, file: str, line: int, postponed: bool) -> Any:
    """Compile a statement of the author's file as if it stood at ``line`` of ``file``.

    The parse side compiles with this function too, to see which names the code would look up.
    """
    import __future__

    # A nested function keeps its indentation, since moving it would change multi-line strings.
    indented = source[:1].isspace()
    text = "\n" * (line - 2) + "if 1:\n" + source if indented else "\n" * (line - 1) + source
    flags = __future__.annotations.compiler_flag
    try:
        if postponed:
            return compile(text, file, "exec", flags, True)
        tree: Any = compile(text, file, "exec", 0x400, True)  # 0x400: give the syntax tree
        for item in tree.body:
            bare(item)
        return compile(tree, file, "exec", 0, True)
    except SyntaxError as error:
        error.msg = "%s (read by Python %s)" % (error.msg, sys.version.split()[0])
        raise


def bare(item: Any) -> None:
    """Drop annotations that nobody reads: of variables, and of functions without decorators.

    Their names may not exist in the image. A decorator may read them, and so may what makes a class.
    """
    if hasattr(item, "simple"):  # an annotated variable
        item.annotation = compile("0", "", "eval", 0x400).body  # type: ignore[attr-defined]
    elif hasattr(item, "decorator_list"):
        spec = getattr(item, "args", None)
        if spec and not item.decorator_list:
            item.returns = None
            for argument in spec.posonlyargs + spec.args + spec.kwonlyargs + [spec.vararg, spec.kwarg]:
                if argument:
                    argument.annotation = None
    else:
        for name in ("body", "orelse", "handlers", "finalbody"):
            for inner in getattr(item, name, ()):
                bare(inner)


def use_source(config: dict[str, Any]) -> Any:
    """Return the author's function, made of its text and of what it reaches in its file."""
    import linecache

    source, file, line = config["source"], config["file"], config["line"]
    # The author's code is the main module: pickling by value (cloudpickle) and forked workers expect it.
    main = type(sys)("__main__")
    sys.modules["__main__"] = main
    if config.get("package"):
        main.__package__ = config["package"]
    vars(main).update(present(config.get("closure") or {}, {}))
    # All lines are there before the first one runs: an error in any of them shows them.
    lines: list[str] = []
    pieces = [*(config.get("reached") or ()), (line, source)]
    for first, text in pieces:
        shown = [row + "\n" for row in text.split("\n")]
        lines += ["\n"] * (first - 1 + len(shown) - len(lines))
        lines[first - 1 : first - 1 + len(shown)] = shown
    linecache.cache[file] = (len(source), None, lines, file)
    for first, text in pieces:
        exec(compiled(text, file, first, config.get("postponed", True)), main.__dict__)
    return getattr(main, config["function"])


def use_module(config: dict[str, Any]) -> Any:
    """Return the author's function from a module that is there, in the image or in the bundle."""
    name, image = config["module"], config.get("image")
    place = "the bundle" if config.get("bundle") else "the image %s" % image if image else "the image"
    try:
        __import__(name)
        found: Any = sys.modules[name]
    except BaseException as error:
        # Tracebacks begin at the first line that is not ours, nor Python's own import.
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename[:1] == "<":
            trace = trace.tb_next
        config["file"] = trace and trace.tb_frame.f_code.co_filename
        missing = str(getattr(error, "name", None))
        if not isinstance(error, ModuleNotFoundError) or (name + ".").find(missing + ".") != 0:
            raise
        raise VertexRuntimeError(
            "%s has no module %r (%s); put it there and on Python's path, or use code='inline'"
            % (place, name, error)
        ) from None
    config["file"] = getattr(found, "__file__", None)
    for step in config["function"].split("."):
        if not hasattr(found, step):
            raise VertexRuntimeError(
                "module %r of %s (%s) has no %s; it is another version than the one Airflow has"
                % (name, place, config["file"], config["function"])
            )
        found = getattr(found, step)
    # Airflow's decorator, where there is Airflow, leaves an object around the function.
    while type(found).__module__[:8] == "airflow." and hasattr(found, "function"):
        found = found.function
    return found
