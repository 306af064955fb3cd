"""Airflow's context inside a member function: a key in, the value a pipeline can be given at submit out.

A function argument named like a context key (``ds``, ``params``, ...) gets that value, as in Airflow. What
is known when the job is submitted travels as a run parameter; a live object (``ti``, ``dag``, ...) cannot.
Of ``dag_run`` single attributes travel, as keys with a dot: ``dag_run.conf``.
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
        "partition_date",
        "partition_key",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_end_date_success",
        "prev_start_date_success",
        "run_id",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
    }
)

#: The run's own object in the context.
RUN = "dag_run"
#: Its attributes that are plain data and stay as they are while the run lasts.
RUN_ATTRIBUTES = frozenset(
    {
        "conf",
        "dag_id",
        "data_interval_end",
        "data_interval_start",
        "logical_date",
        "partition_date",
        "partition_key",
        "run_after",
        "run_id",
        "run_type",
        "start_date",
        "triggering_user_name",
    }
)
#: Attributes that are enums in Airflow and text in the container: only a comparison means the same on both.
RUN_ENUMS = frozenset({"run_type"})

#: Marks a key whose absence is fine, because the function has a default for it.
OPTIONAL = "?"


def context_value(key: str, context: Mapping[str, Any]) -> Any:
    """Return the value of a context key for this run. Runs on a worker, at submit.

    :param key: one of :data:`CARRIED_KEYS`, or ``dag_run.`` and one of :data:`RUN_ATTRIBUTES`; with
        :data:`OPTIONAL` behind it if it may be missing.
    :return: :data:`~airflow_vertex_provider.runtime.protocol.ABSENT` for an optional key without a value: the
        function's own default holds then, as in Airflow.
    :raises VertexConfigurationError: this run has no such value (a run without a logical date has no
        ``ds``) and the function has no default.
    """
    name = key.removesuffix(OPTIONAL)
    owner, _, attribute = name.rpartition(".")
    if owner:
        try:
            return getattr(context[owner], attribute)
        except (KeyError, AttributeError):
            raise VertexConfigurationError(
                f"{name}: found none in this version of Airflow; allowed: an attribute that its {owner} has"
            ) from None
    if name not in context:
        if key.endswith(OPTIONAL):
            return ABSENT
        raise VertexConfigurationError(
            f"{name}: found no value in this run, which has no logical date; "
            f"allowed: an argument with a default, {name}=None"
        )
    # Dates of earlier runs are looked up when they are read; what they stand for is what travels.
    value = context[name]  # type: ignore[literal-required,unused-ignore]
    value = getattr(value, "__wrapped__", value)
    if name == "params":
        return value.dump() if hasattr(value, "dump") else dict(value)
    return value
