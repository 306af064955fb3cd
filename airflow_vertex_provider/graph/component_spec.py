"""A component of KFP: a Python object, a file or an address in, its interface and its specification out.

Runs at parse, and loads neither kfp nor Google's packages: a component object brings its own along, and what
kfp compiled to a file is plain YAML. Nothing is read from the network. A component that kfp compiled alone
is taken out of the pipeline of one task that stands around it, as kfp itself does; a pipeline is taken whole.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import urllib.parse
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: Types of parameters that a value of ours can be given to, as KFP names them.
PARAMETER_TYPES: Final = ("STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT")
#: What the type of an artifact begins with; its schema follows after a blank.
ARTIFACT: Final = "ARTIFACT"
ARTIFACT_LIST: Final = "ARTIFACT_LIST"
#: The output of a component that returns one value; it alone is the whole value of its task.
SINGLE_OUTPUT: Final = "Output"
#: Folder beside the DAG file with copies of components that lie behind a URL.
COPIES: Final = "vertex_components"

_ANY_ARTIFACT = "system.Artifact"
_COMPILE = "compile it with kfp 2: kfp.compiler.Compiler().compile(component, 'component.yaml')"


#: Component objects that were read; each for as long as its DAG file keeps it.
_OBJECTS: weakref.WeakKeyDictionary[Any, Component] = weakref.WeakKeyDictionary()


class ComponentError(ValueError):
    """What was given is no component that can be read.

    :param found: what it is; :param allowed: what would do.
    """

    def __init__(self, found: str, allowed: str) -> None:
        self.found = found
        self.allowed = allowed
        super().__init__(f"found {found}; allowed: {allowed}")


@dataclass(frozen=True)
class Port:
    """One input of a component.

    :param type: KFP's name of a parameter's type, or an artifact's as :func:`artifact_type` writes it.
    :param optional: the component runs without it.
    """

    type: str
    optional: bool = False


@dataclass(frozen=True)
class Component:
    """A component, read.

    :param name: the name KFP gave it.
    :param specification: the ComponentSpec that stands for the whole.
    :param components: name to ComponentSpec of those that it refers to.
    :param executors: label to executor of all of them.
    :param inputs: name to port; :param outputs: name to type.
    """

    name: str
    specification: Mapping[str, Any]
    components: Mapping[str, Any] = field(default_factory=dict)
    executors: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Port] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_pipeline(self) -> bool:
        """Whether the component is a DAG of other components."""
        return "dag" in self.specification

    def payload(self) -> dict[str, Any]:
        """Return what a task of the graph keeps of the component: what the compiler needs, JSON-ready."""
        return {
            "name": self.name,
            "component": dict(self.specification),
            "components": dict(self.components),
            "executors": dict(self.executors),
        }


def is_artifact(kind: str) -> bool:
    """Tell whether a type is an artifact's or that of a list of artifacts."""
    return kind.startswith(ARTIFACT)


def artifact_type(described: Mapping[str, Any]) -> str:
    """Write an artifact's type: what it is and its schema, ``ARTIFACT system.Dataset@0.0.1``."""
    schema = described.get("artifactType", {})
    kind = ARTIFACT_LIST if described.get("isArtifactList") else ARTIFACT
    title = schema.get("schemaTitle") or schema.get("instanceSchema") or _ANY_ARTIFACT
    return f"{kind} {title}@{schema.get('schemaVersion', '0.0.1')}"


def artifact_spec(kind: str) -> dict[str, Any]:
    """Return what a spec says of an input or output of a type that :func:`artifact_type` wrote."""
    label, schema = kind.split(" ", 1)
    title, version = schema.rsplit("@", 1)
    described: dict[str, Any] = {"artifactType": {"schemaTitle": title, "schemaVersion": version}}
    return {**described, "isArtifactList": True} if label == ARTIFACT_LIST else described


def fits(given: str, wanted: str) -> bool:
    """Tell whether KFP lets an output of type ``given`` into an input of type ``wanted``."""
    if not (is_artifact(given) and is_artifact(wanted)):
        return given == wanted
    (given_kind, given_schema), (kind, schema) = given.split(" ", 1), wanted.split(" ", 1)
    (given_title, given_version), (title, version) = given_schema.split("@", 1), schema.split("@", 1)
    if given_kind != kind:
        return False
    same = given_title == title and given_version.split(".")[0] == version.split(".")[0]
    return same or _ANY_ARTIFACT in (given_title, title)


def value_of_outputs(types: Mapping[str, str], found: Mapping[str, Any]) -> Any:
    """Return the value that a component's task left, as an XCom has it. Runs wherever a task is read back.

    It is the single output ``Output``, or else a dict of all outputs by name; ``None`` without outputs.

    :param types: output name to type, as the graph has it.
    :param found: output name to what the service recorded: a parameter's JSON value, or whatever stands for
        an artifact. An output that is not there is ``None``.
    """
    values = {
        name: found.get(name) if is_artifact(kind) else _whole_numbers(found.get(name))
        for name, kind in types.items()
    }
    return values[SINGLE_OUTPUT] if set(values) == {SINGLE_OUTPUT} else values or None


def _whole_numbers(value: Any) -> Any:
    """Return a recorded value with whole numbers as ``int``: the service holds every number as a double."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value


def read_component(component: object, folder: str) -> Component:
    """Read a component.

    :param component: a component object of kfp; the path or ``file://`` URL of a file that kfp 2 compiled; or
        an ``https`` address, of Artifact Registry for one, a copy of which lies in the folder ``COPIES``.
    :param folder: folder of the DAG file: a relative path starts there.
    :raises ComponentError: it is none of these, or cannot be a task of a Vertex pipeline.
    """
    if isinstance(component, str | os.PathLike):
        path = _path(os.fspath(component), Path(folder))
        try:
            stamp = path.stat()
        except OSError as error:
            raise ComponentError(f"{path} ({error.strerror})", "a file that can be read") from error
        return _from_file(path, stamp.st_mtime_ns, stamp.st_size)
    if any(cls.__name__ == "BaseComponent" and cls.__module__.startswith("kfp.") for cls in _mro(component)):
        return _from_object(component)
    found = f"{component!r}, of type {type(component).__module__}.{type(component).__qualname__}"
    if any(cls.__name__ == "PipelineTask" and cls.__module__.startswith("kfp.") for cls in _mro(component)):
        found = "the call of a component"
    raise ComponentError(
        found,
        "a component itself: an object of kfp (@dsl.component, @dsl.container_component, @dsl.pipeline, "
        "load_component_from_file, Google's components), or the path of a file that kfp 2 compiled",
    )


def _mro(component: object) -> tuple[type, ...]:
    return type(component).__mro__


def _path(text: str, folder: Path) -> Path:
    """Turn a path or an address into the path of a file."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ComponentError(repr(text), "file:///path/of/the/file: it must be on this machine")
        return Path(urllib.parse.unquote(parts.path))
    if parts.scheme in ("http", "https"):
        return _copy(text, parts, folder)
    if "://" in text:
        raise ComponentError(
            repr(text), "a path or file:// URL: nothing is fetched while a DAG is parsed; download it"
        )
    return folder / Path(text).expanduser()


def _copy(text: str, parts: urllib.parse.SplitResult, folder: Path) -> Path:
    """Return where the copy of what lies behind a URL is kept: its host and path, below one folder."""
    names = [name for name in urllib.parse.unquote(parts.path).split("/") if name]
    registry = (parts.hostname or "").endswith("-kfp.pkg.dev")
    if registry and len(names) != 4:
        raise ComponentError(
            repr(text),
            "https://<location>-kfp.pkg.dev/<project>/<repository>/<package>/<version>, best a sha256:... "
            "one (L06)",
        )
    if not names or any(name in (".", "..") or "\0" in name for name in names):
        raise ComponentError(repr(text), "the URL of a file")
    if registry:
        names[-1] = f"{names[-1].replace(':', '-')}.yaml"
    path = folder.joinpath(COPIES, parts.hostname or "", *names)
    if not path.is_file():
        how = (
            "kfp.registry.RegistryClient(host=...).download_pipeline(...)" if registry else "any HTTP client"
        )
        raise ComponentError(
            repr(text),
            f"an address whose file lies on disk, at {path}: nothing is fetched while a DAG is parsed; "
            f"download it with {how}",
        )
    return path


@functools.lru_cache(maxsize=256)
def _from_file(path: Path, changed: int, size: int) -> Component:
    """Read a file; once for as long as it stays the same."""
    import yaml

    try:
        documents = list(yaml.load_all(path.read_bytes(), _loader()))
    except OSError as error:
        raise ComponentError(f"{path} ({error.strerror})", "a file that can be read") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ComponentError(f"{path}, which is no YAML ({reason})", "a file that kfp 2 compiled") from error
    specification = documents[0] if documents else None
    if not isinstance(specification, Mapping):
        raise ComponentError(f"{path}, which holds no mapping", "a file that kfp 2 compiled")
    if "implementation" in specification:
        raise ComponentError(
            f"{path}, a component of kfp 1",
            f"kfp.components.load_component_from_file({str(path)!r}) in its place; or {_COMPILE}",
        )
    return _read(specification, documents[1:], str(path))


def _loader() -> Any:
    """Return YAML's safe loader, the one written in C if there is one: it is ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _from_object(component: Any) -> Component:
    """Read a component object with the packages that it has brought along; once, since kfp compiles it."""
    known = _OBJECTS.get(component)
    if known is not None:
        return known
    json_format = sys.modules["google.protobuf.json_format"]
    try:
        specification = json_format.MessageToDict(component.pipeline_spec)
        platform = json_format.MessageToDict(component.platform_spec)
    except Exception as error:
        raise ComponentError(
            f"{component!r}, which kfp cannot compile ({error})", "a component that kfp compiles"
        ) from error
    found = _OBJECTS[component] = _read(specification, [platform], f"component {component.name!r}")
    return found


def _read(specification: Mapping[str, Any], others: list[Any], what: str) -> Component:
    if any(document for document in others):
        raise ComponentError(
            f"{what} with settings for Kubernetes", "one without: Vertex AI has no place for them"
        )
    try:
        # One order, whatever the order of a protocol buffer's map is in this process.
        specification = json.loads(json.dumps(specification, allow_nan=False, sort_keys=True))
        found = _taken_out(specification)
        inputs = dict(_inputs(found))
        outputs = _outputs(found)
        components = dict(_reachable(found, specification.get("components", {})))
        executors = {
            label: specification["deploymentSpec"]["executors"][label] for label in _labels(found, components)
        }
        name = str(specification["pipelineInfo"]["name"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ComponentError(
            f"{what}, which is not what kfp 2 compiles ({type(error).__name__}: {error})", _COMPILE
        ) from error
    for port, kind in [*((key, item.type) for key, item in inputs.items()), *outputs.items()]:
        if kind == "TASK_FINAL_STATUS":
            raise ComponentError(
                f"{what}, whose input {port!r} is the final status of a task",
                "a component without it: the service gives it to exit tasks alone",
            )
        if not is_artifact(kind) and kind not in PARAMETER_TYPES:
            raise ComponentError(
                f"{what}, where {port!r} has type {kind}", "parameters of " + ", ".join(PARAMETER_TYPES)
            )
    return Component(name, found, components, executors, inputs, outputs)


def _taken_out(specification: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the component that a specification is about: its only task's, or the whole pipeline."""
    root: Mapping[str, Any] = specification["root"]
    tasks = root["dag"]["tasks"]
    components = specification.get("components", {})
    own = f"comp-{_kfp_name(str(specification['pipelineInfo']['name']))}"
    if len(tasks) == 1 and own in components and "executorLabel" in components[own]:
        (task,) = tasks.values()
        plain = not task.keys() - {"taskInfo", "inputs", "cachingOptions", "componentRef"}
        if plain and task["componentRef"]["name"] == own and _same_interface(root, components[own]):
            found: Mapping[str, Any] = components[own]
            return found
    return root


def _kfp_name(name: str) -> str:
    return re.sub(r"-+", "-", re.sub(r"[^-0-9a-z]+", "-", name.lower())).strip("-")


def _same_interface(root: Mapping[str, Any], component: Mapping[str, Any]) -> bool:
    """Tell whether a pipeline has the inputs and outputs of the one component in it."""

    def ports(spec: Mapping[str, Any], side: str) -> dict[str, set[str]]:
        defined = spec.get(side, {})
        return {kind: set(defined.get(kind, {})) for kind in ("parameters", "artifacts")}

    return all(
        ports(root, side) == ports(component, side) for side in ("inputDefinitions", "outputDefinitions")
    )


def _inputs(component: Mapping[str, Any]) -> Iterator[tuple[str, Port]]:
    defined = component.get("inputDefinitions", {})
    for name, described in defined.get("parameters", {}).items():
        optional = bool(described.get("isOptional")) or "defaultValue" in described
        yield name, Port(described["parameterType"], optional)
    for name, described in defined.get("artifacts", {}).items():
        yield name, Port(artifact_type(described), bool(described.get("isOptional")))


def _outputs(component: Mapping[str, Any]) -> dict[str, str]:
    defined = component.get("outputDefinitions", {})
    found = {name: described["parameterType"] for name, described in defined.get("parameters", {}).items()}
    return found | {name: artifact_type(item) for name, item in defined.get("artifacts", {}).items()}


def _reachable(
    component: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and specification of every component that the tasks of ``component`` run."""
    seen: set[str] = set()
    pending = [component]
    while pending:
        for task in pending.pop().get("dag", {}).get("tasks", {}).values():
            name = task["componentRef"]["name"]
            if name not in seen:
                seen.add(name)
                yield name, components[name]
                pending.append(components[name])


def _labels(component: Mapping[str, Any], components: Mapping[str, Any]) -> list[str]:
    found = (item.get("executorLabel") for item in (component, *components.values()))
    return list(dict.fromkeys(label for label in found if label))
