"""Values as text: Python objects in, protocol text out, and back.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json

from airflow_vertex_provider.runtime.container.base import ABSENT, ProtocolError, VertexRuntimeError
from airflow_vertex_provider.runtime.container.files import fetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


ATOMS = frozenset({str, bool, float, type(None)})
#: Integers of more digits than Python converts by default (4300) travel as hexadecimal text.
BIG = 1 << 14000


def escape_literal(text: str) -> str:
    """Return the same JSON with nothing in it that Vertex or Kubernetes would replace.

    Two braces (a Vertex placeholder) and a dollar sign with a parenthesis (a variable of the container)
    can stand in JSON only inside a string, where the second character may be written as an escape.
    """
    brace, dollar = "{$"
    return text.replace(brace + brace, brace + "\\u007b").replace(dollar + "(", dollar + "\\u0028")


def encode(value: Any, apart: Any = None) -> str:
    """Write ``value`` as protocol text.

    :param apart: writes what JSON cannot carry into files, see :func:`tag`.
    :raises ProtocolError: the value holds something that would not come back as it was.
    """
    try:
        return dump(tag(value, "", [], apart))
    except RecursionError:
        raise ProtocolError("the value is nested too deeply to be written as JSON") from None


def dump(data: Any) -> str:
    """Write JSON-ready data compactly, in ASCII, with placeholders broken up."""
    return escape_literal(json.dumps(data, separators=(",", ":")))


class Apart:
    """A value that lies outside the text, in a task that passes it on and does not open it."""

    def __init__(self, name: str, content: Any) -> None:
        self.data = {name: content}


def outside(name: str, content: Any) -> Any:
    """Return what stands for a value that lies outside the text where nobody opens it, as in Airflow."""
    metadata = dict(content.get("metadata") or ())
    if "size" in content:
        metadata["size"] = content["size"]
    return {"uri": content["uri"], "type": content["type"], "metadata": metadata}


def decode(text: str, read: Callable[[str], bytes] | None = None, find: Any = Apart) -> Any:
    """Read protocol text.

    :param read: fetches the bytes of a ``gs://`` file; needed only for a text that is a reference.
    :param find: see :func:`untag`.
    :raises ProtocolError: the text is damaged, or the file is not the one that was written.
    """
    if text[:1] == "@":
        text = fetch(text, read)
    try:
        return untag(json.loads(text), find)
    except VertexRuntimeError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError("not a protocol text (%s): %.60r" % (error, text)) from None


def is_a(kind: type, module: str, name: str) -> bool:
    """Say whether ``kind`` descends from ``module.name``, without importing that module."""
    return any(base.__name__ == name and base.__module__ == module for base in kind.__mro__)


def tag(value: Any, where: str, above: list[int], apart: Any = None) -> Any:
    """Return ``value`` as JSON-ready data in which every non-JSON type carries its tag.

    :param where: the path to this value, for messages.
    :param above: ids of the containers this value stands in, to find a container inside itself.
    :param apart: takes a value, the path to it and whether JSON could carry it. It writes the value into a
        file and returns the data of its tag, or ``None`` where JSON is to carry it.
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is int:
        return value if -BIG < value < BIG else {"$int": hex(value)}
    if kind is Apart:
        return value.data
    if apart and kind.__module__ != "builtins" and issubclass(kind, (int, float, str, list, dict, tuple)):
        data = apart(value, where, True)
        if data:
            return data
    if issubclass(kind, (int, float, str)):
        if is_a(kind, "enum", "Enum"):
            return tag(value.value, where, above, apart)
        # Not int(value): a subclass may say something else there.
        base: Any = int if issubclass(kind, int) else float if issubclass(kind, float) else str
        return tag(getattr(base, "__%s__" % base.__name__)(value), where, above, apart)
    if isinstance(value, (list, dict)) or kind in (tuple, set, frozenset) or is_named_tuple(value):
        if id(value) in above:
            raise ProtocolError("%s contains itself" % (where or "the value"))
        above.append(id(value))
        data = tag_container(value, where, above, apart)
        above.pop()
        return data
    return tag_other(value, kind, where, apart)


def is_named_tuple(value: Any) -> bool:
    """Say whether ``value`` is a named tuple; as in Airflow's XComs, it travels as a plain tuple."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def tag_container(value: Any, where: str, above: list[int], apart: Any) -> Any:
    """Tag a list, dict, tuple or set and all it holds."""
    if isinstance(value, dict):
        pairs: dict[str, Any] = {}
        for key, item in value.items():
            name = key if type(key) is str else str(key)
            if name in pairs:
                raise ProtocolError("%s has two keys that are both %r as text" % (where or "the value", name))
            pairs[name] = tag(item, "%s.%s" % (where, name) if where else name, above, apart)
        if len(pairs) == 1 and next(iter(pairs))[:1] == "$":
            return {"$dict": [list(pair) for pair in pairs.items()]}
        return pairs
    if isinstance(value, (set, frozenset)):
        items = [tag(item, where + "{}", above, apart) for item in value]
        # The order of a set changes from process to process; the text must not.
        items.sort(key=json.dumps)
        return {"$" + type(value).__name__: items}
    # Long lists of numbers or texts are common, and need no walk in Python.
    kinds = set(map(type, value))
    if kinds <= ATOMS or (kinds == {int} and min(value) > -BIG and max(value) < BIG):
        items = list(value)
    else:
        items = [tag(item, "%s[%d]" % (where, number), above, apart) for number, item in enumerate(value)]
    return {"$tuple": items} if isinstance(value, tuple) else items


def tag_other(value: Any, kind: type, where: str, apart: Any) -> Any:
    """Tag the remaining types that can be carried, and refuse all others."""
    if value is ABSENT:
        return {"$absent": True}
    if is_a(kind, "numpy", "generic") and value.dtype.kind in "biuf":
        item = value.item()
        if type(item) in (bool, int, float):
            return item
    if kind is bytes:
        import base64

        return {"$bytes": base64.b64encode(value).decode()}
    if kind.__module__ == "datetime" or kind.__module__[:9] == "pendulum.":
        if is_a(kind, "datetime", "datetime"):
            # A named zone is more than its offset of that day.
            zone = getattr(value.tzinfo, "key", None)
            text = value.isoformat()
            return {"$datetime": "%s[%s]" % (text, zone) if zone else text}
        if is_a(kind, "datetime", "date"):
            return {"$date": value.isoformat()}
        if kind.__name__ == "timedelta":
            return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if apart:
        return apart(value, where, False)
    raise ProtocolError(
        "%s is of type %s.%s, which cannot be carried between tasks; use None, bool, int, float, str, list, "
        "dict, tuple, set, frozenset, bytes, datetime, date or timedelta"
        % (where or "the value", kind.__module__, kind.__qualname__)
    )


def untag(data: Any, find: Any = Apart) -> Any:
    """Return the value that :func:`tag` was given.

    :param find: takes the name and content of a tag whose value lies outside the text, and returns the
        value, or what stands for it.
    """
    if type(data) is list:
        kinds = set(map(type, data))
        return [untag(item, find) for item in data] if kinds & {list, dict} else data
    if type(data) is not dict:
        return data
    if len(data) == 1:
        ((name, content),) = data.items()
        if name[:1] == "$":
            return untag_one(name, content, find)
    return {key: untag(item, find) for key, item in data.items()}


def untag_one(name: str, content: Any, find: Any) -> Any:
    """Return the value of one tag."""
    if name == "$file":
        return find(name, content)
    if name == "$dict":
        return {untag(key): untag(item, find) for key, item in content}
    if name == "$absent":
        return ABSENT
    if name == "$state":
        return None
    if name in ("$tuple", "$set", "$frozenset"):
        return {"$tuple": tuple, "$set": set, "$frozenset": frozenset}[name](untag(content, find))
    if name == "$int":
        return int(content, 16)
    if name == "$bytes":
        import base64

        return base64.b64decode(content)
    if name in ("$datetime", "$date", "$timedelta"):
        import datetime

        if name == "$date":
            return datetime.date.fromisoformat(content)
        if name == "$timedelta":
            return datetime.timedelta(*content)
        text, _, zone = content.rstrip("]").partition("[")
        moment = datetime.datetime.fromisoformat(text)
        return in_zone(moment, zone) if zone else moment
    raise ProtocolError("unknown tag %r; the value was written by another version" % name)


def in_zone(moment: Any, zone: str) -> Any:
    """Return ``moment`` in the named zone, or at its fixed offset where the image knows no such zone."""
    try:
        from zoneinfo import ZoneInfo

        return moment.astimezone(ZoneInfo(zone))
    except (ImportError, LookupError, OSError, ValueError):
        return moment
