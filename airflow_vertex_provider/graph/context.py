"""Airflow's context inside a member function: a key in, the value a pipeline can be given at submit out.

A function argument named like a context key (``ds``, ``params``, ...) gets that value, as in Airflow. What
is known when the job is submitted travels as a run parameter; a live object (``ti``, ``dag``, ...) cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.runtime.protocol import ABSENT

#: Keys whose values are plain data known at submit.
CARRIED_KEYS = frozenset(
    {
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "params",
        "run_id",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
    }
)

#: Marks a key whose absence is fine, because the function has a default for it.
OPTIONAL = "?"


def context_value(key: str, context: Mapping[str, Any]) -> Any:
    """Return the value of a context key for this run. Runs on a worker, at submit.

    :param key: one of :data:`CARRIED_KEYS`, with :data:`OPTIONAL` behind it if it may be missing.
    :return: :data:`~airflow_vertex_provider.runtime.protocol.ABSENT` for an optional key without a value: the
        function's own default holds then, as in Airflow.
    :raises VertexConfigurationError: this run has no such value (a run without a logical date has no
        ``ds``) and the function has no default.
    """
    name = key.removesuffix(OPTIONAL)
    if name not in context:
        if key.endswith(OPTIONAL):
            return ABSENT
        raise VertexConfigurationError(
            f"{name}: found no value in this run, which has no logical date; "
            f"allowed: an argument with a default, {name}=None"
        )
    value = context[name]  # type: ignore[literal-required,unused-ignore]
    if name == "params":
        return value.dump() if hasattr(value, "dump") else dict(value)
    return value
