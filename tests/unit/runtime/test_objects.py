"""Objects that JSON cannot carry, written in one container and read in the next."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.graph.serializers import BY_NAME, configuration
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.runtime.protocol import decode, from_input
from tests.unit.runtime.container import Container, Ended, config_of

#: The tests' own environment: it has pandas, numpy and pyarrow, as an image for training would.
WITH_LIBRARIES = sys.executable


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path, WITH_LIBRARIES)


def give(container: Container, make: Callable[..., Any], named: Sequence[str] = (), **options: Any) -> Ended:
    """Run a task that returns what ``make`` returns."""
    config = {**config_of(make), **configuration(named, named, writes=True, reads=False), **options}
    return container.run(config, folder="bucket/job/give_1")


def take(
    container: Container, text: Any, function: Callable[..., Any], group: Sequence[str] = (), **options: Any
) -> Ended:
    """Run a task that takes the value ``text``."""
    config = {
        **config_of(function, [from_input("value")]),
        **configuration((), group, writes=True, reads=True),
        **options,
    }
    return container.run(config, {"value": text}, folder="bucket/job/take_2")


def objects() -> Any:
    """Return all kinds of objects that travel without being asked for."""
    import datetime

    import numpy
    import pandas
    import pyarrow

    moments = ["2024-03-31T02:30", None, "2024-01-01T00:00"]
    missing = pandas.Series(["x", float("nan")], dtype=object)
    texts = pyarrow.list_(pyarrow.field("element", pyarrow.string()))
    made = {
        "frame": pandas.DataFrame(
            {
                "whole": pandas.array([1, 2, None], dtype="Int64"),
                "real": [1.5, float("nan"), -0.0],
                "text": ["a", "é\n", None],
                "moment": pandas.to_datetime(moments).tz_localize("UTC"),
                "kind": pandas.Categorical(["x", "y", "x"], categories=["y", "x"], ordered=True),
                "flag": [True, False, True],
                "span": pandas.to_timedelta([1, 2, 3], unit="s"),
                "day": [datetime.date(2024, 1, 1), None, datetime.date(1999, 12, 31)],
            }
        ),
        "frame of objects with NaN": pandas.DataFrame({"a": missing}),
        "frame with dates": pandas.DataFrame(
            {"a": range(4)},
            index=pandas.date_range("2024-01-01", periods=4, freq="6h", tz="Europe/Paris", name="when"),
        ),
        "frame with periods": pandas.DataFrame(
            {"a": [1, 2]}, pandas.period_range("2024-01", periods=2, freq="M")
        ),
        "frame of numbers": pandas.DataFrame(numpy.arange(6.0, dtype="float32").reshape(3, 2)),
        "frame with levels": pandas.DataFrame(
            {"x": [1, 2, 3, 4]},
            pandas.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", "number"]),
        ),
        "frame of what parquet lacks": pandas.DataFrame(
            {
                "seconds": numpy.array(["2024-01-01", "NaT"], dtype="datetime64[s]"),
                "numbers": pandas.Categorical([3, 1]),
                "none": pandas.Categorical([None, None]),
            },
            pandas.Index(["x", "y"], name=0),
        ),
        "frame of nothing": pandas.DataFrame({"a": pandas.Series([], dtype="int8")}),
        "series": pandas.Series([1, 2, 3], index=["a", "b", "c"], name=("pair", 1), dtype="int16"),
        "series without name": pandas.Series(
            ["x", "y"], pandas.date_range("2024-01-01", periods=2, freq="D")
        ),
        "array": numpy.asfortranarray(numpy.arange(12, dtype=">i4").reshape(3, 4)),
        "array of records": numpy.array(
            [(1, 2.5, "a"), (2, 3.5, "b")], dtype=[("n", "i4"), ("x", "f8"), ("t", "U3")]
        ),
        "array of no dimension": numpy.array(numpy.datetime64("2024-01-01T00:00:00.123456789")),
        "array of nothing": numpy.zeros((0, 3), dtype=complex),
        "table": pyarrow.table(
            {
                "a": pyarrow.array([1, None], pyarrow.int8()),
                "b": pyarrow.array([["x", None], None], texts),
                "c": pyarrow.array([float("nan"), 2.0], pyarrow.float32()),
            }
        ),
    }
    # At any depth, among what JSON carries.
    return {"deep": [{"all": (made, datetime.date(2024, 1, 1))}]}


def describe(value: Any) -> Any:
    """Tell all about objects, so that they can be compared as text."""

    def told(value: Any) -> Any:
        kind = type(value).__name__
        if kind == "DataFrame":
            index, columns = value.index, value.columns
            return [
                kind,
                [str(dtype) for dtype in value.dtypes],
                [[str(item) for item in value.iloc[:, number]] for number in range(value.shape[1])],
                [str(index.dtype), [str(item) for item in index], list(index.names)],
                [str(columns.dtype), [str(item) for item in columns], list(columns.names)],
                str(getattr(index, "freq", None)),
            ]
        if kind == "Series":
            index = value.index
            return [kind, str(value.dtype), [str(item) for item in value], str(index), str(value.name)]
        if kind == "ndarray":
            return [kind, str(value.dtype), list(value.shape), str(value.tolist()), value.flags.f_contiguous]
        return [kind, str(value.schema), str(value.to_pydict())]

    ((found, day),) = [item["all"] for item in value["deep"]]
    return {**{name: told(item) for name, item in found.items()}, "day": str(day)}


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Ended]:
    """All objects, written in one container and described in the next."""
    container = Container(tmp_path_factory.mktemp("gcs"), WITH_LIBRARIES)
    given = give(container, objects)
    return given, take(container, given.text(), describe)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    made = describe(objects())
    assert isinstance(made, dict)
    return made


NAMES = [
    "frame",
    "frame of objects with NaN",
    "frame with dates",
    "frame with periods",
    "frame of numbers",
    "frame with levels",
    "frame of what parquet lacks",
    "frame of nothing",
    "series",
    "series without name",
    "array",
    "array of records",
    "array of no dimension",
    "array of nothing",
    "table",
    "day",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_object_comes_back_as_it_was(
    travelled: tuple[Ended, Ended], expected: dict[str, Any], name: str
) -> None:
    assert set(expected) == set(NAMES)
    found = travelled[1].value()
    assert found[name] == json.loads(json.dumps(expected[name]))


def test_in_airflow_an_object_is_a_small_dict(travelled: tuple[Ended, Ended]) -> None:
    ((shown, _),) = [item["all"] for item in travelled[0].value()["deep"]]
    assert json.loads(json.dumps(shown)) == shown
    sizes = {name: item["metadata"].pop("size") for name, item in shown.items()}
    for name, number in (("frame", 0), ("series", 8), ("array", 10), ("table", 14)):
        extension = "npy" if name == "array" else "parquet"
        file = travelled[0].folder / f"airflow_value_{number}.{extension}"
        assert shown[name]["uri"] == f"gs://bucket/job/give_1/{file.name}"
        assert sizes[name] == file.stat().st_size
    assert {name: (shown[name]["type"], shown[name]["metadata"]) for name in ("frame", "array", "table")} == {
        "frame": ("pandas.DataFrame", {"rows": 3, "columns": 8}),
        "array": ("numpy.ndarray", {"shape": [3, 4], "dtype": ">i4"}),
        "table": ("pyarrow.Table", {"rows": 2, "columns": 3}),
    }
    assert list(travelled[0].folder.glob("*.part")) == []


def polars_frame() -> Any:
    import polars

    return polars.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1], []]}, {"a": polars.Int8})


def polars_told(value: Any) -> Any:
    return [str(value.schema), value.to_dicts()]


def test_a_frame_of_polars(container: Container) -> None:
    pytest.importorskip("polars", reason="polars is not installed here")
    given = give(container, polars_frame)
    assert take(container, given.text(), polars_told).value() == polars_told(polars_frame())
    assert given.value()["metadata"].items() >= {"rows": 2, "columns": 3}.items()


def twice() -> Any:
    import numpy

    array = numpy.arange(3)
    return {"a": array, "b": [array, array.copy()]}


def few_rows() -> Any:
    import pandas

    return pandas.Series([1, 2])


def sizes(value: Any) -> Any:
    return [len(value["a"]), [len(item) for item in value["b"]]]


def as_text(value: Any) -> Any:
    return str(value)


def length(value: Any) -> Any:
    return len(value)


def test_an_object_is_written_once(container: Container) -> None:
    given = give(container, twice)
    assert sorted(path.name for path in given.folder.glob("airflow_value*")) == [
        "airflow_value_0.npy",
        "airflow_value_1.npy",
    ]
    assert take(container, given.text(), sizes).value() == [3, [3, 3]]


def test_of_several_outputs_the_one_that_is_wanted_is_read(container: Container) -> None:
    given = give(container, twice)
    (given.folder / "airflow_value_1.npy").unlink()
    config = {
        **config_of(length, [from_input("value", get="a")]),
        **configuration((), (), writes=True, reads=True),
    }
    assert container.run(config, {"value": given.text()}, folder="bucket/job/take_2").value() == 3
    refused = take(container, given.text(), sizes).error()["message"]
    assert refused.startswith("input 'value': cannot read gs://bucket/job/give_1/airflow_value_1.npy")


def test_a_changed_file_is_refused(container: Container) -> None:
    given = give(container, twice)
    file = given.folder / "airflow_value_0.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    told = take(container, given.text(), sizes).error()
    assert told["type"] == "VertexRuntimeError"
    assert "gs://bucket/job/give_1/airflow_value_0.npy is not the file that was written" in told["message"]
    assert told["message"].count("SHA-256") == 1


def test_an_image_without_the_library(container: Container) -> None:
    text = give(container, few_rows).text()
    told = take(Container(container.root), text, as_text).error()["message"]
    assert "the serialiser 'pandas' cannot read the pandas.Series in gs://bucket/job/give_1/" in told
    assert "No module named 'pandas'; this task's image lacks a library" in told


# What the built-in serialisers do not take, each with what the refusal says.


def of_lists() -> Any:
    import pandas

    return [pandas.DataFrame({"good": [1], "bad": [[1, 2]]})]


def of_lists_in_dicts() -> Any:
    import pandas

    return pandas.DataFrame({"bad": [{"x": [1]}, {"x": [2]}]})


def of_whole_and_broken_numbers() -> Any:
    import pandas

    return pandas.Series([1, 2.5], dtype=object)


def of_moments_in_several_zones() -> Any:
    import datetime

    import pandas

    zones = [datetime.timezone(datetime.timedelta(hours=hours)) for hours in (0, 2)]
    moments = [datetime.datetime(2024, 1, 1, tzinfo=zone) for zone in zones]
    return pandas.DataFrame({"bad": pandas.Series(moments, dtype=object)})


def of_objects() -> Any:
    import numpy

    return {"weights": numpy.array([1, "a", None], dtype=object)}


def masked() -> Any:
    import numpy

    return numpy.ma.masked_array([1, 2], mask=[True, False])


def of_one_name_twice() -> Any:
    import pandas

    return pandas.DataFrame([[1, 2]], columns=["a", "a"])


def an_exception() -> Any:
    return ValueError("x")


REFUSED = [
    (of_lists, "[0] is of type pandas.", "ValueError: would come back from parquet changed: column 'bad'"),
    (of_lists_in_dicts, "the value is of type pandas.", "changed: column 'bad'"),
    (of_whole_and_broken_numbers, "the value is of type pandas.", "changed: values"),
    (of_moments_in_several_zones, "the value is of type pandas.", "changed: column 'bad'"),
    (of_objects, "weights is of type numpy.ndarray", "Object arrays cannot be saved when allow_pickle=False"),
    (masked, "the value is of type numpy.ma.MaskedArray", ""),
    (of_one_name_twice, "the value is of type pandas.", "Duplicate column names found"),
    (an_exception, "the value is of type builtins.ValueError", ""),
]


@pytest.mark.parametrize(("make", "what", "why"), REFUSED, ids=lambda item: getattr(item, "__name__", ""))
def test_what_nothing_takes_is_named(
    container: Container, make: Callable[[], Any], what: str, why: str
) -> None:
    ended = give(container, make)
    told = ended.error()["message"]
    assert told.startswith("the value returned by the task cannot be carried: ")
    assert what in told
    assert why in told
    assert "serialisers numpy, pandas, polars, pyarrow takes" in told
    assert "serializers=['pickle']" in told
    assert list(ended.folder.glob("airflow_value*")) == []


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_anything_travels_where_a_serialiser_for_it_is_named(container: Container, name: str) -> None:
    given = give(container, of_objects, [name])
    assert json.loads(given.text())["weights"]["$file"]["as"] == name
    told = take(container, given.text(), as_text, [name])
    assert told.value() == "{'weights': array([1, 'a', None], dtype=object)}"
    refused = take(container, given.text(), as_text).error()["message"]
    assert (
        f"was written by the serialiser {name!r}; this task knows: numpy, pandas, polars, pyarrow" in refused
    )


class Net:
    """A class of the author's file."""

    layers = 3


def of_the_file() -> Any:
    return Net()


def unaware(value: Any) -> Any:
    return value.layers


def aware(value: Any) -> Any:
    return isinstance(value, Net) and value.layers


def test_a_class_of_the_file_reaches_functions_that_name_it(container: Container) -> None:
    text = give(container, of_the_file, ["pickle"]).text()
    assert take(container, text, aware, ["pickle"]).value() == 3
    told = take(container, text, unaware, ["pickle"]).error()["message"]
    assert "Can't get attribute 'Net'" in told
    assert told.endswith("a class of the DAG's file reaches only functions that name it")


def test_what_has_a_form_of_its_own_is_not_pickled(container: Container) -> None:
    text = give(container, twice, ["pickle"]).text()
    assert {item["$file"]["as"] for item in [json.loads(text)["a"], *json.loads(text)["b"]]} == {"numpy"}


def test_on_its_way_through_a_loop_an_object_is_not_opened(container: Container) -> None:
    text = give(container, twice).text()
    spec = {"form": "product", "fields": [["item", from_input("v", get="b")]], "text": ["item"]}
    gate = protocol.gate_config(task="g.t", expand={"Items": spec})
    # No library, and no file either.
    (container.root / "bucket/job/give_1/airflow_value_1.npy").rename(container.root / "away")
    ended = Container(container.root).run(gate, {"v": text}, folder="bucket/job/gate_3")
    items = ended.outputs()["Items"]
    assert [json.loads(item["item"]) for item in items] == json.loads(text)["b"]
    assert [json.loads(item["item__text"]) for item in items] == decode(text)["b"]
    (container.root / "away").rename(container.root / "bucket/job/give_1/airflow_value_1.npy")
    assert take(container, [item["item"] for item in items], length).value() == 2


def test_a_loop_over_a_tasks_own_value_and_its_text(container: Container) -> None:
    spec = {"form": "product", "fields": [["item", {"$value": True}]], "text": []}
    given = give(container, twice, mapped_over=True, expand={"Items": spec}, text_output=True)
    found = given.outputs()
    value = json.loads(found["Output"])
    pairs = [{"$tuple": ["a", value["a"]]}, {"$tuple": ["b", value["b"]]}]
    assert [json.loads(item["item"]) for item in found["Items"]] == pairs
    assert json.loads(found["Text"]) == decode(found["Output"])


def test_a_bash_command_is_no_object(container: Container) -> None:
    text = give(container, twice).text()
    config = protocol.bash_config(task="g.t", command="true", env={"A": from_input("v", get="a")})
    told = container.run(config, {"v": text}, folder="bucket/job/bash_3").error()["message"]
    assert told == "env['A'] must be a str, found dict"


@pytest.mark.parametrize(("limit", "files"), [(30, ["airflow_value.json"]), (40, [])])
def test_values_above_the_tasks_own_limit_go_into_a_file(
    container: Container, limit: int, files: list[str]
) -> None:
    text = "x" * 33
    config = config_of(echo, [protocol.constant(text)])
    ended = container.run({**config, "value_limit": limit})
    assert [path.name for path in ended.folder.glob("airflow_value*")] == files
    assert ended.value(lambda uri: (container.root / uri[5:]).read_bytes()) == text


def test_a_skip_is_no_value_that_could_be_too_large(container: Container) -> None:
    config = {**config_of(echo, [1]), "value_limit": 1, "gate": {"rule": "all_success", "states": ["a"]}}
    ended = container.run(config, {"a": protocol.SKIPPED})
    assert ended.text() == protocol.SKIPPED


def echo(value: Any) -> Any:
    return value
