"""The section ``[vertex_pipelines]`` of Airflow's configuration: an option's name in, its checked value out.

Read where a value is needed, never at import. Each option has its default here too, because Airflow's task
processes read the provider's metadata only when asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECTION = "vertex_pipelines"


@dataclass(frozen=True)
class Option:
    """One option.

    :param kind: ``integer``, ``boolean`` or ``string``, as Airflow's metadata call it.
    :param default: as text.
    :param description: what it does, for ``airflow config list`` and the documentation.
    """

    kind: str
    default: str
    description: str


OPTIONS: Mapping[str, Option] = {
    "extra_locations": Option(
        "string", "", "Regions that Vertex AI Pipelines is served in besides those known here, with commas."
    ),
    "allow_unlisted_machines": Option(
        "boolean",
        "False",
        "Take machines and accelerators that the table of pairs does not list, in all jobs.",
    ),
    "reads_per_minute": Option(
        "integer",
        "300",
        "Reads of Vertex AI that one triggerer makes at most in a minute, for each project and region. The "
        "quota is 600 for all together: with three triggerers, say, set 150.",
    ),
    "warn_tasks": Option(
        "integer",
        "1000",
        "Number of pipeline tasks above which submit warns; 0: never. No limit is documented.",
    ),
    "warn_spec_bytes": Option(
        "integer", "8000000", "Bytes of a pipeline spec above which submit warns; 0: never."
    ),
    "warn_parameter_characters": Option(
        "integer",
        "0",
        "Characters of a run parameter above which submit warns; 0: never. Open-source Kubeflow takes 10000.",
    ),
    "warn_nesting_depth": Option(
        "integer",
        "10",
        "Levels of conditions and loops inside each other above which submit warns; 0: never.",
    ),
}


def option(name: str) -> str:
    """Return an option's text."""
    from airflow.configuration import conf

    return str(conf.get(SECTION, name, fallback=OPTIONS[name].default))


def limit(name: str) -> int:
    """Return a limit for warnings; 0: none.

    :raises VertexConfigurationError: the option holds no whole number of at least 0.
    """
    text = option(name).strip()
    if not text.isdigit():
        raise _wrong(name, text, "a whole number, 0 for no limit")
    return int(text)


def positive(name: str) -> int:
    """Return a number that something cannot do without.

    :raises VertexConfigurationError: the option holds no whole number of at least 1.
    """
    text = option(name).strip()
    if not text.isdigit() or int(text) < 1:
        raise _wrong(name, text, "a whole number, at least 1")
    return int(text)


def unlisted_machines_allowed() -> bool:
    """Tell whether the table of machines is not to be held against anybody.

    :raises VertexConfigurationError: the option holds neither ``True`` nor ``False``.
    """
    text = option("allow_unlisted_machines").strip().lower()
    if text not in ("true", "false"):
        raise _wrong("allow_unlisted_machines", text, "True or False")
    return text == "true"


def extra_locations() -> frozenset[str]:
    """Return the regions that an installation adds."""
    return frozenset(item.strip() for item in option("extra_locations").split(",") if item.strip())


def _wrong(name: str, found: str, allowed: str) -> Exception:
    # Airflow reads the metadata while it makes its configuration; nothing of Airflow can be imported then.
    from airflow_vertex_provider.exceptions import VertexConfigurationError

    return VertexConfigurationError(f"[{SECTION}] {name}: found {found!r}; allowed: {allowed}")


def metadata() -> dict[str, Any]:
    """Return the section as a provider's metadata have it."""
    return {
        SECTION: {
            "description": "Vertex AI pipelines made of task groups.",
            "options": {
                name: {
                    "description": option.description,
                    "version_added": "0.1.0",
                    "type": option.kind,
                    "example": None,
                    "default": option.default,
                }
                for name, option in OPTIONS.items()
            },
        }
    }
