"""What several converters read of an operator's own fields: exit codes, variables and machine settings."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

#: Exit codes a process can end with; below zero: by a signal, as Python's subprocess tells it.
_EXIT_CODES = range(-64, 256)


def refuse_unless(good: bool, operator: Any, name: str, allowed: str, values: Values) -> None:
    """Refuse the operator's field ``name`` unless it is ``good``."""
    if not good:
        values.refuse(name, getattr(operator, name, None), allowed)


def refuse_outputs(operator: Any, names: Iterable[str], values: Values) -> None:
    """Refuse outputs of tasks and mapped arguments in fields that must be known when the DAG is parsed."""
    for name in names:
        value = getattr(operator, name, None)
        if isinstance(value, ResolveMixin):
            values.refuse(name, value, "a value that is known at parse, the same for every instance")


def said(operator: Any, key: str) -> Any:
    """Return a setting that stands in the operator's ``executor_config["vertex"]``, if it has that shape."""
    config = operator.executor_config
    level = config.get("vertex") if isinstance(config, Mapping) else None
    return level.get(key) if isinstance(level, Mapping) else None


def with_resources(operator: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return machine settings of the operator's own, over those of ``executor_config``."""
    if not found:
        return {}
    also = said(operator, "resources")
    return {"resources": {**also, **found} if isinstance(also, Mapping) else dict(found)}


def skip_codes(value: Any, values: Values) -> list[int]:
    """Return the exit codes in ``skip_on_exit_code``: one, any container of them, or ``None`` for none."""
    if value is None:
        return []
    if any(
        isinstance(item, ResolveMixin) for item in (value if isinstance(value, list | tuple) else [value])
    ):
        values.refuse("skip_on_exit_code", value, "exit codes that are known at parse")
        return []
    if not isinstance(value, Container):
        value = [value]
    try:
        return [code for code in _EXIT_CODES if code in value]
    except TypeError:
        values.refuse("skip_on_exit_code", value, "an exit code, a list of them, or None")
        return []


def environment(
    operator: Any, field: str, variables: Any, values: Values, *, templated: bool
) -> dict[str, Any]:
    """Return variables as the setting ``env``, over those of ``executor_config``; of a function's container.

    :param field: the operator's own name for them.
    :param templated: Airflow renders their values.
    """
    result: dict[str, Any] = {}
    if not isinstance(variables, Mapping):
        values.refuse(field, variables, "a dict of variables, each a text")
        return result
    for name, value in variables.items():
        item = f"{field}[{name!r}]"
        try:
            checks.variable_name(field, name)
        except VertexSettingsError as error:
            values.refuse(item, repr(name), error.allowed)
            continue
        if not isinstance(value, str) or value == "":
            values.refuse(
                item, repr(value), "a text that is not empty (L14); pass outputs of tasks as arguments"
            )
        elif checks.is_template(value) and not templated:
            values.refuse(
                item, value, "a text without Jinja: Airflow does not render it, settings are rendered"
            )
        else:
            result[name] = value
    also = said(operator, "env")
    return {**also, **result} if isinstance(also, Mapping) else result
