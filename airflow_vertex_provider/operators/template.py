"""Compiled pipelines from where they are kept: a path, an address or a spec in, the PipelineSpec out.

What is read is data and stays data: it is never rendered as a template of Airflow, and YAML is read by a
loader that makes plain values only. KFP's second document, the settings for other platforms, is left out:
each platform reads its own, and Vertex AI has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.hooks.templates import ADDRESS_FORM, MAX_BYTES, RegistryAddress

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

SUFFIXES = (".json", ".yaml", ".yml")
ALLOWED = (
    f"the path or gs:// address of a compiled pipeline ({', '.join(SUFFIXES)}), {ADDRESS_FORM}, or a "
    "PipelineSpec as a dict"
)
#: Values in a spec; YAML's anchors let a small file stand for a huge one.
MAX_VALUES = 1_000_000
#: Levels of a spec; the API's own messages are read no deeper.
MAX_DEPTH = 90


@dataclass(frozen=True)
class Template:
    """A compiled pipeline.

    :param spec: the PipelineSpec, of its own: nobody else holds a part of it.
    :param source: where it comes from, for messages.
    :param uri: its address in Artifact Registry with the digest, if it comes from there.
    :param values: run parameter name to the value that an older compiler put beside the spec.
    :param root: the pipeline root that the template names itself, if it does.
    :param left_out: platforms that the template has settings for, and Vertex AI has no place for.
    """

    spec: dict[str, Any]
    source: str
    uri: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    root: str | None = None
    left_out: tuple[str, ...] = ()


def check_template(template: object) -> None:
    """Refuse what can be no template, whatever it holds. Runs at parse, and for rendered texts at submit.

    :raises VertexSettingsError: it is another kind of thing, or an address of another form.
    """
    if isinstance(template, Mapping) or checks.is_template(template):
        return
    if not isinstance(template, str) or not template.strip():
        raise VertexSettingsError("template", template, ALLOWED)
    if template.startswith("https://"):
        RegistryAddress.parse(template)
        return
    scheme, separator, rest = template.partition("://")
    if (separator and (scheme != "gs" or "/" not in rest.strip("/"))) or not template.endswith(SUFFIXES):
        raise VertexSettingsError("template", template, ALLOWED)


def load_template(template: object, hook: VertexPipelineHook, folder: Path) -> Template:
    """Read a template from where it is kept. Runs on a worker.

    :param template: rendered.
    :param hook: reads what lies in Google Cloud, as the connection's identity.
    :param folder: what a relative path starts at.
    :raises VertexSettingsError: it is not there on disk, or is no compiled pipeline.
    :raises VertexApiError: it cannot be read from Google Cloud.
    """
    check_template(template)
    if isinstance(template, Mapping):
        return template_of([dict(template)], "the given spec")
    address = str(template)
    uri: str | None = None
    if address.startswith("gs://"):
        data, source = hook.read_gcs(address, most=MAX_BYTES), address
    elif address.startswith("https://"):
        data, found = hook.read_template(RegistryAddress.parse(address))
        uri = source = str(found)
    else:
        path = folder / Path(address).expanduser()
        data, source = _file(path), str(path)
    if len(data) > MAX_BYTES:
        raise VertexSettingsError("template", source, f"a file of at most {MAX_BYTES} bytes")
    return template_of(_documents(data, source), source, uri)


def template_of(documents: list[Any], source: str, uri: str | None = None) -> Template:
    """Tell a compiled pipeline from what else a file may hold.

    :param documents: the file's documents: the PipelineSpec, or a PipelineJob around it as KFP 1.8 wrote it;
        and the settings for other platforms, if any.
    :raises VertexSettingsError: they are no compiled pipeline.
    """
    first = _copy(documents[0], source) if documents else None
    if not isinstance(first, dict):
        raise _not_compiled(source, f"{type(first).__name__} at its top")
    left_out: list[str] = []
    for document in documents[1:]:
        if document is None:
            continue
        platforms = document.get("platforms") if isinstance(document, Mapping) else None
        if not isinstance(platforms, Mapping) or set(document) != {"platforms"}:
            raise _not_compiled(source, "a further document that is no platform spec")
        left_out += [str(name) for name, settings in platforms.items() if settings]
    spec: Any = first
    config: dict[str, Any] = {}
    if "pipelineSpec" in first:
        spec, config = first["pipelineSpec"], first.get("runtimeConfig") or {}
    _check_spec(spec, source)
    values = config.get("parameterValues") or {}
    if config.get("parameters") or not isinstance(values, dict):
        raise _not_compiled(source, "runtimeConfig.parameters of schema 2.0.0")
    root = spec.get("defaultPipelineRoot") or config.get("gcsOutputDirectory")
    return Template(spec, source, uri, values, root or None, tuple(left_out))


def set_caching(spec: dict[str, Any], enabled: bool) -> None:
    """Turn caching on or off for every task of a spec, also in nested pipelines, loops and conditions."""
    for component in (spec["root"], *spec.get("components", {}).values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {"enableCache": enabled}


def _check_spec(spec: Any, source: str) -> None:
    if not isinstance(spec, dict):
        raise _not_compiled(source, "a pipelineSpec that is no mapping")
    if "implementation" in spec:
        raise _not_compiled(source, "a component of KFP 1")
    version = str(spec.get("schemaVersion", ""))
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers < (2, 1):
        raise _not_compiled(source, f"schemaVersion {version or 'none'}")
    wanted: tuple[tuple[tuple[str, ...], type], ...] = (
        (("pipelineInfo", "name"), str),
        (("root", "dag", "tasks"), dict),
        (("deploymentSpec", "executors"), dict),
        (("components",), dict),
    )
    for path, kind in wanted:
        found: Any = spec
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, kind):
            raise _not_compiled(source, f"no {'.'.join(path)}")


def _not_compiled(source: str, what: str) -> VertexSettingsError:
    return VertexSettingsError(
        "template", f"{source}: {what}", "a pipeline compiled by KFP 2 (schemaVersion 2.1.0 or newer)"
    )


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise VertexSettingsError(
            "template", f"{path} ({error.strerror})", "a file that this worker can read"
        ) from error


def _documents(data: bytes, source: str) -> list[Any]:
    """Read a file, JSON or YAML; a compiled pipeline in JSON is one document."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = data.decode()
        if text.lstrip().startswith("{"):
            try:
                return [json.loads(text)]
            except ValueError:
                pass  # YAML may begin so too
        return list(yaml.load_all(text, loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise _not_compiled(source, f"neither JSON nor YAML ({reason})") from error


def _copy(value: Any, source: str) -> Any:
    """Return a copy in which nothing is shared and everything is JSON.

    :raises VertexSettingsError: something is not, or it is too much.
    """
    left = MAX_VALUES

    def copied(value: Any, path: str, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            limit = f"{MAX_VALUES} values" if left < 0 else f"{MAX_DEPTH} levels"
            raise _not_compiled(source, f"more than {limit}")
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise _not_compiled(source, f"the key {key!r} at {path or 'its top'}, which is no text")
            return {key: copied(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [copied(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        number = isinstance(value, int) or (isinstance(value, float) and value - value == 0)
        if value is None or isinstance(value, str) or number:
            return value
        raise _not_compiled(source, f"{value!r} at {path.lstrip('.') or 'its top'}, which JSON does not know")

    return copied(value, "", 0)
