"""Checks of settings that are messages of the API: dicts and lists of them in, the API's own names out.

Names may be spelled as the API's messages spell them (``network_attachment``) or as its JSON does
(``networkAttachment``); what comes out has the first spelling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError


def raw(field: str, value: Any) -> dict[str, Any]:
    """Accept a dict of fields of the API, names in either spelling, values as JSON has them.

    What the fields are is not checked: the dict is there for those that this package does not know.
    """
    if not isinstance(value, Mapping):
        raise VertexSettingsError(field, value, "a dict of fields of the API")
    return {key: _json(f"{field}.{key}", item) for key, item in _named(field, value).items()}


def _named(field: str, value: Mapping[Any, Any]) -> Mapping[str, Any]:
    for key in value:
        if not isinstance(key, str) or not key or checks.is_template(key):
            raise VertexSettingsError(field, key, "keys that are texts, without templates")
    return value


def _json(field: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json(f"{field}.{key}", item) for key, item in _named(field, value).items()}
    if isinstance(value, list | tuple):
        return [_json(f"{field}[{index}]", item) for index, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise VertexSettingsError(field, value, "a dict, list, text, number, True, False or None")


def snake(name: str) -> str:
    """Return the name of a field of the API as its messages spell it; JSON may spell it ``camelCase``."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def record(keys: Mapping[str, checks.Check], *required: str) -> checks.Check:
    """Accept a dict of the API's fields ``keys``, in either spelling; return the spelling of its messages."""
    allowed = "a dict of " + ", ".join(f"{key} (required)" if key in required else key for key in keys)

    def check(field: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise VertexSettingsError(field, value, allowed)
        result: dict[str, Any] = {}
        for key, item in _named(field, value).items():
            name = snake(key)
            if name not in keys or name in result:
                raise VertexSettingsError(f"{field}.{key}", item, allowed)
            result[name] = item if checks.is_template(item) else keys[name](f"{field}.{name}", item)
        for name in required:
            if name not in result:
                raise VertexSettingsError(f"{field}.{name}", None, allowed)
        return result

    return check


def records(item: checks.Check, allowed: str) -> checks.Check:
    """Accept a list of what ``item`` accepts."""

    def check(field: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise VertexSettingsError(field, value, allowed)
        return [item(f"{field}[{index}]", each) for index, each in enumerate(value)]

    return check


def reservation_affinity(field: str, value: Any) -> dict[str, Any]:
    """Accept which reservations of Compute Engine a machine may be taken from."""
    found: dict[str, Any] = _RESERVATION(field, value)
    kind = found.get("reservation_affinity_type")
    if kind == "SPECIFIC_RESERVATION" and not (found.get("key") and found.get("values")):
        raise VertexSettingsError(
            field, value, "key and values beside reservation_affinity_type SPECIFIC_RESERVATION"
        )
    if kind in ("NO_RESERVATION", "ANY_RESERVATION") and ("key" in found or "values" in found):
        raise VertexSettingsError(
            field, value, f"neither key nor values beside reservation_affinity_type {kind}"
        )
    return found


absolute_path = checks.matching(r"/[^\n]*", 'an absolute path such as "/share"')
nfs_mounts = records(
    record(
        {"server": checks.text, "path": absolute_path, "mount_point": absolute_path},
        "server",
        "path",
        "mount_point",
    ),
    "a list of dicts of server, path and mount_point",
)
_PEERING = record(
    {"domain": checks.text, "target_project": checks.text, "target_network": checks.text}, "domain"
)
psc_interface_config = record(
    {
        "network_attachment": checks.text,
        "dns_peering_configs": records(
            record(
                {"domain": checks.text, "target_project": checks.text, "target_network": checks.text},
                "domain",
            ),
            "a list of dicts of domain, target_project and target_network",
        ),
    },
    "network_attachment",
)
_AFFINITIES = ("NO_RESERVATION", "ANY_RESERVATION", "SPECIFIC_RESERVATION")
_RESERVATION = record(
    {
        "reservation_affinity_type": checks.one_of(
            "NO_RESERVATION", "ANY_RESERVATION", "SPECIFIC_RESERVATION"
        ),
        "key": checks.text,
        "values": checks.texts,
    },
    "reservation_affinity_type",
)
