"""Parameter values: a declared type and a value in, the value's forms in the executor input, in a command
and in an output file out. The forms are those of vertex-observed section 4.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

#: Parameter types of PipelineSpec 2.1.0 that carry a value.
PARAMETER_TYPES = frozenset({"STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT"})


def compact(value: Any) -> str:
    """Write JSON without blanks, keys in alphabetical order."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def whole(value: Any) -> Any:
    """Write numbers without a fraction as integers, all the way down.

    A protobuf Value knows doubles only. The service must write ``100`` and not ``100.0`` for them, or
    Google's own custom-job component could not read its disk size.
    """
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value


def check_type(kind: str, value: Any) -> Any:
    """Return ``value`` if it is of the parameter type ``kind``, an integral number as ``int``.

    :raises ValueError: it is of another type.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "NUMBER_INTEGER" and number and float(value).is_integer():
        return int(value)
    if (
        (kind == "NUMBER_DOUBLE" and number)
        or (kind == "STRING" and isinstance(value, str))
        or (kind == "BOOLEAN" and isinstance(value, bool))
        or (kind == "LIST" and isinstance(value, list))
        or (kind == "STRUCT" and isinstance(value, dict))
    ):
        return value
    shown = compact(value)
    raise ValueError(
        f"expected a value of type {kind}, found {shown if len(shown) <= 80 else shown[:77] + '...'}"
    )


def typed(value: Any) -> Json:
    """Return the deprecated typed twin of a value: ``{"intValue": "3"}`` and the like."""
    if isinstance(value, bool):
        return {"stringValue": "true" if value else "false"}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"stringValue": compact(value)}


def as_text(value: Any) -> str:
    """Return the text that stands for a value in a command line: a string as it is, JSON otherwise."""
    return value if isinstance(value, str) else compact(value)


def parse_output(kind: str, text: str) -> Any:
    """Read the file of one output parameter.

    :raises ValueError: the text is not a value of the declared type.
    """
    if kind == "STRING":
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lowered = text.strip().lower()
        if kind == "BOOLEAN" and lowered in ("true", "false"):
            return lowered == "true"
        raise ValueError(f"expected a value of type {kind}, found {text[:80]!r}") from None
    return check_type(kind, value)
