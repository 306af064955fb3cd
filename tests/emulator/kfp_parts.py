"""Small kfp components and a compiler: a pipeline function in, its PipelineSpec out.

The components are containers whose commands run as processes of this machine. Annotations are not postponed
in this file: kfp reads them.
"""
# mypy: disable-error-code="untyped-decorator, no-untyped-def, valid-type, type-arg, attr-defined"

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # kfp announces new default images
    from kfp import compiler, dsl

Json = dict[str, Any]

#: Writes the text ``$0`` to the file ``$1``; ``fail`` fails, ``skip`` is for conditions to read.
_SAY = 'test "$0" != fail && printf %s "$0" > "$1"'
#: Writes ``$0`` after waiting for ``$2``/go, having told that it runs.
_BLOCK = 'echo x >> "$2/began"; while [ ! -e "$2/go" ]; do sleep 0.01; done; printf %s "$0" > "$1"'
#: Like the one before, but only for the text ``b``.
_BLOCK_B = f'if [ "$0" = b ]; then {_BLOCK}; else printf %s "$0" > "$1"; fi'
_FLAKY = 'echo x >> "$2/$0"; [ "$(wc -l < "$2/$0")" -ge 3 ] && printf %s "$0" > "$1"'


def _shell(script: str, *args: Any) -> Any:
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", script], args=list(args))


@dsl.container_component
def say(text: str, o: dsl.OutputPath(str)):
    """Write a text; the text ``fail`` fails."""
    return _shell(_SAY, text, o)


@dsl.container_component
def either(o: dsl.OutputPath(str), a: str = "none", b: str = "none"):
    """Write two texts that have defaults, joined."""
    return _shell('printf %s "$0/$1" > "$2"', a, b, o)


@dsl.container_component
def number(value: int, o: dsl.OutputPath(int)):
    """Write a whole number."""
    return _shell(_SAY, value, o)


@dsl.container_component
def fraction(value: float, o: dsl.OutputPath(float)):
    """Write a number."""
    return _shell(_SAY, value, o)


@dsl.container_component
def truth(value: bool, o: dsl.OutputPath(bool)):
    """Write true or false."""
    return _shell(_SAY, value, o)


@dsl.container_component
def make_list(value: list, o: dsl.OutputPath(list)):
    """Write a list."""
    return _shell(_SAY, value, o)


@dsl.container_component
def make_dicts(value: list, o: dsl.OutputPath(list[dict[str, str]])):
    """Write a list of structs."""
    return _shell(_SAY, value, o)


@dsl.container_component
def show(value: dict, o: dsl.OutputPath(str)):
    """Write a struct as text."""
    return _shell(_SAY, value, o)


@dsl.container_component
def gather(o: dsl.OutputPath(str), values: list = []):  # noqa: B006 - the default is kfp's
    """Write a list as text."""
    return _shell(_SAY, values, o)


@dsl.container_component
def fail():
    """Fail."""
    return _shell("exit 3")


@dsl.container_component
def block(text: str, folder: str, o: dsl.OutputPath(str)):
    """Wait for a file, then write a text."""
    return _shell(_BLOCK, text, o, folder)


@dsl.container_component
def block_b(text: str, folder: str, o: dsl.OutputPath(str)):
    """Write a text; for the text ``b``, wait for a file first."""
    return _shell(_BLOCK_B, text, o, folder)


@dsl.container_component
def flaky(text: str, folder: str, o: dsl.OutputPath(str)):
    """Write a text at the third attempt."""
    return _shell(_FLAKY, text, o, folder)


@dsl.container_component
def touch(folder: str, text: str = "exit"):
    """Write a file into a folder: what an exit task does."""
    return _shell('echo x >> "$1/$0"', text, folder)


@dsl.container_component
def write_data(text: str, data: dsl.Output[dsl.Dataset]):
    """Write a text into an artifact."""
    return _shell('printf %s "$0" > "$1"', text, data.path)


@dsl.container_component
def read_data(data: dsl.Input[dsl.Dataset], o: dsl.OutputPath(str)):
    """Read an artifact's text."""
    return _shell('cat "$0" > "$1"', data.path, o)


@dsl.component(base_image="python:3.11")
def report(folder: str, status: dsl.PipelineTaskFinalStatus):
    """Write how a group ended, as an exit task sees it."""
    import json

    with open(f"{folder}/status.json", "w") as file:  # noqa: PTH123 - only kfp's own imports are there
        json.dump(
            {
                "state": status.state,
                "job": status.pipeline_job_resource_name,
                "task": status.pipeline_task_name,
                "code": status.error_code,
                "message": status.error_message,
            },
            file,
        )


@dsl.component(base_image="python:3.11")
def read_list(items: dsl.Input[list[dsl.Dataset]]) -> str:
    """Read the texts of a list of artifacts; kfp gives None for an empty one."""
    return ",".join(open(item.path).read() for item in items or [])  # noqa: PTH123


def everything(folder: str, items: list) -> None:
    """Run a branch in a loop in an exit handler, and collect what comes out."""
    exit_task = report(folder=folder)
    with dsl.ExitHandler(exit_task, name="handler"):
        with dsl.ParallelFor(items, parallelism=2) as item:
            gate = say(text=item.mode).set_display_name("gate")
            with dsl.If(gate.outputs["o"] == "run"):
                ran = block_b(text=item.x, folder=folder)
            with dsl.Else():
                other = say(text="else").set_display_name("other")
            said = say(text=dsl.OneOf(ran.outputs["o"], other.outputs["o"])).set_display_name("said")
        gather(values=dsl.Collected(said.outputs["o"])).set_display_name("all")


#: Items for it: the third and fourth wait for a file.
ITEMS = [{"mode": "run", "x": "a"}, {"mode": "no", "x": "z"}, {"mode": "run", "x": "b"},
         {"mode": "run", "x": "b"}, {"mode": "no", "x": "z"}]  # fmt: skip


def spec(function: Callable[..., Any], name: str = "structured") -> Json:
    """Compile a pipeline function as kfp does."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.json"
        compiler.Compiler().compile(dsl.pipeline(name=name)(function), str(path))
        result: Json = json.loads(path.read_text())
    return result


def uncached(compiled: Json) -> Json:
    """Take the cache away from all tasks of a PipelineSpec."""
    for dag in [compiled["root"], *compiled["components"].values()]:
        for task in dag.get("dag", {}).get("tasks", {}).values():
            task.pop("cachingOptions", None)
    return compiled
