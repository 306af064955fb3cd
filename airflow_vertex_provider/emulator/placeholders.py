"""Placeholders: text with ``{{$...}}`` in, the text a container gets out.

Supported are those of vertex-observed section 4: ``{{$}}``, inputs, outputs, the pipeline's own values,
kfp's ``IfPresent`` and ``Concat``, and ``.json_escape[n]`` behind any of them. ``json_escape[1]`` makes
the text fit between the quotes of a JSON string; ``json_escape[0]`` is the same done zero times, that
is, the text itself. (Only level 1 is recorded; level 0 is read as the count it looks like.)

A text is resolved in one pass: what a placeholder was replaced by is never searched again, so a value
cannot smuggle a placeholder into a command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.emulator.parameters import as_text, compact

Json = dict[str, Any]

_STEP = r"\.[A-Za-z_][A-Za-z0-9_]*(?:\[(?:'[^'\]]*'|\"[^\"\]]*\"|\\\"[^\"\]]*\\\"|[0-9]+)\])?"
_PLACEHOLDER = re.compile(r"\{\{\$((?:" + _STEP + r")*)\}\}")
_OPENING = re.compile(r"\{\{\$[.}]")
_ONE_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)(?:\[(?:\\?['\"]([^'\"\]\\]*)\\?['\"]|([0-9]+))\])?")

_ESCAPE_LEVELS = (0, 1)


class UnknownPlaceholderError(Exception):
    """A placeholder names nothing that exists."""


@dataclass(frozen=True)
class Placeholders:
    """What placeholders can refer to in one task.

    :param executor_input: the whole executor input, as ``{{$}}`` shows it.
    :param variables: the pipeline's own values by name, such as ``pipeline_job_name``.
    :param unset: text of declared optional inputs that have no value.
    :param mount: the folder under which ``gs://`` is found in the container, with a final slash.
    :param keep_unknown: leave what names nothing as it stands instead of raising.
    """

    executor_input: Json
    variables: Mapping[str, str]
    unset: Mapping[str, str]
    mount: str = "/gcs/"
    keep_unknown: bool = False

    def command(self, parts: Sequence[str]) -> list[str]:
        """Resolve a command or its arguments; ``IfPresent`` may give any number of arguments.

        :raises UnknownPlaceholderError: a placeholder names nothing known.
        """
        result: list[str] = []
        for part in parts:
            result += self._structure(part)
        return result

    def _structure(self, part: str) -> list[str]:
        if part.startswith(('{"IfPresent"', '{"Concat"')):
            try:
                data = json.loads(part)
            except (ValueError, RecursionError):
                return [self.text(part)]
            return self._expand(data)
        return [self.text(part)]

    def _expand(self, data: Any) -> list[str]:
        if isinstance(data, str):
            return [self.text(data)]
        if isinstance(data, list):
            return [text for item in data for text in self._expand(item)]
        if isinstance(data, dict) and list(data) == ["Concat"]:
            return ["".join(self._expand(data["Concat"]))]
        if isinstance(data, dict) and list(data) == ["IfPresent"]:
            branch = data["IfPresent"]
            if not isinstance(branch, dict) or not isinstance(branch.get("InputName"), str):
                raise UnknownPlaceholderError(f"{compact(data)} names no input")
            inputs = self.executor_input.get("inputs", {})
            present = branch["InputName"] in {
                **inputs.get("parameterValues", {}),
                **inputs.get("artifacts", {}),
            }
            return self._expand(branch.get("Then" if present else "Else") or [])
        raise UnknownPlaceholderError(f"{compact(data)} is neither Concat nor IfPresent")

    def text(self, text: str, *, keep_unknown: bool = False) -> str:
        """Resolve every placeholder of a text.

        :param keep_unknown: for this text, as for the whole object.
        :raises UnknownPlaceholderError: a placeholder names nothing known.
        """
        keep_unknown = keep_unknown or self.keep_unknown

        def replace(match: re.Match[str]) -> str:
            try:
                return self._lookup(match[1])
            except UnknownPlaceholderError:
                if keep_unknown:
                    return match[0]
                raise

        if not keep_unknown:
            for opening in _OPENING.finditer(text):
                if not _PLACEHOLDER.match(text, opening.start()):
                    raise UnknownPlaceholderError(
                        f"{text[opening.start() : opening.start() + 60]!r} is not a placeholder"
                    )
        return _PLACEHOLDER.sub(replace, text)

    def _lookup(self, path: str) -> str:
        steps = [(name, key or number or None) for name, key, number in _ONE_STEP.findall(path)]
        level = 0
        if steps and steps[-1][0] == "json_escape":
            level = int(steps.pop()[1] or 0)
            if level not in _ESCAPE_LEVELS:
                raise UnknownPlaceholderError(f"{{{{${path}}}}}: json_escape takes 0 or 1")
        value = self._value(steps, path)
        for _ in range(level):
            value = json.dumps(value, ensure_ascii=False)[1:-1]
        return value

    def _value(self, steps: list[tuple[str, str | None]], path: str) -> str:
        names = tuple(name for name, _ in steps)
        keys = [key for _, key in steps]
        inputs = self.executor_input.get("inputs", {})
        outputs = self.executor_input["outputs"]
        if not steps:
            return json.dumps(self.executor_input, separators=(",", ":"), ensure_ascii=False)
        if len(names) == 1 and keys[0] is None and names[0] in self.variables:
            return self.variables[names[0]]
        if names == ("outputs", "output_file"):
            return str(outputs["outputFile"])
        if names == ("inputs", "parameters") and keys[1] is not None:
            if keys[1] in inputs.get("parameterValues", {}):
                return as_text(inputs["parameterValues"][keys[1]])
            if keys[1] in self.unset:
                return self.unset[keys[1]]
        if names == ("outputs", "parameters", "output_file") and keys[1] in outputs.get("parameters", {}):
            return str(outputs["parameters"][keys[1]]["outputFile"])
        if len(names) in (2, 3) and names[0] in ("inputs", "outputs") and names[1] == "artifacts":
            group = inputs if names[0] == "inputs" else outputs
            entries = group.get("artifacts", {}).get(keys[1], {}).get("artifacts")
            if entries:
                found = self._artifact(entries[0], *(steps[2] if len(steps) == 3 else (None, None)))
                if found is not None:
                    return found
        raise UnknownPlaceholderError(f"{{{{${path}}}}} names nothing that this task has")

    def _artifact(self, artifact: Json, field: str | None, key: str | None) -> str | None:
        uri = str(artifact.get("uri", ""))
        if field is None:
            return compact(artifact)
        if field == "uri":
            # Local processes get paths in the executor input, since kfp knows one mount point alone; who asks
            # for the address gets it.
            return f"gs://{uri.removeprefix(self.mount)}" if uri.startswith(self.mount) else uri
        if field == "path":
            return self.mount + uri.removeprefix("gs://") if uri.startswith("gs://") else uri
        if field == "name":
            return str(artifact.get("name", ""))
        if field in ("metadata", "properties"):
            metadata = artifact.get("metadata", {})
            if key is None:
                return compact(metadata)
            if key in metadata:
                return as_text(metadata[key])
        return None


def resolve_values(values: Json, placeholders: Placeholders, names: frozenset[str]) -> Json:
    """Resolve placeholders that stand inside input values.

    A string is resolved as text. A list or struct is resolved as the JSON text it travels as, which is
    what gives ``json_escape`` inside it a meaning; if the result is no JSON any more, the value stays.

    :param names: inputs to resolve; the others are left as they are.
    """
    first = {
        name: placeholders.text(value, keep_unknown=True)
        if name in names and isinstance(value, str)
        else value
        for name, value in values.items()
    }
    if not any(
        isinstance(first[name], list | dict) and "{{$" in json.dumps(first[name])
        for name in names & set(first)
    ):
        return first
    scope = Placeholders(
        _with_values(placeholders.executor_input, first),
        placeholders.variables,
        placeholders.unset,
        placeholders.mount,
    )
    result = {}
    for name, value in first.items():
        if name in names and isinstance(value, list | dict):
            try:
                result[name] = json.loads(
                    scope.text(json.dumps(value, ensure_ascii=False), keep_unknown=True)
                )
            except ValueError:
                result[name] = value
        else:
            result[name] = value
    return result


def _with_values(executor_input: Json, values: Json) -> Json:
    return {**executor_input, "inputs": {**executor_input.get("inputs", {}), "parameterValues": values}}
