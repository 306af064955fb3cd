"""Objects that JSON cannot carry: frames, arrays and others in, files and their tags out, and back.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import os

from airflow_vertex_provider.runtime.container.base import ProtocolError, part
from airflow_vertex_provider.runtime.container.code import compiled
from airflow_vertex_provider.runtime.container.files import gcs_root, unlike, unreadable, uri_of
from airflow_vertex_provider.runtime.container.nodes import present
from airflow_vertex_provider.runtime.container.values import dump, tag, untag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
