"""Executors: one task of the graph and its settings in, the container the service runs for it out.

What a container is told, it is told as arguments. Linux allows 131072 bytes for one, so this module also
measures what the constant part of a task takes of that, and what is left for the values of its inputs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.bundle import Bundle
from airflow_vertex_provider.compiler import custom_job
from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph import serializers as serialising
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    FromConstant,
    FromItem,
    FromOutput,
    Task,
    TaskKind,
)
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.settings import INSTALLATION_KEYS, PipelineSettings, Resources, TaskSettings

#: Bytes of one argument, its final NUL included (MAX_ARG_STRLEN of Linux on 4 KiB pages).
MAX_ARGUMENT = 131_072
#: Bytes of all arguments and variables together: a quarter of the usual stack of 8 MiB, less 64 KiB that the
#: image and the service may add to the environment.
MAX_COMMAND = 2_097_152 - 65_536
#: Bytes that code, constants, entry point and machine settings of a task may take of one argument; the
#: rest is for the values of its inputs.
MAX_FIXED = 90_000
#: Bytes for what the service adds to the executor input besides names, values and paths.
_SLACK = 512
#: Bytes of an output's path besides the pipeline root: project, job id (L01), task name and number, file.
_PATH = 330
#: Pipeline root assumed where none is known yet.
_ROOT = 200

_PLACEHOLDER_START = "{{$"
#: Arguments that begin like this are kfp's way to write optional and joined arguments.
_STRUCTURE_STARTS = ('{"IfPresent"', '{"Concat"')
_EXECUTOR_INPUT = re.compile(r"\{\{\$(\.json_escape\[1\])?\}\}")
#: How the placeholders of an output's path and of an artifact's address end.
_OUTPUT_FILE = "'].output_file}}"
_URI = "'].uri}}"
_INPUT_VALUE = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\](?:\.json_escape\[1\])?\}\}")


def build_executor(
    task: Task,
    settings: TaskSettings,
    pipeline: PipelineSettings,
    *,
    inline_limit: int,
    bundle: Bundle | None = None,
    serializers: Collection[str] = (),
) -> dict[str, Any]:
    """Return the executor's container of one task, in the form kfp's compiler writes.

    Runs at submit. A plain task's container is the task's own; a custom job's is Google's launcher.

    :param inline_limit: bytes of one value above which the container writes it to a file.
    :param bundle: the modules that the container takes along.
    :param serializers: names of those that any task of the group may write objects with.
    :raises VertexSettingsError: the installed launcher cannot carry a setting.
    """
    nested = settings.custom_job is not None
    if task.kind is TaskKind.CONTAINER:
        own = _author_container(task, settings, nested)
    else:
        config = _config(task, settings, inline_limit, bundle, serializers)
        source = protocol.embedded_source(config)
        own = {
            "image": settings.image,
            "command": ["python3", "-u", "-c", source, protocol.config_text(config)],
            "args": ["{{$.json_escape[1]}}" if nested else "{{$}}"],
            "env": dict(settings.env),
        }
    if settings.custom_job is not None:
        return custom_job.launcher_container(
            own,
            settings.custom_job,
            display_name=task.name,
            project=pipeline.project_id,
            location=pipeline.location,
            timeout=task.timeout,
        )
    resources = plain_resources(settings.resources)
    return {
        "image": own["image"],
        **({"command": own["command"]} if own["command"] else {}),
        **({"args": own["args"]} if own["args"] else {}),
        **(
            {"env": [{"name": name, "value": value} for name, value in sorted(own["env"].items())]}
            if own["env"]
            else {}
        ),
        **({"resources": resources} if resources else {}),
    }


def value_limit(task: Task, container: Mapping[str, Any], pipeline: PipelineSettings) -> int | None:
    """Return how many bytes of ``argument_cost`` each input of ``task`` may have, if all are that large.

    :param container: what :func:`build_executor` returned.
    :returns: ``None`` if the task has no input whose value is still open; negative if even its constants
        do not fit.
    """
    names_and_paths = _SLACK + sum(2 * len(name) + 48 for name in task.inputs)
    names_and_paths += sum(len(name) + 32 + _path_size(pipeline) for name in ("", *task.outputs))
    constants = {
        name: protocol.argument_cost(source.text)
        for name, source in task.inputs.items()
        if isinstance(source, FromConstant)
    }
    limits: list[int] = []
    for text in _arguments(container):
        whole = len(_EXECUTOR_INPUT.findall(text))
        taken = len(text.encode()) + (text.count(_OUTPUT_FILE) + text.count(_URI)) * _path_size(pipeline)
        taken += whole * (names_and_paths + sum(constants.values()))
        open_inputs = whole * (len(task.inputs) - len(constants))
        for name in _INPUT_VALUE.findall(text):
            if name in constants:
                taken += constants[name]
            else:
                open_inputs += 1
        if open_inputs or taken >= MAX_ARGUMENT:
            limits.append((MAX_ARGUMENT - 1 - taken) // max(open_inputs, 1))
    return min(limits, default=None)


def least_value_limit(pipeline: PipelineSettings) -> int:
    """Return the bytes of ``argument_cost`` that a reference to a file takes: no value can have fewer."""
    return protocol.argument_cost("@gs://#sha256=&size=" + "0" * (64 + 12 + _path_size(pipeline)))


def fixed_size(container: Mapping[str, Any]) -> int:
    """Return the bytes of the longest argument of a container before values are put into it."""
    return max((len(text.encode()) for text in _arguments(container)), default=0)


def command_size(container: Mapping[str, Any]) -> int:
    """Return the bytes of all arguments and variables as the kernel counts them, before values are put in."""
    return sum(len(text.encode()) + 9 for text in _arguments(container))


def plain_resources(resources: Resources) -> dict[str, Any]:
    """Return what a plain task asks for as kfp 2.16 writes it: each limit as number and as text (L10)."""
    written: dict[str, Any] = {}
    for name, unit in (("cpu", _cpus), ("memory", _gigabytes)):
        for bound in ("limit", "request"):
            text = getattr(resources, f"{name}_{bound}")
            if text is not None:
                written[f"{name}{bound.capitalize()}"] = unit(text)
                written[f"resource{name.capitalize()}{bound.capitalize()}"] = text
    if resources.accelerator_type is not None:
        count = str(resources.accelerator_count)
        written["accelerator"] = {
            "type": resources.accelerator_type,
            "count": count,
            "resourceType": resources.accelerator_type,
            "resourceCount": count,
        }
    return written


def problems_of(task: Task, settings: TaskSettings) -> Iterator[Problem]:
    """Find what of one task cannot be written into a spec, before anything is built."""
    if task.timeout is not None and settings.custom_job is None:
        yield Problem(
            task.id,
            "execution_timeout",
            f"{task.timeout:g} s on a plain pipeline task",
            "none, or a custom_job, which can be stopped after a time (L15)",
        )
    if task.retry is not None and task.retry.backoff_duration > 3600:
        yield Problem(task.id, "retry_delay", f"{task.retry.backoff_duration:g} s", "at most 3600 s (L16)")
    for key in INSTALLATION_KEYS if task.kind is TaskKind.CONTAINER else ():
        if task.settings.get(key):
            yield Problem(
                task.id, key, repr(task.settings[key]), "none: an image of its own brings its packages"
            )
    yield from serialising.name_problems(task.id, settings.serializers)
    for field, text in _settings_texts(settings):
        if checks.is_template(text):
            yield Problem(task.id, field, repr(text), "a value in which every template has been rendered")
    for field, text in _free_texts(task, settings):
        if _PLACEHOLDER_START in text:
            yield Problem(
                task.id,
                field,
                repr(text if len(text) <= 80 else f"{text[:77]}..."),
                f"text without {_PLACEHOLDER_START!r}, which Vertex AI would replace; pass it as a value",
            )
        if text.startswith(_STRUCTURE_STARTS) and not field.startswith(("env.", "inputs.")):
            yield Problem(
                task.id,
                field,
                repr(text if len(text) <= 80 else f"{text[:77]}..."),
                f"text that does not begin with one of {', '.join(_STRUCTURE_STARTS)}; "
                "a blank in front of the text will do",
            )
    for field, part in _parts(task, settings):
        for name in (
            piece.get("$in", piece.get("$uri"))
            for piece in _pieces(part)
            if isinstance(piece, Mapping) and "$out" not in piece
        ):
            if name not in task.inputs:
                yield Problem(
                    task.id, field, repr(name), "one of the task's inputs: " + ", ".join(task.inputs)
                )
    if len(_environment(task, settings)) > checks.MAX_ENV:
        yield Problem(
            task.id,
            "env",
            f"{len(_environment(task, settings))} variables",
            f"at most {checks.MAX_ENV}, the task's and its settings' together (L14)",
        )


def _config(
    task: Task,
    settings: TaskSettings,
    inline_limit: int,
    bundle: Bundle | None,
    serializers: Collection[str],
) -> dict[str, Any]:
    """Complete the entry point's configuration with what only settings and outputs can tell."""
    if task.kind is TaskKind.GATE:
        return {**task.payload, "inline_limit": inline_limit}
    calls = "function" in task.payload
    return {
        **{key: value for key, value in task.payload.items() if key not in INSTALLATION_KEYS},
        **_installation(task, settings),
        "output": RETURN_OUTPUT in task.outputs,
        "text_output": TEXT_OUTPUT in task.outputs,
        "inline_limit": inline_limit,
        # For the message of a module that is not there.
        **({"image": settings.image} if "module" in task.payload else {}),
        **({"bundle": bundle.to_config()} if bundle else {}),
        **({"value_limit": settings.value_limit} if settings.value_limit is not None else {}),
        **serialising.configuration(
            settings.serializers,
            serializers,
            writes=task.kind is TaskKind.PYTHON
            and bool(task.outputs)
            and not (task.payload.get("silent") or task.payload.get("branch"))
            and serialising.may_return_objects(task.payload.get("source")),
            # What only a run knows is JSON: an object of another group comes as a dict.
            reads=calls and any(isinstance(item, FromOutput | FromItem) for item in task.inputs.values()),
        ),
    }


def _installation(task: Task, settings: TaskSettings) -> dict[str, Any]:
    """Return what is installed before the author's code and how: nothing of pip where nothing is."""
    packages = dict.fromkeys([*task.payload.get("packages", ()), *settings.packages])
    how = {
        "pip_index_urls": list(settings.pip_index_urls) or task.payload.get("pip_index_urls"),
        "pip_no_deps": settings.pip_no_deps,
        "wheel_cache": settings.wheel_cache,
    }
    if not packages:
        return {}
    return {"packages": list(packages), **{key: value for key, value in how.items() if value}}


def _author_container(task: Task, settings: TaskSettings, nested: bool) -> dict[str, Any]:
    return {
        "image": settings.image,
        "command": [_join(part, nested) for part in task.payload.get("command") or ()],
        "args": [_join(part, nested) for part in task.payload.get("arguments") or ()],
        "env": {name: _join(part, nested) for name, part in _environment(task, settings).items()},
    }


def _environment(task: Task, settings: TaskSettings) -> dict[str, Any]:
    """Variables of the container as parts; the operator's own go before those of its settings."""
    own = task.payload.get("env") or {} if task.kind is TaskKind.CONTAINER else {}
    return {**settings.env, **own}


def _join(part: object, nested: bool) -> str:
    """Write one part: strings as they are, inputs and paths of outputs as their placeholders."""
    escape = ".json_escape[1]" if nested else ""

    def text(piece: Any) -> str:
        if isinstance(piece, str):
            return piece
        if "$out" in piece:
            return f"{{{{$.outputs.parameters['{piece['$out']}'].output_file}}}}"
        if "$uri" in piece:
            return f"{{{{$.inputs.artifacts['{piece['$uri']}'].uri}}}}"
        return f"{{{{$.inputs.parameters['{piece['$in']}']{escape}}}}}"

    return "".join(map(text, _pieces(part)))


def _pieces(part: object) -> Sequence[Any]:
    """Return what one part is joined of: strings, references to inputs and to the files of outputs."""
    if isinstance(part, str):
        return [part]
    if not isinstance(part, Sequence):
        raise TypeError(f"not a part of a container's command: {part!r}")
    return part


def _parts(task: Task, settings: TaskSettings) -> Iterator[tuple[str, object]]:
    """Yield field and part of everything the container's author wrote."""
    for name, part in _environment(task, settings).items():
        yield f"env.{name}", part
    if task.kind is TaskKind.CONTAINER:
        for field in ("command", "arguments"):
            for index, part in enumerate(task.payload.get(field) or ()):
                yield f"{field}[{index}]", part


def _free_texts(task: Task, settings: TaskSettings) -> Iterator[tuple[str, str]]:
    """Yield field and text of everything constant that stands in the spec as the author wrote it."""
    for field, part in _parts(task, settings):
        yield from ((field, piece) for piece in _pieces(part) if isinstance(piece, str))
    for name, source in task.inputs.items():
        # The reader lets the service's own values into a component's inputs, and no other placeholder.
        if isinstance(source, FromConstant) and task.kind is not TaskKind.COMPONENT:
            yield f"inputs.{name}", source.text


def _settings_texts(settings: TaskSettings) -> Iterator[tuple[str, object]]:
    """Yield field and value of all settings except variables, whose text is free."""
    for name in ("image", "enable_caching", "value_limit", "pip_no_deps", "wheel_cache"):
        yield name, getattr(settings, name)
    for name in ("packages", "pip_index_urls"):
        yield from ((f"{name}[{index}]", text) for index, text in enumerate(getattr(settings, name)))
    for section in (settings.custom_job, settings.resources):
        if section is None:
            continue
        for name, value in section.to_dict().items():
            if name != "env":
                yield from _texts_in(f"{section.section()}.{name}", value)


def _texts_in(field: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the dotted path and the value of everything in a setting, keys of dicts too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{field}.{key}", key
            yield from _texts_in(f"{field}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts_in(f"{field}[{index}]", item)
    else:
        yield field, value


def _arguments(container: Mapping[str, Any]) -> Iterator[str]:
    yield from container.get("command", ())
    yield from container.get("args", ())
    yield from (f"{item['name']}={item['value']}" for item in container.get("env", ()))


def _path_size(pipeline: PipelineSettings) -> int:
    return _PATH + (len(pipeline.pipeline_root) if pipeline.pipeline_root else _ROOT)


def _cpus(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _gigabytes(text: str) -> float:
    number = text.rstrip("EPTGMKi")
    return float(number) * checks.MEMORY_UNITS[text[len(number) :]] / checks.MEMORY_UNITS["G"]
