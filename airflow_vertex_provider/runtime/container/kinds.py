"""The kinds of tasks: a configuration in, the outputs out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import os
import sys

from airflow_vertex_provider.runtime.container.base import NOT_RUN, ProtocolError, VertexRuntimeError, part
from airflow_vertex_provider.runtime.container.errors import is_named
from airflow_vertex_provider.runtime.container.nodes import present, resolve
from airflow_vertex_provider.runtime.container.offers import (
    AirflowException,
    AirflowShim,
    AirflowSkipException,
    LoggingHook,
    show_info,
)
from airflow_vertex_provider.runtime.container.outputs import outputs
from airflow_vertex_provider.runtime.container.processes import stream
from airflow_vertex_provider.runtime.container.values import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run_gate(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Return the outputs of a task that only decides whether another one runs."""
    print("airflow-vertex: decides about task %s: %s" % (config["task"], verdict), flush=True)
    values = {"Decision": verdict}
    values.update((name, inputs[source]) for name, source in config.get("relay", {}).items())
    if config.get("expand"):
        values.update(part("use_expand")(config, inputs, None if verdict == "run" else NOT_RUN, folder))
    return values


def run_mark(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Return the outputs of a task that stands for one that was not run."""
    return dict(config["outputs"])


def run_python(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Call the author's function and return the outputs."""
    return author(config, inputs, verdict, folder, part("use_function"))


def run_bash(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Run the author's command and return the outputs."""
    return author(config, inputs, verdict, folder, bash)


def author(
    config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str, run: Any
) -> dict[str, Any]:
    """Run the author's code, or not, and return the outputs."""
    value = NOT_RUN
    if verdict == "run":
        prepare(config)
        find = part("use_readers")(config) if config.get("readers") else outside
        try:
            value = run(config, dict(inputs, **{"$find": find}))
        except Exception as error:
            if not (config.get("skips") and is_named(error, "AirflowSkipException")):
                raise
            print("airflow-vertex: skipped: the task asked for it: %s" % error, flush=True)
    if not config["chief"]:
        return {}
    try:
        return outputs(config, inputs, value, folder)
    except ProtocolError as error:
        raise ProtocolError("the value returned by the task cannot be carried: %s" % error) from None


def prepare(config: dict[str, Any]) -> None:
    """Make the process ready for the author's code."""
    print(
        "airflow-vertex: task %s runs %s on Python %s"
        % (config["task"], config.get("function", "a bash command"), sys.version.split()[0]),
        flush=True,
    )
    import faulthandler

    faulthandler.enable()  # a crash of native code says where it happened
    sys.meta_path.append(AirflowShim())
    if config.get("artifact_types"):
        part("use_artifact_types")()
    if config.get("packages"):
        part("use_packages")(config)
    if config.get("bundle"):
        part("use_bundle")(config)
    if "logging" in sys.modules:
        show_info(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, LoggingHook())


def use_function(config: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """Call the author's function as Airflow's ``@task`` would and return its value."""
    # Before the arguments: artifacts are kfp's own objects if the author's code has loaded it.
    function = part("use_module" if config.get("module") else "use_source")(config)
    args = resolve(config["args"], inputs)
    kwargs = present(config["kwargs"], inputs)
    for key in ("spread", "context"):
        if config.get(key):
            part("use_" + key)(config, inputs, kwargs)
    # What a decorator made of the function may be no function itself.
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & 0x280:  # a coroutine, or an asynchronous generator: Airflow takes the list of its items
        import asyncio

        async def collect() -> Any:
            if flags & 0x80:
                return await function(*args, **kwargs)
            return [item async for item in function(*args, **kwargs)]

        return asyncio.run(collect())
    result = function(*args, **kwargs)
    if flags & 0x20:  # a generator: Airflow runs it to its end and takes what it returns
        while True:
            try:
                item = next(result)
            except StopIteration as stop:
                return stop.value
            print("airflow-vertex: ignoring a yielded %s" % type(item).__name__, flush=True)
    return result


def use_spread(config: dict[str, Any], inputs: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Add the arguments of a dict, one item of expand_kwargs or an output, to the others."""
    more = resolve(config["spread"], inputs)
    if "takes" in config:
        more = {name: more[name] for name in config["takes"] if name in more}
    for name in more:
        if name in kwargs:
            raise TypeError("%s() got argument %r twice" % (config["function"], name))
    kwargs.update(more)


def use_context(config: dict[str, Any], inputs: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Add what is known of Airflow's context, for a function with ``**context``."""
    kwargs.update(dict(present(config["context"], inputs), **kwargs))


def bash(config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Run a shell command as Airflow's BashOperator does and return the last line it printed."""
    command = (
        resolve(config["command"], inputs) if "command" in config else part("use_function")(config, inputs)
    )
    if not isinstance(command, str) or not command.strip():
        raise TypeError("the bash command must be a non-empty str, found %.60r" % (command,))
    if "function" in config and (
        any("{" + mark in command for mark in "{%#") or command.endswith((".sh", ".bash"))
    ):
        # Airflow renders what the function returned, with a context and files that are not here.
        raise VertexRuntimeError(
            "the command that %s returned would be rendered by Airflow: it holds Jinja's marks, or ends like "
            "the name of a template file; allowed: neither (a blank behind a file's name will do), values as "
            "arguments of the function" % config["function"]
        )
    env = resolve(config.get("env"), inputs)
    for name, value in (env or {}).items():
        if not isinstance(value, str):
            raise TypeError("env[%r] must be a str, found %s" % (name, type(value).__name__))
    if env is not None and config.get("append_env"):
        env = dict(os.environ, **env)
    folder = resolve(config.get("cwd"), inputs)
    if folder is not None and not os.path.isdir(folder):
        raise AirflowException("cwd is no directory in this image: %s" % folder)
    found = [path + "/bash" for path in os.get_exec_path() if os.access(path + "/bash", os.X_OK)]
    if not found:
        raise VertexRuntimeError("the image has no bash on its PATH")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="airflow-vertex-") as scratch:
        code, last = stream([found[0], "-c", command], env, folder or scratch)
    if code in config.get("skip_exit_codes", [99]):
        raise AirflowSkipException("the bash command ended with exit code %d" % code)
    if code:
        raise AirflowException(
            "the bash command failed with exit code %d%s" % (code, ": " + last if last else "")
        )
    return last
