"""Run parameters of a job: rendered Airflow values in, what travels out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.graph.component_values import read_native
from airflow_vertex_provider.graph.model import Encoding, FromParameter, Parameter, Task, TaskKind
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.settings import PipelineSettings


def write_parameter(
    parameter: Parameter,
    value: Any,
    limit: int,
    pipeline: PipelineSettings,
    hook: VertexPipelineHook,
    *,
    value_limit: int | None = None,
) -> Any:
    """Return a run parameter as the job takes it; a value too large for an argument goes into a file first.

    Linux takes at most 128 KiB in one argument, and a value stands in one several times over
    (docs/adr/0002). So a larger one is written under the pipeline root, named by its content, once.

    :param limit: bytes of ``argument_cost`` that the text may have; :param value_limit: characters that the
        group allows, if it says so. What a container takes as text is no file, however long it is.
    :return: text; for the items of a loop a list of dicts of texts, for a component's input its own type.
    :raises VertexValueError: the value cannot be carried.
    """

    def keep(text: str, hint: str) -> str:
        if protocol.argument_cost(text) <= limit and (value_limit is None or len(text) <= value_limit):
            return text
        data = text.encode("ascii")
        uri = f"{str(pipeline.pipeline_root).rstrip('/')}/values/{hashlib.sha256(data).hexdigest()}.json"
        hook.write_gcs(uri, data)
        return str(protocol.Reference.to(uri, text))

    try:
        if parameter.encoding is Encoding.ITEMS:
            return _items(value, keep)
        if parameter.encoding is Encoding.NATIVE:
            return read_native(parameter.type, value)
        value = _plain(value)
        text = protocol.encode(value)
    except VertexValueError as error:
        raise VertexValueError(f"Run parameter {parameter.name!r}: {error}") from error
    if parameter.encoding is Encoding.TEXT:
        text = value if isinstance(value, str) else text
        _check_text(parameter.name, text)
        if protocol.argument_cost(text) > limit:
            raise VertexValueError(
                f"Run parameter {parameter.name!r}: found text of {len(text)} characters; "
                "allowed in a container's argument: what fits into one, pass a file instead"
            )
        return text
    return keep(text, parameter.name)


def _plain(value: Any) -> Any:
    """Return what a mapped task returned as a list: Airflow fetches its items one by one."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | list | tuple):
        return list(value)
    return value


def _items(value: Mapping[str, Any], keep: Callable[[str, str], str]) -> list[dict[str, str]]:
    """Return the items of a loop from what :meth:`graph.mapping.ItemsReader.at_submit` described.

    :param value: ``spec``, and ``inputs``: what in it was to be rendered.
    """
    inputs = {name: _plain(item) for name, item in value["inputs"].items()}
    return protocol.spec_items(value["spec"], inputs, keep)


def _check_text(name: str, text: str) -> None:
    """Refuse text that no argument of a container can be."""
    found = ""
    if "{{$" in text:
        found = "'{{$', which Vertex AI would replace"
    elif "\0" in text:
        found = "a NUL character, which ends an argument"
    elif any("\ud800" <= character <= "\udfff" for character in text):
        found = "half of a surrogate pair, which UTF-8 cannot write"
    if found:
        raise VertexValueError(
            f"Run parameter {name!r}: found {found}; allowed in a container's argument: text without it"
        )


def check_environment(task: Task, values: Mapping[str, Any]) -> None:
    """Refuse a container's environment variable that turned out empty, which the service refuses (L14).

    :param values: run parameter name to its text.
    :raises VertexValueError: there is one.
    """
    if task.kind is not TaskKind.CONTAINER:
        return
    for name, part in task.payload.get("env", {}).items():
        pieces = [part] if isinstance(part, str) else part
        # An address and the path of an output are never empty.
        names = [piece.get("$in") for piece in pieces if not isinstance(piece, str)]
        sources = [task.inputs[name] if name else None for name in names]
        open_ended = any(not isinstance(source, FromParameter) for source in sources)
        texts = [values[source.parameter] for source in sources if isinstance(source, FromParameter)]
        if (
            not open_ended
            and not any(texts)
            and not any(isinstance(piece, str) and piece for piece in pieces)
        ):
            raise VertexValueError(
                f"{task.id}: env.{name}: found an empty value in this run; allowed: text (L14)"
            )
