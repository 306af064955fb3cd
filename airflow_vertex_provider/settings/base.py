"""What settings objects share: checks on creation, a dict form, unknown keys refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError

_S = TypeVar("_S", bound="Settings")


def setting(check: checks.Check, *, scalar: bool = True, api: str = "") -> Any:
    """Declare a setting; one that is not scalar may have templates in its parts, but be none itself.

    :param api: where the API's message has it, as a dotted path; the name of the setting if not given.
    """
    return field(default=None, metadata={"check": check, "scalar": scalar, "api": api})


@dataclass(frozen=True)
class Settings:
    """What the settings objects share: checks on creation, a dict form, and merging."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or (item.metadata["scalar"] and checks.is_template(value)):
                continue
            object.__setattr__(self, item.name, item.metadata["check"](self._path(item.name), value))

    @classmethod
    def _path(cls, name: str) -> str:
        return f"{cls.section()}.{name}"

    @classmethod
    def section(cls) -> str:
        """Name of the settings key this object stands under, as errors print it."""
        return cls.__name__

    @classmethod
    def from_dict(cls: type[_S], data: Mapping[str, Any] | _S) -> _S:
        """Read the plain-dict form.

        :raises VertexSettingsError: a key is unknown or a value is not allowed.
        """
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise VertexSettingsError(cls.section(), data, f"a {cls.__name__} or a dict of its fields")
        known = [item.name for item in fields(cls)]
        check_keys(cls.section(), data, known)
        return cls(**data)

    @classmethod
    def api_path(cls, name: str) -> tuple[str, ...]:
        """Return where the API's message has the field ``name``."""
        return tuple((cls.__dataclass_fields__[name].metadata["api"] or name).split("."))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that were said, as plain JSON-ready data."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}


def check_keys(section: str, data: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a key that is not among ``known``, with the nearest one that is.

    :raises VertexSettingsError: there is an unknown key.
    """
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise VertexSettingsError(f"{section}.{key}", data[key], "one of " + ", ".join(known) + hint)


def check_region(field: str, resource: str | None, location: str | None) -> None:
    """Refuse a resource that lies in another region than the job (L18), as far as both are known.

    :raises VertexSettingsError: it does.
    """
    region = _region_of(resource)
    if region and location and region != location and not checks.is_template(location):
        raise VertexSettingsError(field, resource, f"one in the job's location {location!r} (L18)")


def _region_of(resource: str | None) -> str:
    """Return the region in a resource's name, or nothing if it has none that is known yet."""
    if resource is None or checks.is_template(resource):
        return ""
    parts = resource.split("/")
    region = parts[parts.index("locations") + 1] if "locations" in parts[:-1] else ""
    return "" if region == "global" else region
