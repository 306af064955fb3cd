"""Limits that nobody documents: a compiled pipeline and its values in, warnings out.

What Vertex AI takes as a whole (tasks, bytes of a spec, characters of a value, levels of nesting) is not
documented, so nothing is refused for it. The options ``warn_*`` of ``[vertex_pipelines]`` say from where on
submit warns, so that a refusal by the service does not come without a hint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_vertex_provider.configuration import SECTION, limit


def limit_warnings(spec: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Find what is larger than an installation wants to hear of. Runs at submit.

    :param spec: the PipelineSpec.
    :param values: run parameter name to value.
    :raises VertexConfigurationError: an option holds no number.
    """
    measured = [
        ("warn_tasks", "pipeline tasks", len(spec["deploymentSpec"]["executors"])),
        ("warn_spec_bytes", "bytes of pipeline spec", spec_bytes(spec)),
        ("warn_nesting_depth", "levels of conditions and loops", nesting_depth(spec)),
        *(
            ("warn_parameter_characters", f"characters of run parameter {name!r}", len(_text(value)))
            for name, value in values.items()
        ),
    ]
    for name, what, number in measured:
        most = limit(name)
        if most and number > most:
            yield (
                f"{number} {what}, more than {most} ([{SECTION}] {name}); no limit is documented, so the job "
                "is submitted, but the service may refuse it"
            )


def spec_bytes(data: object) -> int:
    """Return the size of a spec, or of a part, as the request holds it."""
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def nesting_depth(spec: Mapping[str, Any]) -> int:
    """Return how many dags lie inside each other at the deepest place, the root not counted."""
    components = spec["components"]

    def depth(dag: Mapping[str, Any]) -> int:
        inner = [
            1 + depth(components[name]["dag"])
            for task in dag["tasks"].values()
            if "dag" in components.get(name := task["componentRef"]["name"], {})
        ]
        return max(inner, default=0)

    return depth(spec["root"]["dag"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
