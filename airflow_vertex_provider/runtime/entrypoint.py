"""Run one task inside its container: a configuration and Vertex's executor input come in, outputs go out.

This file is sent as text: the compiler puts it into the container's command as
``python3 -u -c <text> <configuration> <executor input>``, stripped by
:func:`airflow_vertex_provider.runtime.protocol.embedded_source`. So it is one file, standard library only,
good for Python 3.8 and later; it imports what is dear only where it is needed, and two opening braces
never stand side by side in it, because Vertex would take them for a placeholder.

A task pays only for what it uses: functions called ``run_<kind>``, ``use_<key>`` and ``node_<form>`` are
reached through :func:`part` alone, and stay out of the text of a task whose configuration does not hold
that kind, key or node form. So does everything that only they need.

:mod:`airflow_vertex_provider.runtime.protocol` is the other end: it documents the configuration and
imports the functions that both ends must share (``encode``, ``decode``, ``escape_literal``, ...), so the
two cannot drift apart.

What it leaves behind, all in the folder of the executor input's ``outputFile``; of several replicas the
chief alone (:func:`is_chief`):

``executor_output.json``
    the outputs, as Vertex reads them;
``airflow_value.json``, ``airflow_item_<output>_<field>_<number>.json``
    the value itself, or an item of it that a loop runs over, when it is too large to be an argument;
``airflow_value_<number>.<extension>``
    an object of the value that JSON cannot carry, as its serialiser writes it;
``airflow_artifact_<name>.json``
    likewise what is known of an artifact, when its metadata are large;
``../airflow_no_retry/<folder>.json``
    after an AirflowFailException: the error; a later attempt fails with it and runs nothing;
``airflow_error.json``
    after a failure: ``type``, ``message``, ``traceback``, ``skipped``, for the mirroring Airflow task;
``executor_error.json``
    after a failure: ``errorMessage``, which Vertex shows as the task's error (vertex-observed.md, 2).

A task that is skipped writes outputs too: its state travels as its value (:data:`SKIPPED`).
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

#: Integers of more digits than Python converts by default (4300) travel as hexadecimal text.
BIG = 1 << 14000
#: Longest ``errorMessage`` written, in characters; of what is longer the middle goes.
ERROR_LIMIT = 8000
#: Room that one bare-text argument may take, in bytes; Linux allows 131072 for the whole argument.
TEXT_LIMIT = 100000
ATOMS = frozenset({str, bool, float, type(None)})
#: Stands for an argument that this run has no value for: the function's own default is left to hold.
ABSENT = object()
#: Stands for an output of a task that was skipped; its value is ``None``.
SKIPPED = '{"$state":"skipped"}'
#: Stands for an output that never came: the default of an input from a task that may have failed.
FAILED = '{"$state":"failed"}'
#: The value of a task that is skipped, within this file.
NOT_RUN = object()
# Signal masks to go back to after a fork; see hold_signal.
HELD: list[Any] = []


class VertexRuntimeError(Exception):
    """The task could not be run as configured; the message is meant for the author, no traceback needed."""


class Terminated(BaseException):
    """Somebody asked the container to stop, as Vertex does when a job is cancelled."""


class ProtocolError(VertexRuntimeError, ValueError):
    """A value cannot be written, or a text cannot be read, in the protocol."""


class UpstreamFailed(VertexRuntimeError):
    """The task's trigger rule does not let it run after what became of the tasks before it."""


class XComForMappingNotPushed(VertexRuntimeError):
    """There is no value, though tasks are mapped over it; named as in Airflow."""


class UnmappableXComTypePushed(VertexRuntimeError):
    """Tasks are mapped over a value that has no items; named as in Airflow."""


def part(name: str) -> Any:
    """Return the function ``name`` of this file: the parts that not every task's text holds."""
    return globals().get(name)


# --- values ---------------------------------------------------------------------------------------------


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


# --- values in files ------------------------------------------------------------------------------------


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def reference(uri: str, data: bytes) -> str:
    """Return the text that stands for the file ``uri`` holding ``data``."""
    return "@%s#sha256=%s&size=%d" % (uri, digest(data), len(data))


def parse_reference(text: str) -> tuple[str, str, int]:
    """Return uri, SHA-256 and size in bytes of a reference; :class:`ProtocolError` if it is damaged."""
    uri, _, fragment = text[1:].rpartition("#")
    parts = dict(part.partition("=")[::2] for part in fragment.split("&"))
    if text[:6] != "@gs://" or set(parts) != {"sha256", "size"} or not parts["size"].isdigit():
        raise ProtocolError("not a reference to a value's file: %.200r" % text)
    return uri, parts["sha256"], int(parts["size"])


def fetch(text: str, read: Callable[[str], bytes] | None) -> str:
    """Return the protocol text in the file that ``text`` refers to."""
    uri, expected, size = parse_reference(text)
    if read is None:
        raise ProtocolError("the value is in %s, and no reader for files was given" % uri)
    return checked(uri, read(uri), size, expected).decode("ascii")


def checked(uri: str, data: bytes, size: int, expected: str) -> bytes:
    """Return ``data`` if they are what was written to ``uri``."""
    if len(data) != size or digest(data) != expected:
        raise unlike(uri, size, expected, len(data), digest(data))
    return data


def unlike(uri: str, size: int, expected: str, found_size: int, found: str) -> ProtocolError:
    """Return the error about a file that is not what a task wrote."""
    return ProtocolError(
        "%s is not the file that was written: expected %d bytes with SHA-256 %s, found %d bytes with %s"
        % (uri, size, expected, found_size, found)
    )


def argument_cost(text: str) -> int:
    """Return how many bytes ``text`` takes, at worst, of a command line that holds the executor input.

    It stands there twice (``parameterValues`` and the typed ``parameters``, vertex-observed.md, 4),
    escaped as JSON once, and once more where a custom job's payload holds the executor input. Some JSON
    writers escape the characters counted separately; which one Vertex uses is not known.
    """
    extra = sum(map(text.count, "<>&='\x7f"))
    return 2 * (len(json.dumps(json.dumps(text))) + 6 * extra)


def gcs_root() -> str:
    """Return the folder that Cloud Storage is mounted in."""
    return os.environ.get("AIRFLOW_VERTEX_GCS_ROOT", "/gcs").rstrip("/")


def read_gcs(uri: str, what: str = "an earlier task left a value") -> bytes:
    """Return the content of a ``gs://`` file, through the mounted folder.

    :param what: what happened there, for messages.
    """
    path = gcs_root() + uri[4:]
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(uri, path, error, what) from None


def unreadable(
    uri: str, path: str, error: OSError, what: str = "an earlier task left a value"
) -> VertexRuntimeError:
    """Return the error about a file that is not there or may not be read."""
    return VertexRuntimeError(
        "cannot read %s, where %s (looked in %s: %s)" % (uri, what, path, error.strerror or error)
    )


def keep(text: str, config: dict[str, Any], path: str) -> str:
    """Return ``text``, or a reference to the file ``path`` that it is written to when it is too large."""
    if len(text) <= config.get("value_limit", len(text)) and argument_cost(text) <= config["inline_limit"]:
        return text
    write(path, text)
    return reference(uri_of(path), text.encode("ascii"))


def local_path(path: str) -> str:
    """Return where the file that Vertex calls ``path`` really is: the mount point can be moved."""
    return gcs_root() + path[4:] if path[:5] == "/gcs/" else path


def uri_of(path: str) -> str:
    """Return the ``gs://`` address of a file under the mounted folder."""
    root = gcs_root() + "/"
    if path[: len(root)] != root:
        raise VertexRuntimeError("%s is outside %s, so it has no gs:// address" % (path, root))
    return "gs://" + path[len(root) :]


def write(path: str, text: str) -> None:
    """Write ``text`` so that a reader sees either nothing or all of it."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(path + ".part", path)


# --- objects in files ------------------------------------------------------------------------------------


def use_writers(config: dict[str, Any], folder: str) -> Any:
    """Return the function that writes objects into files of the task's folder, each object once."""
    # By its id; the object is held too, so that the id stays its own.
    written: dict[int, Any] = {}

    def apart(value: Any, where: str, carried: bool) -> Any:
        if carried and not config.get("serializers"):
            return None
        if id(value) not in written:
            path = "%s/airflow_value_%d" % (folder, len(written))
            data = write_object(config, value, where, path, carried)
            if data is None:
                return None
            written[id(value)] = (value, data)
        return {"$file": written[id(value)][1]}

    return apart


def write_object(config: dict[str, Any], value: Any, where: str, path: str, carried: bool) -> Any:
    """Write an object with the first serialiser that can, and return the content of its tag.

    :param carried: JSON can carry the value, so only a serialiser for its very class is meant.
    """
    kind = type(value)
    bases = ["%s.%s" % (base.__module__, base.__qualname__) for base in kind.__mro__]
    # The libraries' own module names change from version to version.
    short = "%s.%s" % (kind.__module__.partition(".")[0], kind.__qualname__)
    faults = ""
    for name, form in config["writers"].items():
        *types, extension = form.split()
        own = (config.get("serializers") or {}).get(name)
        catch_all = types == ["builtins.object"]
        if carried and (catch_all or not own):
            continue
        if not (catch_all or (set(types) & set(bases) if own else short in types)):
            continue
        import tempfile

        with tempfile.TemporaryDirectory(prefix="airflow-vertex-") as scratch:
            local = "%s/value.%s" % (scratch, extension)
            try:
                write = part("use_serializers")(own, "write") if own else part("write_" + name)
                metadata = write(value, local)
                dump(metadata)
                target = "%s.%s" % (path, extension)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                sha256, size = copy(local, target + ".part")
            except Exception as error:
                faults += "; serialiser %r: %s: %s" % (name, type(error).__name__, error)
                continue
        os.replace(target + ".part", target)
        return {
            "uri": uri_of(target),
            "sha256": sha256,
            "size": size,
            "as": name,
            "type": short if short in types else bases[0],
            "metadata": metadata or {},
        }
    if carried and not faults:
        return None
    raise ProtocolError(
        "%s is of type %s, which cannot be carried between tasks; use JSON values, tuple, set, frozenset, "
        "bytes, datetime, date, timedelta, what one of the serialisers %s takes, or name one for it, as "
        "serializers=['pickle']%s" % (where or "the value", bases[0], ", ".join(config["writers"]), faults)
    )


def copy(source: str, target: str) -> tuple[str, int]:
    """Copy a file piece by piece and return its SHA-256 and size."""
    import hashlib

    found, size = hashlib.sha256(), 0
    with open(source, "rb") as reader, open(target, "wb") as writer:
        for piece in iter(lambda: reader.read(1 << 20), b""):
            writer.write(piece)
            found.update(piece)
            size += len(piece)
    return found.hexdigest(), size


def use_readers(config: dict[str, Any]) -> Any:
    """Return the function that reads a task's values that lie outside the text."""
    return lambda name, content: open_file(config, content)


def open_file(config: dict[str, Any], content: Any) -> Any:
    """Return the object in a file, which must be the one that was written."""
    uri, name = content["uri"], content["as"]
    if name not in config["readers"]:
        raise ProtocolError(
            "%s was written by the serialiser %r; this task knows: %s"
            % (uri, name, ", ".join(config["readers"]))
        )
    path = gcs_root() + uri[4:]
    import tempfile

    with tempfile.TemporaryDirectory(prefix="airflow-vertex-") as scratch:
        # Read from a copy, so that what is read is what was checked.
        local = "%s/%s" % (scratch, os.path.basename(path))
        try:
            found, size = copy(path, local)
        except OSError as error:
            raise unreadable(uri, path, error) from None
        if (found, size) != (content["sha256"], content["size"]):
            raise unlike(uri, content["size"], content["sha256"], size, found)
        own = (config.get("serializers") or {}).get(name)
        try:
            if own:
                return part("use_serializers")(own, "read")(local)
            return part("read_" + name)(local, content)
        except Exception as error:
            hint = ""
            if isinstance(error, ImportError):
                hint = "; this task's image lacks a library: another image, or packages=[...], brings it"
            elif content["type"][:9] == "__main__.":
                hint = "; a class of the DAG's file reaches only functions that name it"
            raise ProtocolError(
                "the serialiser %r cannot read the %s in %s: %s: %s%s"
                % (name, content["type"], uri, type(error).__name__, error, hint)
            ) from error


def use_serializers(own: dict[str, Any], verb: str) -> Any:
    """Return the function of another package's serialiser that writes or reads."""
    spec = own[verb]
    space: dict[str, Any] = dict(present(spec.get("closure") or {}, {}), __name__="serializer")
    for first, text in [*(spec.get("reached") or ()), (spec["line"], spec["source"])]:
        exec(compiled(text, spec["file"], first, spec.get("postponed", True)), space)
    return space[spec["function"]]


def write_numpy(value: Any, path: str) -> dict[str, Any]:
    """Write an array as npy, which holds no objects."""
    import numpy

    form = numpy.lib.format
    if form.descr_to_dtype(form.dtype_to_descr(value.dtype)) != value.dtype:
        raise ValueError("the dtype %s would not come back as it is" % value.dtype)
    numpy.save(path, value, allow_pickle=False)
    return {"shape": list(value.shape), "dtype": str(value.dtype)}


def read_numpy(path: str, content: Any) -> Any:
    """Read an array."""
    import numpy

    return numpy.load(path, allow_pickle=False)


def write_pandas(value: Any, path: str) -> dict[str, Any]:
    """Write a frame or a series as parquet, and see whether it comes back."""
    series = value.ndim == 1
    frame = value.to_frame("value") if series else value
    frame.to_parquet(path, engine="pyarrow")
    metadata: dict[str, Any] = {"rows": len(frame)}
    if series:
        metadata.update(dtype=str(value.dtype), name=tag(value.name, "name", []))
    else:
        metadata.update(columns=frame.shape[1])
    # A PeriodIndex keeps its frequency in its dtype.
    if type(frame.index).__name__ in ("DatetimeIndex", "TimedeltaIndex") and frame.index.freq is not None:
        metadata.update(freq=frame.index.freqstr)
    back = read_pandas(path, {"metadata": {}})
    # pandas 3 makes texts of objects, and parquet knows neither seconds nor categories of numbers.
    now = list(map(str, back.dtypes))
    dtypes = {str(n): was for n, was in enumerate(map(str, frame.dtypes)) if was != now[n]}
    if dtypes:
        metadata.update(dtypes=dtypes)
    if list(back.index.names) != list(frame.index.names):
        metadata.update(names=tag(list(frame.index.names), "names of the index", []))
    back = restored(back, metadata)
    if series:
        wrong = [] if back.name == value.name or value.name is None is back.name else ["name"]
        back = back.to_frame("value")
    else:
        wrong = [] if like(back.columns, frame.columns) else ["column names"]
    if not like(back.index, frame.index) or getattr(back.index, "freq", None) != getattr(
        frame.index, "freq", None
    ):
        wrong.append("index")
    if back.attrs != frame.attrs:
        wrong.append("attrs")
    for number in range(frame.shape[1]):
        old, new = frame.iloc[:, number], back.iloc[:, number]
        # Of the two marks for a missing object, None and NaN, parquet has one.
        if old.dtype != new.dtype or not (
            old.isna().equals(new.isna())
            and old.dropna().equals(new.dropna())
            and (old.dtype != "object" or kept(old.dropna()) == kept(new.dropna()))
        ):
            wrong.append("values" if series else "column %r" % (frame.columns[number],))
    if wrong:
        raise ValueError("would come back from parquet changed: %s" % ", ".join(wrong[:9]))
    return metadata


def kept(objects: Any) -> Any:
    """Return what two columns of equal objects may still differ in."""
    if set(map(type, objects)) <= {str, bool, bytes}:
        return None
    told: list[Any] = []
    for value in objects:
        if type(value) in (dict, list, tuple, set, bytearray):
            told.append(repr(value))
        elif hasattr(value, "utcoffset"):
            told.append(value.utcoffset())
        else:
            told.append(isinstance(value, float) or getattr(getattr(value, "dtype", 0), "kind", 0) == "f")
    return told


def like(one: Any, other: Any) -> bool:
    """Say whether two indexes of pandas have the same labels, types and names."""
    return bool(one.equals(other) and one.dtype == other.dtype and list(one.names) == list(other.names))


def read_pandas(path: str, content: Any) -> Any:
    """Read a frame or a series."""
    import pandas

    return restored(pandas.read_parquet(path, engine="pyarrow"), content["metadata"])


def restored(frame: Any, metadata: Any) -> Any:
    """Return a frame with what parquet does not keep, or the series in it."""
    if "freq" in metadata:
        frame.index = type(frame.index)(frame.index, freq=metadata["freq"])
    for number, dtype in metadata.get("dtypes", {}).items():
        frame.isetitem(int(number), frame.iloc[:, int(number)].astype(dtype))
    if "names" in metadata:
        frame.index.names = untag(metadata["names"])
    if "name" not in metadata:
        return frame
    series = frame["value"]
    series.name = untag(metadata["name"])
    return series


def write_polars(value: Any, path: str) -> dict[str, Any]:
    """Write a frame of polars as parquet, and see whether it comes back."""
    value.write_parquet(path)
    if read_polars(path, None).schema != value.schema:
        raise ValueError("the schema would not come back from parquet as it is: %s" % value.schema)
    return {"rows": value.height, "columns": value.width}


def read_polars(path: str, content: Any) -> Any:
    """Read a frame of polars."""
    import polars

    return polars.read_parquet(path)


def write_pyarrow(value: Any, path: str) -> dict[str, Any]:
    """Write a table of Arrow as parquet, and see whether it comes back."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(value, path)
    found = pyarrow.parquet.ParquetFile(path).schema_arrow
    if not found.equals(value.schema):
        raise ValueError("the schema would come back from parquet as %s" % found)
    return {"rows": value.num_rows, "columns": value.num_columns}


def read_pyarrow(path: str, content: Any) -> Any:
    """Read a table of Arrow."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).read()


def write_pickle(value: Any, path: str) -> None:
    """Write any object with pickle, in the form that Python 3.8 reads."""
    import pickle

    with open(path, "wb") as file:
        pickle.dump(value, file, 5)


def read_pickle(path: str, content: Any) -> Any:
    """Read any object with pickle."""
    import pickle

    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301 - asked for by name


def write_joblib(value: Any, path: str) -> None:
    """Write any object with joblib."""
    import joblib

    joblib.dump(value, path)


def read_joblib(path: str, content: Any) -> Any:
    """Read any object with joblib."""
    import joblib

    return joblib.load(path)


# --- what Airflow offers a task -------------------------------------------------------------------------


class AirflowShim:
    """Import hook, last in line: offers Airflow's exceptions when no Airflow is installed.

    Being last, it never hides a real Airflow; being a hook, it costs nothing until somebody asks.
    """

    loaded = False
    offers = ("airflow.exceptions.", "airflow.sdk.exceptions.", "airflow.providers.common.compat.sdk.")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for ``airflow`` and, once that was ours, for the modules below it that we offer."""
        if name == "airflow":
            self.loaded = True
        elif not self.loaded or not any(offer.startswith(name + ".") for offer in self.offers):
            return None
        return type(sys.__spec__)(name, self, is_package=not name.endswith("exceptions"))  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        if module.__name__ != "airflow":
            for kind in (AirflowException, AirflowSkipException, AirflowFailException):
                setattr(module, kind.__name__, kind)


class AirflowException(Exception):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


class AirflowSkipException(AirflowException):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


class AirflowFailException(AirflowException):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


# --- logging --------------------------------------------------------------------------------------------


def show_info(logging: Any) -> None:
    """Let what is logged from level INFO on be printed."""
    logging.basicConfig(stream=sys.stdout, level="INFO", format="%(levelname)s %(name)s: %(message)s")


class LoggingHook:
    """Import hook, first in line: sets logging up once somebody imports it, which is dear itself."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for ``logging``, once: with what would be found without this hook."""
        if name != "logging":
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            show_info(module)

        spec.loader.exec_module = exec_module
        return spec


# --- running --------------------------------------------------------------------------------------------


def resolve(node: Any, inputs: dict[str, Any]) -> Any:
    """Return the value of a configuration node; see :mod:`airflow_vertex_provider.runtime.protocol`."""
    if isinstance(node, list):
        return [resolve(item, inputs) for item in node]
    if not isinstance(node, dict):
        return node
    form = next(iter(node), "")
    if form[:1] != "$":
        return {key: resolve(item, inputs) for key, item in node.items()}
    if form == "$lit":
        return untag(node[form])
    function = part("node_" + form[1:])
    if not function:
        raise VertexRuntimeError("unknown node %r" % form)
    return function(node, inputs)


def node_in(node: dict[str, Any], inputs: dict[str, Any], missing: Any = None) -> Any:
    """``{"$in": input}``: an input; of a list of texts, as a loop's tasks leave it, what they pushed.

    :param missing: stands for a value that Airflow would have pushed nothing of.
    """
    name = node["$in"]
    text = inputs.get(name)
    if node.get("raw") and name in inputs:
        return text
    find = inputs.get("$find", Apart)
    if isinstance(text, list) and not node.get("text"):
        values = [node_in(node, {name: item, "$find": find}, ABSENT) for item in text]
        return [value for value in values if value is not ABSENT]
    if not isinstance(text, str):
        raise VertexRuntimeError(
            "input %r: expected a text in the executor input, found %s" % (name, type(text).__name__)
        )
    if node.get("text"):
        return text
    try:
        if "get" not in node:
            value = decode(text, read_gcs, find)
            return missing if value is None else value
        # The files of the item alone are read.
        return item_of(decode(text, read_gcs), node["get"], missing, find)
    except VertexRuntimeError as error:
        raise VertexRuntimeError("input %r: %s" % (name, error)) from error.__cause__


def item_of(value: Any, key: str, missing: Any, find: Any) -> Any:
    """Return one item of a value whose items are outputs of their own."""
    if value is None:
        return missing
    if not isinstance(value, dict):
        raise VertexRuntimeError(
            "key %r is wanted, but the value is no dict but %s" % (key, type(value).__name__)
        )
    return untag(tag(value[key], "", []), find) if key in value else missing


def node_tuple(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$tuple": [node, ...]}``: a tuple."""
    return tuple(resolve(node["$tuple"], inputs))


def node_dict(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$dict": [[key, value], ...]}``: a dict whose keys are nodes too."""
    return {resolve(key, inputs): resolve(item, inputs) for key, item in node["$dict"]}


def node_value(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$value": true}``: what the task itself returned, as a reader of it would see it."""
    return inputs["$value"]


def node_zip(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$zip": [node, ...], "fill": node}``: tuples of what stands at the same place, as XComArg.zip."""
    values = [sequence(item, inputs, "zip") for item in node["$zip"]]
    fill = [resolve(node["fill"], inputs)] if "fill" in node else []
    count = (max if fill else min)(map(len, values))

    def take(value: Any, index: int) -> Any:
        try:
            return value[index]
        except LookupError:
            if fill:
                return fill[0]
        raise VertexRuntimeError("zip: a dict has no item %d" % index)

    return [tuple([take(value, index) for value in values]) for index in range(count)]


def node_concat(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$concat": [node, ...]}``: all items in one list, of a dict its keys, as XComArg.concat."""
    return [item for value in node["$concat"] for item in sequence(value, inputs, "concat")]


def sequence(node: Any, inputs: dict[str, Any], verb: str) -> Any:
    """Return the value of a node that must have items."""
    value = resolve(node, inputs)
    if not isinstance(value, (list, tuple, dict, str, bytes)):
        raise VertexRuntimeError("%s expects a sequence or dict, not %s" % (verb, type(value).__name__))
    return value


class Given:
    """An object of Airflow's context, with the attributes that were known when the job was submitted."""

    def __init__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "%r is not known inside a Vertex task; known are: %s" % (name, ", ".join(vars(self)))
        )


def node_object(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$object": {attribute: node}}``: an object of Airflow's context, as ``dag_run``."""
    return Given(present(node["$object"], inputs))


def present(nodes: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the values of named nodes without the absent ones."""
    values = {name: resolve(node, inputs) for name, node in nodes.items()}
    return {name: value for name, value in values.items() if value is not ABSENT}


# --- artifacts ------------------------------------------------------------------------------------------


class Artifact:
    """Something a task leaves in Cloud Storage: a file or a folder, and what is known of it.

    Where the author's code has loaded kfp, its classes take the place of these.

    :param name: its resource name in Vertex's metadata, if it is known.
    :param uri: its address, ``gs://bucket/path``.
    :param metadata: what is known of it, plain JSON.
    """

    schema_title = "system.Artifact"
    schema_version = "0.0.1"

    def __init__(
        self, name: str | None = None, uri: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.name = name or ""
        self.uri = uri or ""
        self.metadata: dict[str, Any] = metadata or {}

    @property
    def path(self) -> str:
        """Where it lies for ordinary file functions: below the folder that Cloud Storage is mounted in."""
        return gcs_root() + self.uri[4:] if self.uri[:5] == "gs://" else self.uri

    @path.setter
    def path(self, path: str) -> None:
        self.uri = address(path)


class Dataset(Artifact):
    """Data."""

    schema_title = "system.Dataset"


class Model(Artifact):
    """A model."""

    schema_title = "system.Model"

    @property
    def framework(self) -> str:
        """What it was made with; an entry of its metadata."""
        return str(self.metadata.get("framework", ""))

    @framework.setter
    def framework(self, framework: str) -> None:
        self.metadata["framework"] = framework


class Metrics(Artifact):
    """Numbers by name, which Vertex shows and compares between runs."""

    schema_title = "system.Metrics"

    def log_metric(self, metric: str, value: float) -> None:
        """Set one number."""
        self.metadata[metric] = value


class ClassificationMetrics(Artifact):
    """A confusion matrix and a ROC curve, which Vertex draws."""

    schema_title = "system.ClassificationMetrics"

    def log_roc_data_point(self, fpr: float, tpr: float, threshold: float) -> None:
        """Add one point to the ROC curve."""
        point = {"confidenceThreshold": threshold, "recall": tpr, "falsePositiveRate": fpr}
        self.metadata.setdefault("confidenceMetrics", []).append(point)

    def log_roc_curve(self, fpr: Sequence[float], tpr: Sequence[float], threshold: Sequence[float]) -> None:
        """Add points to the ROC curve; ``ValueError`` if the three are not of one length."""
        if not len(fpr) == len(tpr) == len(threshold):
            raise ValueError(
                "fpr, tpr and threshold must be of one length, found %d, %d and %d"
                % (len(fpr), len(tpr), len(threshold))
            )
        for number, value in enumerate(threshold):
            self.log_roc_data_point(fpr[number], tpr[number], value)

    def set_confusion_matrix_categories(self, categories: Iterable[str]) -> None:
        """Begin a confusion matrix, all zero."""
        names = list(categories)
        self.metadata["confusionMatrix"] = {
            "annotationSpecs": [{"displayName": name} for name in names],
            "rows": [{"row": [0] * len(names)} for _ in names],
        }

    def _place(self, category: str) -> int:
        """Return which row and column of the confusion matrix a category has."""
        specs = self.metadata.get("confusionMatrix", {}).get("annotationSpecs", ())
        names = [spec["displayName"] for spec in specs]
        if category not in names:
            raise ValueError("found category %r; allowed: %s" % (category, ", ".join(map(str, names))))
        return names.index(category)

    def log_confusion_matrix_row(self, row_category: str, row: Iterable[float]) -> None:
        """Set one row; ``ValueError`` if it does not fit the categories."""
        place, found = self._place(row_category), list(row)
        rows = self.metadata["confusionMatrix"]["rows"]
        if len(found) != len(rows):
            raise ValueError(
                "found a row of %d; allowed: %d, one for each category" % (len(found), len(rows))
            )
        rows[place] = {"row": found}

    def log_confusion_matrix_cell(self, row_category: str, col_category: str, value: float) -> None:
        """Set one cell; ``ValueError`` if a category is unknown."""
        row, column = self._place(row_category), self._place(col_category)
        self.metadata["confusionMatrix"]["rows"][row]["row"][column] = value

    def log_confusion_matrix(self, categories: Iterable[str], matrix: Iterable[Iterable[float]]) -> None:
        """Set the whole matrix; ``ValueError`` if it is not square in the categories."""
        names, rows = list(categories), list(matrix)
        if len(rows) != len(names):
            raise ValueError("found %d rows; allowed: %d, one for each category" % (len(rows), len(names)))
        self.set_confusion_matrix_categories(names)
        for number, name in enumerate(names):
            self.log_confusion_matrix_row(name, rows[number])


class HTML(Artifact):
    """A page, which Vertex shows."""

    schema_title = "system.HTML"


class Markdown(Artifact):
    """A text, which Vertex shows."""

    schema_title = "system.Markdown"


ARTIFACTS = [Artifact, Dataset, Model, Metrics, ClassificationMetrics, HTML, Markdown]


def address(path: str) -> str:
    """Return the ``gs://`` address of a path below the mounted folder; anything else as it is."""
    for root in (gcs_root() + "/", "/gcs/"):
        if path.startswith(root):
            return "gs://" + path[len(root) :]
    return path


def make_artifact(given: dict[str, Any], title: str) -> Any:
    """Return the object for an artifact, of the class that goes with its type.

    :param given: ``name``, ``uri`` and ``metadata``. :param title: its type, ``system.Model``.
    """
    uri, kinds = address(given.get("uri") or ""), {kind.schema_title: kind for kind in ARTIFACTS}
    kind = kinds.get(title, Artifact)
    names = ("kfp.dsl", "airflow_vertex_provider.artifacts")
    # What use_artifact_types offers has no file.
    theirs: list[Any] = [found for found in map(sys.modules.get, names) if hasattr(found, "__file__")]
    if theirs:
        kind = getattr(theirs[0], kind.__name__, theirs[0].Artifact)
    if kind.__module__[:4] == "kfp." and gcs_root() != "/gcs" and uri[:5] == "gs://":
        uri = gcs_root() + uri[4:]  # kfp knows no other place to mount at
    made = kind(name=given.get("name") or "", uri=uri, metadata=dict(given.get("metadata") or {}))
    if kind.schema_title != title:
        made.schema_title = title
    return made


def node_output(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$output": name, "as": type}``: the artifact that the task is to write."""
    name, made = node["$output"], inputs["$"].setdefault("$made", {})
    if name not in made:
        (given,) = inputs["$"]["outputs"]["artifacts"][name]["artifacts"]
        made[name] = make_artifact(given, node["as"])
        os.makedirs(os.path.dirname(made[name].path), exist_ok=True)
    return made[name]


def node_artifact(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$artifact": node, "as": type}``: an artifact, or a list of them, from what says which it is."""
    inner, wanted = node["$artifact"], node.get("as")
    name = inner.get("$in") if isinstance(inner, dict) else None
    given = inputs["$"].get("inputs", {}).get("artifacts", {})
    if name in given:  # of a component, which leaves no text
        found = [dict(item, type=title_of(item)) for item in given[name]["artifacts"]]
        return as_artifact(found if node.get("list") else found[0], wanted, "input %r" % name)
    # Another task's object in a file is an artifact too, and not opened.
    value = resolve(inner, dict(inputs, **{"$find": outside}))
    if name and name + "_artifact" in given and isinstance(value, dict):
        value = dict(given[name + "_artifact"]["artifacts"][0], **value)
    return as_artifact(value, wanted, "input %r" % name if name else "an argument")


def title_of(given: dict[str, Any]) -> str:
    """Return the type of an artifact in the executor input; some have a schema without a title."""
    kind = given.get("type") or {}
    return kind.get("schemaTitle") or kind.get("instanceSchema") or ""


def as_artifact(value: Any, wanted: str | None, where: str) -> Any:
    """Return the artifact that a dict with ``uri``, ``type`` and ``metadata``, or an address, stands for."""
    if value is None or value is ABSENT:
        return value
    if isinstance(value, list):
        return [as_artifact(item, wanted, "%s[%d]" % (where, number)) for number, item in enumerate(value)]
    if isinstance(value, str) and "://" in value:
        value = {"uri": value}
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        raise VertexRuntimeError(
            "%s: an artifact is wanted: a dict with uri, type and metadata, or an address such as gs://bucket/"
            "path; found %.60r" % (where, value)
        )
    anything = ("", None, "system.Artifact")
    title = value.get("type")
    if title not in anything and wanted not in anything and title != wanted:
        raise VertexRuntimeError("%s: found an artifact of type %s; allowed: %s" % (where, title, wanted))
    return make_artifact(value, wanted if title in anything else title)  # type: ignore[arg-type]


def plain(value: Any, where: str) -> Any:
    """Return metadata as Vertex can hold them: JSON alone; numbers and arrays of NumPy become that."""
    if isinstance(value, dict):
        return {str(key): plain(item, "%s.%s" % (where, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, "%s[%d]" % (where, number)) for number, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    raise VertexRuntimeError(
        "%s: found %.60r, of type %s; allowed in metadata: text, finite numbers, True, False, None, lists "
        "and dicts of them" % (where, value, type(value).__name__)
    )


def use_artifacts(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return what is known of the task's artifacts, as texts, and leave it for the executor output too."""
    values: dict[str, Any] = {}
    names, written = config["artifacts"], {}
    if config.get("multiple_outputs") and isinstance(value, dict) and set(value) & set(names):
        raise TypeError(
            "found keys of the value that artifacts have too: %s; allowed with multiple_outputs, which a "
            "dict as return annotation switches on: other keys" % sorted(set(value) & set(names))
        )
    for name, title in names.items():
        text = SKIPPED
        if value is not NOT_RUN:
            made = inputs["$"]["$made"][name]
            if not isinstance(made.uri, str) or not isinstance(made.metadata or {}, dict):
                raise VertexRuntimeError(
                    "%s: found uri %.60r and metadata %.60r; allowed: a text and a dict"
                    % (name, made.uri, made.metadata)
                )
            found = {"uri": address(made.uri), "metadata": plain(made.metadata or {}, name + ".metadata")}
            written[name] = {"artifacts": [dict(found, name=made.name)]}
            text = encode(dict(found, type=title))
            if name in config.get("linked", ()) and argument_cost(text) > config["inline_limit"]:
                raise VertexRuntimeError(
                    "%s.metadata: found %d bytes; allowed: what fits an argument of the tasks that take it, "
                    "some %d bytes; write them to a file" % (name, len(text), config["inline_limit"] // 2)
                )
        path = "%s/airflow_artifact_%s.json" % (folder, name)
        values["Artifact_" + name] = keep(text, config, path)
        if name in config.get("uris", ()):
            values["Uri_" + name] = "null" if value is NOT_RUN else bare_text(found["uri"])
    inputs["$"]["$written"] = {"artifacts": written}
    return values


class ArtifactTypes:
    """Import hook, last in line: what annotations of artifacts are made of, where the image has it not."""

    offers = ("kfp", "kfp.dsl", "airflow_vertex_provider", "airflow_vertex_provider.artifacts")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for the modules that offer these names."""
        return type(sys.__spec__)(name, self, is_package=True) if name in self.offers else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        for kind in (*ARTIFACTS, Input, Output):
            setattr(module, kind.__name__, kind)
        if module.__name__ == "kfp":
            __import__("kfp.dsl")


class Input:
    """Stands for the mark of an input in annotations, which nothing reads here."""

    def __class_getitem__(cls, kind: Any) -> Any:
        return kind


class Output(Input):
    """Likewise of an output."""


def use_artifact_types() -> None:
    """Let the author's code import the names of artifacts, whatever the image has."""
    sys.meta_path.append(ArtifactTypes())


# --- states ---------------------------------------------------------------------------------------------


def state_of(text: str) -> str:
    """Return what became of the task that a text came from, its output or a gate's decision."""
    return {SKIPPED: "skipped", "skip": "skipped", FAILED: "failed"}.get(text, "success")


def decide(
    rule: str,
    states: Sequence[str],
    setup_states: Sequence[str] = (),
    setups: Sequence[str] = (),
    follow: Sequence[str] = (),
) -> str:
    """Return ``run``, ``skip`` or ``fail``: what Airflow's TriggerRuleDep makes of tasks that have ended."""
    if "skip" in follow:
        return "skip"
    if not states or rule == "always":
        return "run"
    for bad, verdict in (("failed", "fail"), ("upstream_failed", "fail"), ("skipped", "skip")):
        if bad in setups:
            return verdict
    every = len(states)
    success, skipped, failed = map(states.count, ("success", "skipped", "failed"))
    unsuccessful = every - success - skipped
    idle = len(setup_states) and "success" not in setup_states
    fail, skip = {
        "all_success": (unsuccessful, skipped),
        "all_failed": (0, success + skipped),
        "all_done": (0, 0),
        "all_done_min_one_success": (not (success or skipped), skipped),
        "all_done_setup_success": (idle and set(setup_states) != {"skipped"}, idle),
        "one_success": (not success and skipped < every, not success),
        "one_failed": (0, not unsuccessful),
        "one_done": (0, not (success or failed)),
        "none_failed": (unsuccessful, 0),
        "none_failed_min_one_success": (unsuccessful, not success),
        "none_skipped": (0, skipped),
        "all_skipped": (0, skipped < every),
    }[rule]
    return "fail" if fail else "skip" if skip else "run"


def texts_of(names: Iterable[str], inputs: dict[str, Any]) -> list[str]:
    """Return the texts of inputs; a loop that ran no task counts as one task that was skipped."""
    texts: list[str] = []
    for name in names:
        text = inputs.get(name)
        for item in (text or [SKIPPED]) if isinstance(text, list) else [text]:
            if not isinstance(item, str):
                raise VertexRuntimeError("input %r: expected a text, found %s" % (name, type(item).__name__))
            texts.append(item)
    return texts


def states_of(names: Iterable[Any], inputs: dict[str, Any]) -> list[str]:
    """Return the states that inputs tell; a gate in place of a name stands for what it decides about."""
    states: list[str] = []
    for name in names:
        verdict = judge(name, inputs)[0] if isinstance(name, dict) else "run"
        told = name.get("of") if isinstance(name, dict) else name
        if verdict == "run" and told:
            states += map(state_of, texts_of([told], inputs))
        else:
            states.append({"run": "success", "skip": "skipped", "fail": "upstream_failed"}[verdict])
    return states


def judge(gate: dict[str, Any], inputs: dict[str, Any]) -> tuple[str, str]:
    """Return what :func:`decide` says of a gate's inputs, and why."""
    found, setup_states, setups = [
        states_of(gate.get(key, ()), inputs) for key in ("states", "setup_states", "setups")
    ]
    follow = texts_of(gate.get("follow", ()), inputs)
    verdict = decide(gate["rule"], found, setup_states, setups, follow)
    if "skip" in follow:
        return verdict, "an earlier task chose to skip it"
    if setups.count("success") < len(setups):
        return verdict, "a setup task did not succeed"
    success, skipped = found.count("success"), found.count("skipped")
    return verdict, "trigger rule %r found %d of %d upstream tasks succeeded, %d skipped, %d failed" % (
        gate["rule"],
        success,
        len(found),
        skipped,
        len(found) - success - skipped,
    )


def use_gate(config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Return ``run`` or ``skip``, from what became of the tasks before this one.

    :raises UpstreamFailed: neither; Airflow calls such a task upstream_failed.
    """
    verdict, why = judge(config["gate"], inputs)
    if verdict == "fail":
        raise UpstreamFailed("not run: " + why)
    if verdict == "skip":
        print("airflow-vertex: skipped: " + why, flush=True)
    return verdict


def use_from_handoff(config: dict[str, Any], inputs: dict[str, Any], job: str) -> None:
    """Take inputs from the files that tasks of this job left for it."""
    for name, task in config["from_handoff"].items():
        try:
            with open("%s/airflow_handoff/%s.json" % (job, task), encoding="ascii") as file:
                inputs[name] = file.read()
        except FileNotFoundError:
            inputs[name] = FAILED


# --- loops ----------------------------------------------------------------------------------------------


def items_of(value: Any) -> Any:
    """Return the items that tasks are mapped over; of a dict its pairs, as in Airflow."""
    if value is None:
        raise XComForMappingNotPushed("did not push a value, though tasks are mapped over it")
    if not isinstance(value, (list, tuple, dict)):
        raise UnmappableXComTypePushed(
            "tasks are mapped over the value, so it must be a list, tuple or dict, not %s"
            % type(value).__name__
        )
    return value.items() if isinstance(value, dict) else value


def expand_items(
    form: str, fields: Sequence[tuple[str, Any]], text: Iterable[str], keep: Callable[[str, str], str]
) -> list[dict[str, str]]:
    """Return the items of a loop, one for each of the tasks that Airflow would expand into, in its order.

    :param form: ``product``: every combination of the fields' items, the last field changing fastest;
        ``kwargs``: one field, whose items are dicts of arguments.
    :param text: fields whose items are wanted as bare text too.
    :param keep: takes a protocol text and a hint for a file's name, returns the text or its reference.
    """
    result: list[dict[str, str]] = [{}]
    for name, value in fields:
        # In steps: a field's item is written once, however many combinations it stands in.
        column = []
        for number, item in enumerate(items_of(value)):
            if form == "kwargs" and not (isinstance(item, dict) and all(type(key) is str for key in item)):
                raise UnmappableXComTypePushed(
                    "expand_kwargs() expects a list of dicts whose keys are str, found %.60r" % (item,)
                )
            entry = {name: keep(encode(item), "%s_%d" % (name, number))}
            if name in text:
                entry[name + "__text"] = bare_text(item)
            column.append(entry)
        result = [dict(item, **entry) for item in result for entry in column]
    return [dict(item, index=str(number)) for number, item in enumerate(result)]


def as_rendered(value: Any) -> Any:
    """Return a value as Airflow's rendering leaves it, which loses a text's last line feed.

    Airflow renders the dicts of ``expand_kwargs`` even where they are an output.
    """
    if isinstance(value, str):
        if any(mark in value for mark in ("{" + "{", "{%", "{#")):
            raise VertexRuntimeError(
                "expand_kwargs: Airflow would render a text of the dicts, which is not done here: %.60r"
                % value
            )
        return value[:-1] if value[-1:] == "\n" else value
    if type(value) in (list, tuple, set):
        return type(value)(map(as_rendered, value))
    if isinstance(value, dict):
        return {key: as_rendered(item) for key, item in value.items()}
    return value


def closed(value: Any) -> Any:
    """Return a value as those see it who do not open what lies outside the text."""
    return untag(tag(value, "", []), outside)


def bare_text(value: Any) -> str:
    """Return a value as a container's argument: a ``str`` as it is, others as JSON."""
    bare = str.__str__(value) if isinstance(value, str) else encode(closed(value))
    if "{" + "{$" in bare:
        raise VertexRuntimeError("the text for a container's argument holds a Vertex placeholder")
    twice = json.dumps(json.dumps(bare, ensure_ascii=False), ensure_ascii=False)
    size = len(twice.encode("utf-8", "replace"))
    if size > TEXT_LIMIT:
        raise VertexRuntimeError(
            "the text is too long for a container's argument: %d bytes, allowed %d" % (size, TEXT_LIMIT)
        )
    return bare


# --- outputs --------------------------------------------------------------------------------------------


def use_expand(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the items of the loops that run over this task's value or inputs."""
    values: dict[str, Any] = {name: [] for name in config["expand"]}
    if value is NOT_RUN:
        return values
    for name, spec in config["expand"].items():

        def keep_item(text: str, hint: str, path: str = folder + "/airflow_item_" + name) -> str:
            return keep(text, config, "%s_%s.json" % (path, hint))

        fields = spec["fields"] if spec["form"] == "product" else [[spec["field"], spec["node"]]]
        resolved = [(field, resolve(node, inputs)) for field, node in fields]
        if spec.get("rendered"):
            resolved = [(field, as_rendered(found)) for field, found in resolved]
        values[name] = expand_items(spec["form"], resolved, spec.get("text", ()), keep_item)
    return values


def use_mapped_over(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Check a value that tasks are mapped over."""
    if value is not NOT_RUN:
        items_of(value)
    return {}


def use_multiple_outputs(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Check a value whose items are outputs of their own, as Airflow does."""
    good = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if value is not NOT_RUN and value is not None and not good:
        raise TypeError(
            "with multiple_outputs the value must be a dict whose keys are str, found %.60r" % (value,)
        )
    return {}


def use_text_output(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Return the value as text for a container's argument."""
    return {"Text": "null" if value is NOT_RUN else bare_text(value)}


def use_typed(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the value as components take it: JSON of one of Vertex's types."""
    values = {}
    for name, wanted in config["typed"].items():
        kinds: Any = {
            "NUMBER_INTEGER": (int,),
            "NUMBER_DOUBLE": (float, int),
            "BOOLEAN": (bool,),
            "LIST": (list,),
            "STRUCT": (dict,),
        }[wanted]
        found = kinds[0]() if value is NOT_RUN else value
        try:
            text = json.dumps(found, allow_nan=False)
            # Other types inside would become something else; and Vertex keeps numbers as doubles.
            fits = json.loads(text) == found and (wanted != "NUMBER_INTEGER" or abs(found) <= 2**53)
        except (TypeError, ValueError):
            text, fits = "", False
        if type(found) not in kinds or not fits or "{" + "{$" in text:
            raise VertexRuntimeError(
                "output %r must be %s in plain JSON for a component, found %s: %.60r"
                % (name, wanted, type(found).__name__, found)
            )
        values[name] = kinds[0](found)
    return values


def choice(value: Any) -> set[Any]:
    """Return what a branch chose."""
    if value is None:
        return set()
    return set([value] if isinstance(value, str) or not hasattr(value, "__iter__") else value)


def use_branch(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Check that a branch chose what there is."""
    if value is not NOT_RUN:
        chosen = choice(value)
        wrong = {item for item in chosen if not isinstance(item, str)}
        if wrong:
            raise AirflowException(
                "'branch_task_ids' must be None, an id or an iterable of ids, found %r" % wrong
            )
        wrong = chosen - set(config["ids"])
        if wrong:
            raise AirflowException(
                "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: %s." % wrong
            )
    return {}


def use_follow(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return for each follower of a branch or a short circuit whether it goes on: ``run`` or ``skip``."""

    def goes_on(spec: dict[str, Any]) -> Any:
        return value if spec["keep"] is None else choice(value) & set(spec["keep"])

    return {
        name: spec["if_skipped"] if value is NOT_RUN else "run" if goes_on(spec) else "skip"
        for name, spec in config["follow"].items()
    }


def outputs(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the task's outputs; what is large, or no JSON, goes into files first."""
    values: dict[str, Any] = {}

    def use(*keys: str) -> None:
        for key in keys:
            if config.get(key):
                values.update(part("use_" + key)(config, inputs, value, folder))

    use("multiple_outputs", "mapped_over", "branch", "artifacts", "follow")
    others = any(map(config.get, ("text_output", "typed", "expand")))
    output, text = config.get("output", True), SKIPPED
    if value is not NOT_RUN:
        text = "null"
        if others or (output and not config.get("silent")):
            text = encode(value, part("use_writers")(config, folder) if config.get("writers") else None)
        if others:
            # A loop sees the value as a reader does: with text for keys.
            inputs = dict(inputs, **{"$value": untag(json.loads(text))})
            if '"$file":' in text:
                value = untag(json.loads(text), outside)
        if config.get("silent"):
            text = "null"
    use("text_output", "typed", "expand")
    if output:
        values["Output"] = text if text == SKIPPED else keep(text, config, folder + "/airflow_value.json")
        if config.get("handoff"):
            path = "%s/airflow_handoff/%s.json" % (os.path.dirname(folder), config["name"])
            write(path, values["Output"])
    return values


# --- kinds ----------------------------------------------------------------------------------------------


def run_gate(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Return the outputs of a task that only decides whether another one runs."""
    print("airflow-vertex: decides about task %s: %s" % (config["task"], verdict), flush=True)
    values = {"Decision": verdict}
    values.update((name, inputs[source]) for name, source in config.get("relay", {}).items())
    if config.get("expand"):
        values.update(part("use_expand")(config, inputs, None if verdict == "run" else NOT_RUN, folder))
    return values


def run_mark(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Return the outputs of a task that stands for one that was not run."""
    return dict(config["outputs"])


def run_python(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Call the author's function and return the outputs."""
    return author(config, inputs, verdict, folder, part("use_function"))


def run_bash(config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str) -> dict[str, Any]:
    """Run the author's command and return the outputs."""
    return author(config, inputs, verdict, folder, bash)


def author(
    config: dict[str, Any], inputs: dict[str, Any], verdict: str, folder: str, run: Any
) -> dict[str, Any]:
    """Run the author's code, or not, and return the outputs."""
    value = NOT_RUN
    if verdict == "run":
        prepare(config)
        find = part("use_readers")(config) if config.get("readers") else outside
        try:
            value = run(config, dict(inputs, **{"$find": find}))
        except Exception as error:
            if not (config.get("skips") and is_named(error, "AirflowSkipException")):
                raise
            print("airflow-vertex: skipped: the task asked for it: %s" % error, flush=True)
    if not config["chief"]:
        return {}
    try:
        return outputs(config, inputs, value, folder)
    except ProtocolError as error:
        raise ProtocolError("the value returned by the task cannot be carried: %s" % error) from None


def prepare(config: dict[str, Any]) -> None:
    """Make the process ready for the author's code."""
    print(
        "airflow-vertex: task %s runs %s on Python %s"
        % (config["task"], config.get("function", "a bash command"), sys.version.split()[0]),
        flush=True,
    )
    import faulthandler

    faulthandler.enable()  # a crash of native code says where it happened
    sys.meta_path.append(AirflowShim())
    if config.get("artifact_types"):
        part("use_artifact_types")()
    if config.get("packages"):
        part("use_packages")(config)
    if config.get("bundle"):
        part("use_bundle")(config)
    if "logging" in sys.modules:
        show_info(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, LoggingHook())


def use_packages(config: dict[str, Any]) -> None:
    """Install packages into a folder of their own that goes before all others."""
    import tempfile

    packages, target = config["packages"], tempfile.mkdtemp(prefix="airflow-vertex-")
    print("airflow-vertex: installing %s" % ", ".join(packages), flush=True)
    if not (config.get("wheel_cache") and part("use_wheel_cache")(config, target)):
        code, last = pip(config, packages, "install", "--target", target, *indexes(config))
        if code:
            raise VertexRuntimeError("pip could not install %s (exit code %d): %s" % (packages, code, last))
    sys.path.insert(0, target)
    for name, path in (("PYTHONPATH", target), ("PATH", os.path.join(target, "bin"))):
        rest = os.environ.get(name)
        os.environ[name] = path + os.pathsep + rest if rest else path


def pip(config: dict[str, Any], items: list[str], verb: str, *options: str) -> tuple[int, str]:
    """Run pip on requirements or files; return its exit code and the last line it printed."""
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check"]
    command += [*options, *(["--no-deps"] if config.get("pip_no_deps") else [])]
    return stream([*command, "--", *items], None, None)


def indexes(config: dict[str, Any]) -> list[str]:
    """Return pip's options for the indexes to ask."""
    found: list[str] = []
    for url in config.get("pip_index_urls") or ():
        found += ["--extra-index-url" if found else "--index-url", url]
    return found


def use_wheel_cache(config: dict[str, Any], target: str) -> bool:
    """Install from a folder of wheels, and put there what it lacked; ``False`` if that did not succeed.

    Whatever is wrong with the folder is said and costs time; it never decides whether a task can run.
    """
    import sysconfig
    import tempfile

    uri = config["wheel_cache"].rstrip("/")
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        libc = ""  # another C library than GNU's
    # A wheel that was built here fits images with the same Python, machine and C library alone.
    parts = (sys.implementation.cache_tag, sysconfig.get_platform(), libc.replace(" ", "-"))
    folder = "%s%s/%s" % (gcs_root(), uri[4:], "-".join(filter(None, parts)))
    packages, links = config["packages"], ["--find-links", folder]
    found = os.path.isdir(folder)
    if found:
        code, last = pip(config, packages, "install", "--target", target, "--no-index", *links)
        if not code:
            print("airflow-vertex: all of it came from the wheel cache %s" % uri, flush=True)
            return True
        print("airflow-vertex: not all of it came from the wheel cache %s: %s" % (uri, last), flush=True)
    wheels = tempfile.mkdtemp(prefix="airflow-vertex-")
    for more in (links, []) if found else ([],):
        code, last = pip(config, packages, "wheel", "--wheel-dir", wheels, *more, *indexes(config))
        if not code:
            break
    files = [] if code else sorted(os.listdir(wheels))
    paths = [os.path.join(wheels, name) for name in files]
    if not paths or pip(config, paths, "install", "--target", target, "--no-index", "--no-deps")[0]:
        return False
    if config["chief"]:
        try:
            fill(folder, paths, not more)
        except OSError as error:
            print("airflow-vertex: the wheel cache %s could not be filled: %s" % (uri, error), flush=True)
    return True


def fill(folder: str, paths: list[str], renew: bool) -> None:
    """Copy files into a folder that others read and fill: each appears there whole, or not at all."""
    import shutil
    import tempfile

    os.makedirs(folder, exist_ok=True)
    for path in paths:
        place = os.path.join(folder, os.path.basename(path))
        if renew or not os.path.exists(place) or os.path.getsize(place) != os.path.getsize(path):
            handle, scratch = tempfile.mkstemp(".part", dir=folder)
            os.close(handle)
            try:
                shutil.copyfile(path, scratch)
                os.replace(scratch, place)
            except OSError:
                os.remove(scratch)
                raise


def use_bundle(config: dict[str, Any]) -> None:
    """Unpack the author's modules and let imports find them before all but the standard library's."""
    import atexit
    import io
    import shutil
    import tempfile
    import zipfile

    bundle = config["bundle"]
    uri = bundle["uri"]
    data = checked(uri, read_gcs(uri, "the DAG's code was put"), bundle["size"], bundle["sha256"])
    folder = bundle["folder"] = os.path.realpath(tempfile.mkdtemp(prefix="airflow-vertex-"))
    owner = os.getpid()

    def clean() -> None:
        if os.getpid() == owner:  # a forked child may end before the task does
            shutil.rmtree(folder, True)

    atexit.register(clean)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name[:1] == "/" or ".." in name.split("/"):
                raise VertexRuntimeError("%s: %r would leave the folder it is unpacked to" % (uri, name))
        archive.extractall(folder)
    print("airflow-vertex: code from %s" % uri, flush=True)
    roots = [os.path.join(folder, root).rstrip("/") for root in bundle["roots"]]
    # A DAG file may be called like one of Python's modules, and Airflow looks into the DAG folder last.
    lib = os.path.dirname(os.__file__)
    first = [path for path in sys.path if path.startswith(lib) and "-packages" not in path]
    sys.path[:] = first + roots + [path for path in sys.path if path not in first]
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, rest] if rest else roots)


def compiled(source: str, file: str, line: int, postponed: bool) -> Any:
    """Compile a statement of the author's file as if it stood at ``line`` of ``file``.

    The parse side compiles with this function too, to see which names the code would look up.
    """
    import __future__

    # A nested function keeps its indentation, since moving it would change multi-line strings.
    indented = source[:1].isspace()
    text = "\n" * (line - 2) + "if 1:\n" + source if indented else "\n" * (line - 1) + source
    flags = __future__.annotations.compiler_flag
    try:
        if postponed:
            return compile(text, file, "exec", flags, True)
        tree: Any = compile(text, file, "exec", 0x400, True)  # 0x400: give the syntax tree
        for item in tree.body:
            bare(item)
        return compile(tree, file, "exec", 0, True)
    except SyntaxError as error:
        error.msg = "%s (read by Python %s)" % (error.msg, sys.version.split()[0])
        raise


def bare(item: Any) -> None:
    """Drop annotations that nobody reads: of variables, and of functions without decorators.

    Their names may not exist in the image. A decorator may read them, and so may what makes a class.
    """
    if hasattr(item, "simple"):  # an annotated variable
        item.annotation = compile("0", "", "eval", 0x400).body  # type: ignore[attr-defined]
    elif hasattr(item, "decorator_list"):
        spec = getattr(item, "args", None)
        if spec and not item.decorator_list:
            item.returns = None
            for argument in spec.posonlyargs + spec.args + spec.kwonlyargs + [spec.vararg, spec.kwarg]:
                if argument:
                    argument.annotation = None
    else:
        for name in ("body", "orelse", "handlers", "finalbody"):
            for inner in getattr(item, name, ()):
                bare(inner)


def use_source(config: dict[str, Any]) -> Any:
    """Return the author's function, made of its text and of what it reaches in its file."""
    import linecache

    source, file, line = config["source"], config["file"], config["line"]
    # The author's code is the main module: pickling by value (cloudpickle) and forked workers expect it.
    main = type(sys)("__main__")
    sys.modules["__main__"] = main
    if config.get("package"):
        main.__package__ = config["package"]
    vars(main).update(present(config.get("closure") or {}, {}))
    # All lines are there before the first one runs: an error in any of them shows them.
    lines: list[str] = []
    pieces = [*(config.get("reached") or ()), (line, source)]
    for first, text in pieces:
        shown = [row + "\n" for row in text.split("\n")]
        lines += ["\n"] * (first - 1 + len(shown) - len(lines))
        lines[first - 1 : first - 1 + len(shown)] = shown
    linecache.cache[file] = (len(source), None, lines, file)
    for first, text in pieces:
        exec(compiled(text, file, first, config.get("postponed", True)), main.__dict__)
    return getattr(main, config["function"])


def use_module(config: dict[str, Any]) -> Any:
    """Return the author's function from a module that is there, in the image or in the bundle."""
    name, image = config["module"], config.get("image")
    place = "the bundle" if config.get("bundle") else "the image %s" % image if image else "the image"
    try:
        __import__(name)
        found: Any = sys.modules[name]
    except BaseException as error:
        # Tracebacks begin at the first line that is not ours, nor Python's own import.
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename[:1] == "<":
            trace = trace.tb_next
        config["file"] = trace and trace.tb_frame.f_code.co_filename
        missing = str(getattr(error, "name", None))
        if not isinstance(error, ModuleNotFoundError) or (name + ".").find(missing + ".") != 0:
            raise
        raise VertexRuntimeError(
            "%s has no module %r (%s); put it there and on Python's path, or use code='inline'"
            % (place, name, error)
        ) from None
    config["file"] = getattr(found, "__file__", None)
    for step in config["function"].split("."):
        if not hasattr(found, step):
            raise VertexRuntimeError(
                "module %r of %s (%s) has no %s; it is another version than the one Airflow has"
                % (name, place, config["file"], config["function"])
            )
        found = getattr(found, step)
    # Airflow's decorator, where there is Airflow, leaves an object around the function.
    while type(found).__module__[:8] == "airflow." and hasattr(found, "function"):
        found = found.function
    return found


def use_function(config: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """Call the author's function as Airflow's ``@task`` would and return its value."""
    # Before the arguments: artifacts are kfp's own objects if the author's code has loaded it.
    function = part("use_module" if config.get("module") else "use_source")(config)
    args = resolve(config["args"], inputs)
    kwargs = present(config["kwargs"], inputs)
    for key in ("spread", "context"):
        if config.get(key):
            part("use_" + key)(config, inputs, kwargs)
    # What a decorator made of the function may be no function itself.
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & 0x280:  # a coroutine, or an asynchronous generator: Airflow takes the list of its items
        import asyncio

        async def collect() -> Any:
            if flags & 0x80:
                return await function(*args, **kwargs)
            return [item async for item in function(*args, **kwargs)]

        return asyncio.run(collect())
    result = function(*args, **kwargs)
    if flags & 0x20:  # a generator: Airflow runs it to its end and takes what it returns
        while True:
            try:
                item = next(result)
            except StopIteration as stop:
                return stop.value
            print("airflow-vertex: ignoring a yielded %s" % type(item).__name__, flush=True)
    return result


def use_spread(config: dict[str, Any], inputs: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Add the arguments of a dict, one item of expand_kwargs or an output, to the others."""
    more = resolve(config["spread"], inputs)
    if "takes" in config:
        more = {name: more[name] for name in config["takes"] if name in more}
    for name in more:
        if name in kwargs:
            raise TypeError("%s() got argument %r twice" % (config["function"], name))
    kwargs.update(more)


def use_context(config: dict[str, Any], inputs: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Add what is known of Airflow's context, for a function with ``**context``."""
    kwargs.update(dict(present(config["context"], inputs), **kwargs))


def bash(config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Run a shell command as Airflow's BashOperator does and return the last line it printed."""
    command = (
        resolve(config["command"], inputs) if "command" in config else part("use_function")(config, inputs)
    )
    if not isinstance(command, str) or not command.strip():
        raise TypeError("the bash command must be a non-empty str, found %.60r" % (command,))
    if "function" in config and (
        any("{" + mark in command for mark in "{%#") or command.endswith((".sh", ".bash"))
    ):
        # Airflow renders what the function returned, with a context and files that are not here.
        raise VertexRuntimeError(
            "the command that %s returned would be rendered by Airflow: it holds Jinja's marks, or ends like "
            "the name of a template file; allowed: neither (a blank behind a file's name will do), values as "
            "arguments of the function" % config["function"]
        )
    env = resolve(config.get("env"), inputs)
    for name, value in (env or {}).items():
        if not isinstance(value, str):
            raise TypeError("env[%r] must be a str, found %s" % (name, type(value).__name__))
    if env is not None and config.get("append_env"):
        env = dict(os.environ, **env)
    folder = resolve(config.get("cwd"), inputs)
    if folder is not None and not os.path.isdir(folder):
        raise AirflowException("cwd is no directory in this image: %s" % folder)
    found = [path + "/bash" for path in os.get_exec_path() if os.access(path + "/bash", os.X_OK)]
    if not found:
        raise VertexRuntimeError("the image has no bash on its PATH")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="airflow-vertex-") as scratch:
        code, last = stream([found[0], "-c", command], env, folder or scratch)
    if code in config.get("skip_exit_codes", [99]):
        raise AirflowSkipException("the bash command ended with exit code %d" % code)
    if code:
        raise AirflowException(
            "the bash command failed with exit code %d%s" % (code, ": " + last if last else "")
        )
    return last


def stream(command: list[str], env: dict[str, str] | None, folder: str | None) -> tuple[int, str]:
    """Run a command, pass its output on line by line, return its exit code and its last line."""
    import signal
    import subprocess

    pipe, same = subprocess.PIPE, subprocess.STDOUT
    try:
        process = subprocess.Popen(
            command, stdout=pipe, stderr=same, env=env, cwd=folder, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise VertexRuntimeError("cannot start %s: %s" % (command[0], error)) from None
    last = ""
    try:
        for raw in process.stdout or ():
            last = raw.decode("utf-8", "backslashreplace").rstrip()
            print(last, flush=True)
        return process.wait(), last
    except BaseException:
        # Cancelled: nothing that the command started may outlive the task.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise


def terminated(number: int, frame: Any) -> NoReturn:
    """Turn a termination signal into an exception, so that ``finally`` blocks run."""
    raise Terminated("the task was ended by signal %d" % number)


def hold_signal() -> None:
    """Before a fork: keep a termination signal waiting until the child has chosen its reaction to it."""
    import signal

    HELD.append(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))


def release_signal() -> None:
    """After a fork, in both processes: let the signal through again."""
    import signal

    signal.pthread_sigmask(signal.SIG_SETMASK, HELD.pop())


def forked() -> None:
    """Give a forked worker the usual reaction to a termination signal: pools end their workers with it."""
    import signal

    if signal.getsignal(signal.SIGTERM) is terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    release_signal()


def is_chief() -> bool:
    """Say whether this process speaks for its task: the replicas of a custom job all run the same command.

    Vertex tells each who it is by ``CLUSTER_SPEC``; the chief is the first of the first worker pool. A
    process that is told nothing is alone.
    """
    try:
        task = json.loads(os.environ["CLUSTER_SPEC"])["task"]
        return task["type"] == "workerpool0" and int(task["index"]) == 0
    except (KeyError, TypeError, ValueError):
        return True


def execute(config: dict[str, Any], executor_input: dict[str, Any], target: str) -> None:
    """Run the task and, in the chief, write its outputs."""
    kind = config.get("kind")
    run = part("run_%s" % kind)
    if config.get("v") != 2 or not run:
        raise VertexRuntimeError(
            "cannot run a configuration of version %r and kind %r" % (config.get("v"), kind)
        )
    inputs = executor_input.get("inputs", {}).get("parameterValues", {})
    inputs["$"] = executor_input
    folder = os.path.dirname(target)
    if config.get("from_handoff"):
        part("use_from_handoff")(config, inputs, os.path.dirname(folder))
    verdict = part("use_gate")(config, inputs) if config.get("gate") else "run"
    values = run(config, inputs, verdict, folder)
    if values and config["chief"]:
        write(target, json.dumps(dict(executor_input.get("$written", {}), parameterValues=values)))


def is_named(error: BaseException, name: str) -> bool:
    """Say whether an error is of the class ``name``, whichever module has it: Airflow's or ours."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def report(error: BaseException, config: dict[str, Any]) -> dict[str, Any]:
    """Return the error as data, as the author should see it."""
    import traceback

    trace = error.__traceback__
    unpacked = config.get("bundle", {}).get("folder", "\0") + "/"
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name == config.get("file") or name.startswith(unpacked):
            break
        trace = trace.tb_next
    if not trace:
        # None of the author's lines was reached: what is left out is this file alone.
        trace = error.__traceback__
        while trace and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
    kind = type(error).__name__
    try:
        message = str(error)
    except Exception as broken:
        message = "(its message cannot be made: %s)" % type(broken).__name__
    ours = isinstance(error, (VertexRuntimeError, Terminated))
    try:
        shown = "".join(traceback.format_exception(type(error), error, None if ours else trace))
    except Exception as broken:
        shown = "%s%s: %s\n" % ("".join(traceback.format_tb(trace)), kind, message)
        shown += "(what caused it cannot be shown: %s)\n" % type(broken).__name__
    skipped = is_named(error, "AirflowSkipException")
    if skipped:
        note = (
            "the task asked to be skipped, but its code does not name AirflowSkipException, so that nothing "
            "was prepared for it; it counts as failed"
        )
        message = "%s (%s)" % (message, note) if message else note
        shown += note + "\n"
    # Files of a bundle are shown by the names that they have in the DAG folder.
    message, shown = message.replace(unpacked, ""), shown.replace(unpacked, "")
    return {"type": kind, "message": message, "traceback": shown, "skipped": skipped}


def shortened(text: str, limit: int) -> str:
    """Return a text without its middle, if it is too long: a traceback begins and ends with what matters."""
    half = limit // 2
    if len(text) <= limit:
        return text
    return "%s\n... %d characters left out ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def leave(data: dict[str, Any], folder: str, chief: bool) -> None:
    """Print the error; the chief writes it for Airflow and for Vertex."""
    shown = data["traceback"]
    print(shown, file=sys.stderr, end="", flush=True)
    if chief:
        write(folder + "/airflow_error.json", json.dumps(data))
        head = shortened("%s: %s" % (data["type"], data["message"]), ERROR_LIMIT // 4)
        tail = shortened(shown, ERROR_LIMIT - len(head))
        write(folder + "/executor_error.json", json.dumps({"errorMessage": head + "\n\n" + tail}))


def main(arguments: list[str]) -> int:
    """Run the task described by the two arguments and return the exit code."""
    import signal

    for stream_ in (sys.stdout, sys.stderr):
        stream_.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    try:
        config, executor_input = map(json.loads, arguments)
        target = local_path(executor_input["outputs"]["outputFile"])
    except (ValueError, KeyError, TypeError) as error:
        print("airflow-vertex: cannot read the task's two arguments: %r" % error, file=sys.stderr)
        return 1
    # Asked before the author's code can change the environment.
    chief = config["chief"] = is_chief()
    folder = os.path.dirname(target)
    # Beside the folder: the service may clear that before another attempt.
    last = "%s/airflow_no_retry/%s.json" % os.path.split(folder)
    # As the container's first process, Python would otherwise not see the signal of a cancellation.
    signal.signal(signal.SIGTERM, terminated)
    os.register_at_fork(before=hold_signal, after_in_parent=release_signal, after_in_child=forked)
    try:
        # A retried task finds the files of the attempt before it.
        for name in os.listdir(folder) if chief and os.path.isdir(folder) else ():
            if name in ("airflow_error.json", "executor_error.json", "executor_output.json"):
                os.remove(os.path.join(folder, name))
        if os.path.exists(last):
            with open(last, encoding="ascii") as file:
                leave(json.load(file), folder, chief)
            return 1
        execute(config, executor_input, target)
    except BaseException as error:
        data = report(error, config)
        if is_named(error, "AirflowFailException") and chief:
            write(last, json.dumps(data))
        leave(data, folder, chief)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
