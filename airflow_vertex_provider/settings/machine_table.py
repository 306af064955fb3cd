"""The table of machines and regions: a machine type, an accelerator and a number in, what would be right out.

The data is ``machine_table.json``, read once per process when a setting asks for it. It ages: Google adds
machines and regions. So each of its rules has a way around it that somebody has to say:
``allow_unlisted_machine`` on a custom job, and the options ``allow_unlisted_machines`` and
``extra_locations`` of the section ``[vertex_pipelines]`` for a whole installation.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.configuration import extra_locations, unlisted_machines_allowed

_WAY_AROUND = "allow_unlisted_machine=True if Google has it by now (L12)"


@functools.cache
def table() -> Mapping[str, Any]:
    """Return the data: ``machines`` and ``locations``."""
    text = (resources.files("airflow_vertex_provider.settings") / "machine_table.json").read_text("utf-8")
    data: Mapping[str, Any] = json.loads(text)
    return data


def pair_problem(machine: str, accelerator: object, count: object) -> str:
    """Tell what would be allowed if this machine does not take so many of this accelerator, else ``""``.

    Rule L12. Runs at parse and, for templates, at submit.

    :param accelerator: its name; ``None``: none.
    :param count: how many; ``None`` or a template: not known yet.
    """
    if accelerator is None or is_template(machine) or is_template(accelerator):
        return ""
    if unlisted_machines_allowed():
        return ""
    takes = _accelerators_of(machine)
    if takes is None:
        return f"a machine type of the table of pairs, or {_WAY_AROUND}"
    if accelerator not in takes:
        others = [name for name, each in _machines().items() if accelerator in each]
        listed = ", ".join(f"{name}*" if name.endswith("-") else name for name in others) or "none"
        has = f"{machine} takes {' or '.join(takes)}" if takes else f"{machine} takes no accelerator"
        return f"machines that take it ({listed}); {has}; or {_WAY_AROUND}"
    numbers = takes[str(accelerator)]
    if numbers and isinstance(count, int) and count not in numbers:
        return f"{' or '.join(map(str, numbers))} of it on {machine}, or {_WAY_AROUND}"
    return ""


def location_problem(location: str | None) -> str:
    """Tell what would be allowed if Vertex AI Pipelines is not served in ``location``, else ``""`` (L19)."""
    if location is None or is_template(location) or location in table()["locations"]:
        return ""
    if location in extra_locations():
        return ""
    return (
        f"one of {', '.join(table()['locations'])}; a new one can be named in the option extra_locations of "
        "[vertex_pipelines] (L19)"
    )


def _machines() -> Mapping[str, Mapping[str, list[int]]]:
    machines: Mapping[str, Mapping[str, list[int]]] = table()["machines"]
    return machines


def _accelerators_of(machine: str) -> Mapping[str, list[int]] | None:
    """Return what a machine takes, or ``None`` if the table does not know it."""
    fitting = [
        key for key in _machines() if machine == key or (key.endswith("-") and machine.startswith(key))
    ]
    return _machines()[max(fitting, key=len)] if fitting else None
