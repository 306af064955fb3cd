"""A connection as Airflow has it in, extras that are allowed and typed out.

A form, a JSON text and a URI give the same thing in different types: a URI has texts alone. What comes out
here is the same for all of them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.hooks.fields import CONNECTION_TYPE, FIELDS, GOOGLE_TYPE, Field
from airflow_vertex_provider.settings.connection import CONNECTION_PIPELINE_KEYS, CONNECTION_TASK_KEYS

#: How Airflow 1 spelled the extras of Google's type; Google's hook still reads them.
_PREFIX = f"extra__{GOOGLE_TYPE}__"
#: Names that people try, and what they mean here.
_MEANT = {
    "project_id": "project",
    "service_account": "workload_account",
    "workload_service_account": "workload_account",
    "region": "location",
    "keyfile_path": "key_path",
    "keyfile": "keyfile_dict",
    "idp_extra_parameters": "idp_extra_params",
    "impersonate_service_account": "impersonation_chain",
    "scopes": "scope",
}
#: Such a name that nobody else gives a meaning: refused in a connection of Google's type too.
_OURS_MISTAKEN = frozenset({"workload_service_account"})
#: Settings whose name in a connection is another: Airflow hides what stands under a key with
#: ``service_account`` in it from every log, and whom jobs run as is no secret.
_SETTING_NAMES = {"service_account": "workload_account"}
#: An endpoint of Google's that serves one region, as a host or as a URL.
_REGIONAL_HOST = re.compile(
    r"(?:https?://)?([a-z]+-[a-z]+\d+)-aiplatform(?:\.mtls)?\.googleapis\.com(?::\d+)?(?:/.*)?", re.IGNORECASE
)


def typed_extras(conn_type: str | None, extras: Mapping[str, Any], conn_id: str) -> dict[str, Any]:
    """Return a connection's extras, each of its field's type; empty ones are left out.

    :param conn_type: type of the connection.
    :param extras: as Airflow reads them from a form, from JSON or from a URI.
    :param conn_id: for messages.
    :raises VertexConfigurationError: the type is another, an extra of ours or of this type is not known, or a
        value is not of its field's type. The value of a secret field is not in the message.
    """
    if conn_type not in (CONNECTION_TYPE, GOOGLE_TYPE):
        raise VertexConfigurationError(
            f"connection {conn_id!r}: conn_type: found {conn_type!r}; "
            f"allowed: {CONNECTION_TYPE!r}, or Google's own {GOOGLE_TYPE!r}"
        )
    result: dict[str, Any] = {}
    for written, value in extras.items():
        name = written.removeprefix(_PREFIX)
        if name not in FIELDS:
            if conn_type == CONNECTION_TYPE or name in _OURS_MISTAKEN:
                raise _unknown(name, conn_id)
            # Google's hook, or a newer one, may know it.
            result[written] = value
            continue
        typed = _typed(name, FIELDS[name], value, conn_id)
        if typed is not None and (name == written or name not in extras):
            result[name] = typed
    for name in ("api_endpoint", "storage_endpoint", "console_endpoint"):
        if re.search(r"\s", result.get(name, "")):
            raise _wrong(conn_id, name, result[name], "a host or a URL, without blanks")
    return result


def setting_extras(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the typed extras that are settings of jobs and tasks, by the settings' names."""
    names = {key: _SETTING_NAMES.get(key, key) for key in (*CONNECTION_PIPELINE_KEYS, *CONNECTION_TASK_KEYS)}
    return {key: extras[name] for key, name in names.items() if name in extras}


def check_endpoint(endpoint: str | None, location: str, conn_id: str) -> None:
    """Refuse an endpoint of Google's in another region than the job's (L19). Runs before any call.

    :raises VertexConfigurationError: it is one.
    """
    match = _REGIONAL_HOST.fullmatch(endpoint or "")
    if match and match[1].lower() != location:
        raise _wrong(
            conn_id,
            "api_endpoint",
            endpoint,
            f"the endpoint of the job's location, {location}-aiplatform.googleapis.com, or none (L19)",
        )


def _typed(name: str, field: Field, value: Any, conn_id: str) -> Any:
    """Return a value in its field's type, or ``None`` if there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    typed = _read(name, field, value, conn_id)
    # A form that somebody has emptied again leaves {} or [].
    return None if typed in ({}, []) else typed


def _read(name: str, field: Field, value: Any, conn_id: str) -> Any:
    try:
        if field.kind == "flag":
            return checks.flag(name, value)
        if field.kind == "number":
            return checks.integer(0)(name, value)
        if field.kind == "dict":
            return _json_of(value, dict)
        if field.kind == "list":
            return _list_of(value)
        if name in _GOOGLES:
            return _GOOGLES[name](value)
        typed = _text_of(value)
        if field.choices:
            return checks.one_of(*field.choices)(name, typed)
    except (VertexConfigurationError, ValueError):
        # The content of a credential configuration may have a secret, though its path has none.
        hidden = field.secret or name == "credential_config_file"
        raise _wrong(conn_id, name, "***" if hidden else value, _allowed(name, field)) from None
    return typed


def _text_of(value: Any) -> str:
    """Read a text; of one that Airflow made a number, only a whole number can be written as it was."""
    if isinstance(value, float):
        raise ValueError("another type")  # noqa: TRY004 - caught with what json raises
    return checks.text("", value)


def _json_of(value: Any, kind: type) -> Any:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, kind):
        raise ValueError("another type")  # noqa: TRY004 - caught with what json raises
    return value


def _list_of(value: Any) -> list[str]:
    """Read a list, its JSON text, or texts with commas or new lines between them."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = [item.strip() for item in re.split(r"[,\n]", value) if item.strip()]
    return checks.texts("", _json_of(value, list))


def _chain(value: Any) -> str | list[str]:
    """Read one account, or several: Google's hook would take a list's JSON for the name of one."""
    accounts = _list_of(value)
    return accounts[0] if len(accounts) == 1 else accounts


def _path_or_object(value: Any) -> Any:
    is_path = isinstance(value, str) and not value.lstrip().startswith("{")
    return value if is_path else _json_of(value, dict)


#: Google's fields that are no plain text, each with what reads it into what Google's hook takes. Airflow
#: parses the values of a URI as JSON where it stores one, and not where it finds one in the environment.
_GOOGLES: Mapping[str, Callable[[Any], Any]] = {
    "keyfile_dict": lambda value: _json_of(value, dict),
    "credential_config_file": _path_or_object,
    "idp_extra_params": lambda value: json.dumps(_json_of(value, dict)),
    "impersonation_chain": _chain,
    "scope": lambda value: ",".join(_list_of(value)),
}
#: What they say of themselves in messages.
_GOOGLES_ALLOWED = {
    "keyfile_dict": "the JSON of a key file",
    "credential_config_file": "a path, or the JSON of such a file",
    "idp_extra_params": "a JSON object",
    "impersonation_chain": "an account, or several with commas",
    "scope": "scopes with commas",
}


def _allowed(name: str, field: Field) -> str:
    if field.choices:
        return "one of " + ", ".join(field.choices)
    if name in _GOOGLES_ALLOWED:
        return _GOOGLES_ALLOWED[name]
    return {
        "text": "a text",
        "number": "a whole number of at least 0",
        "flag": "true or false",
        "list": "a list of texts, as JSON or with commas",
        "dict": "a JSON object",
    }[field.kind]


def _unknown(name: str, conn_id: str) -> VertexConfigurationError:
    near = _MEANT.get(name) or next(iter(difflib.get_close_matches(name, FIELDS, n=1)), None)
    hint = f" (did you mean {near!r}?)" if near else ""
    return VertexConfigurationError(
        f"connection {conn_id!r}: extra: found {name!r}; allowed: one of {', '.join(FIELDS)}{hint}"
    )


def _wrong(conn_id: str, name: str, found: Any, allowed: str) -> VertexConfigurationError:
    return VertexConfigurationError(f"connection {conn_id!r}: {name}: found {found!r}; allowed: {allowed}")
