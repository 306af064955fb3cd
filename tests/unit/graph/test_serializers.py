"""Serialisers that an author names: of this package, and of another one, installed as usual."""

from __future__ import annotations

import functools
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexContainerOperator, VertexTaskGroup, compile_group
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.serializers import configuration, third_party
from airflow_vertex_provider.runtime.protocol import decode, from_input
from airflow_vertex_provider.serializers import Serializer
from tests.unit.runtime.container import Container, config_of

SERIALISERS = """
    from airflow_vertex_provider.serializers import Serializer


    def write(value, path):
        from pathlib import Path

        if len(value) > 100:
            raise ValueError("too many points")
        Path(path).write_text(" ".join(map(str, value)))
        return {"points": len(value)}


    def read(path):
        from pathlib import Path

        return [float(point) for point in Path(path).read_text().split()]


    arrays = Serializer("points", ("array.array", "collections.UserList"), "txt", write, read)
"""


def install(folder: Path, package: str, source: str, entry_points: str) -> None:
    (folder / f"{package}.py").write_text(textwrap.dedent(source))
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("")
    (metadata / "entry_points.txt").write_text(f"[airflow_vertex_provider.serializers]\n{entry_points}\n")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a folder on the import path, and forget afterwards what was loaded from it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    third_party.cache_clear()
    yield folder
    third_party.cache_clear()
    for name in ("acme_points", "acme_rival"):
        sys.modules.pop(name, None)


@task
def plain() -> list[int]:
    return list(range(3))


def compiled(build: Any, **settings: Any) -> dict[str, dict[str, Any]]:
    """Declare a group and return the configuration of each task."""
    with (
        DAG("d", schedule=None),
        VertexTaskGroup(
            "g", location="europe-west4", pipeline_root="gs://bucket/root", image="image", **settings
        ) as group,
    ):
        build()
    executors = compile_group(group)["deploymentSpec"]["executors"]
    commands = {name.removeprefix("exec-"): item["container"]["command"] for name, item in executors.items()}
    return {name: json.loads(command[4]) for name, command in commands.items() if len(command) == 5}


def refusal(build: Any, **settings: Any) -> str:
    with pytest.raises(VertexConfigurationError) as caught:
        compiled(build, **settings)
    return str(caught.value)


def test_a_name_that_nobody_has_is_refused_with_those_there_are(path: Path) -> None:
    install(path, "acme_points", SERIALISERS, "points = acme_points:arrays")
    told = refusal(plain, serializers=["pikle"])
    assert (
        "g.plain: serializers: found 'pikle'; allowed: numpy, pandas, polars, pyarrow, pickle, joblib, points"
        in (told)
    )


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import package_that_is_not_there", "cannot be loaded (ModuleNotFoundError: "),
        ("arrays = 1", "is no Serializer but int"),
        (
            SERIALISERS.replace('Serializer("points"', 'Serializer("pandas"'),
            "is called 'pandas', as one of this package",
        ),
        (SERIALISERS.replace('"txt"', '".txt"'), "extension: found '.txt'; allowed: letters and digits"),
    ],
    ids=["import", "kind", "name", "extension"],
)
def test_a_broken_one_is_named_where_it_is_wanted_and_harms_nothing_else(
    path: Path, source: str, fault: str
) -> None:
    install(path, "acme_points", source, "points = acme_points:arrays")
    assert list(compiled(plain, serializers=["pickle"])) == ["plain"]
    told = refusal(plain, serializers=["other"])
    assert "; but serialiser 'points' of package 'acme_points' " in told
    assert fault in told


def test_two_packages_with_one_name(path: Path) -> None:
    install(path, "acme_points", SERIALISERS, "points = acme_points:arrays")
    install(path, "acme_rival", SERIALISERS, "points = acme_rival:arrays")
    assert "'points', as serialiser 'points' of package 'acme_points': none of them is used" in refusal(
        plain, serializers=["points"]
    )


def test_what_does_not_return_by_us_takes_no_serialiser_and_no_limit() -> None:
    def build() -> None:
        settings = {"vertex": {"serializers": ["pickle"], "value_limit": 10}}
        VertexContainerOperator(task_id="own", command=["true"], executor_config=settings)
        BashOperator(task_id="shell", bash_command="true", executor_config=settings)

    told = refusal(build)
    assert "g.own: serializers: found ['pickle']; allowed: none" in told
    assert "g.own: value_limit: found 10; allowed: none" in told
    assert "g.shell: serializers: found ['pickle']; allowed: none" in told
    assert "g.shell: value_limit" not in told


def test_what_one_task_may_write_every_task_can_read(path: Path) -> None:
    install(path, "acme_points", SERIALISERS, "points = acme_points:arrays")

    @task
    def take(value: Any, more: Any = None) -> Any:
        return value

    def build() -> None:
        made = plain.override(executor_config={"vertex": {"serializers": ["pickle", "points"]}})()
        taken = take.override(executor_config={"vertex": {"value_limit": 500}})(made)
        BashOperator(task_id="shell", bash_command="true", env={"A": "{{ ds }}"})
        plain.override(task_id="silent", do_xcom_push=False)()
        take.override(task_id="last")(taken)

    found = compiled(build)
    assert list(found["plain"]["writers"]) == ["points", "numpy", "pandas", "polars", "pyarrow", "pickle"]
    assert found["plain"]["writers"]["points"] == "array.array collections.UserList txt"
    assert "readers" not in found["plain"]
    assert list(found["take"]["writers"]) == ["numpy", "pandas", "polars", "pyarrow"]
    assert found["take"]["readers"] == ["numpy", "pandas", "polars", "pyarrow", "pickle", "points"]
    assert found["plain"]["serializers"] == found["last"]["serializers"]
    assert {name: config.get("value_limit") for name, config in found.items()} == {
        "plain": None,
        "take": 500,
        "shell": None,
        "silent": None,
        "last": None,
    }
    for name in ("shell", "silent"):
        assert found[name].keys().isdisjoint({"writers", "readers", "serializers"})


def of_text(tmp: Any = None) -> Any:
    def inner() -> Any:
        return tmp

    if inner():
        return f"{tmp!r:>{10}}"
    return None


def of_displays() -> Any:
    return {"a": [1, (2.5, None)], "b": {"c", "d"}}


def of_nothing() -> None: ...


def of_a_name(value: Any) -> Any:
    return [1, {"a": value}]


def of_a_key(value: Any) -> Any:
    return {value: 1}


def of_a_spread(value: Any) -> Any:
    return {**value}


def of_a_star(value: Any) -> Any:
    return [*value]


def of_an_early_name(value: Any) -> Any:
    for item in value:
        with item as found:
            return found
    return 1


def of_a_generator(value: Any) -> Any:
    found = yield 1
    return found


async def of_an_asynchronous_generator(value: Any) -> Any:
    yield value


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def twice() -> Any:
        return [function()] * 2

    return twice


@doubled
def of_a_decorator() -> Any:
    return 1


@pytest.mark.parametrize(
    ("function", "carries"),
    [
        (of_text, False),
        (of_displays, False),
        (of_nothing, False),
        (of_a_name, True),
        (of_a_key, True),
        (of_a_spread, True),
        (of_a_star, True),
        (of_an_early_name, True),
        (of_a_generator, True),
        (of_an_asynchronous_generator, True),
        (of_a_decorator, True),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_what_returns_constants_carries_no_serialiser(function: Any, carries: bool) -> None:
    given = {"value": 1} if "value" in inspect.signature(function).parameters else {}

    def build() -> None:
        PythonOperator(task_id="made", python_callable=function, op_kwargs=given)

    assert ("writers" in compiled(build)["made"]) is carries


def test_who_takes_values_of_runs_alone_carries_no_reader() -> None:
    @task
    def take(value: Any) -> Any:
        return value

    def build() -> None:
        take.override(task_id="of_run")("{{ params }}")
        take.override(task_id="of_task")(take.override(task_id="of_constant")(1))
        take.override(task_id="of_loop").expand(value=[1, 2])

    assert {name for name, config in compiled(build).items() if "readers" in config} == {"of-task", "of-loop"}


def points() -> Any:
    import array
    from collections import UserList

    class Named(UserList):  # type: ignore[type-arg]
        pass

    return [array.array("d", [1.5, 2.5]), Named([3.0])]


def many() -> Any:
    import array

    return {"all": array.array("d", [0.0] * 101)}


def echo(value: Any) -> Any:
    return value


def run(container: Container, function: Any, named: list[str]) -> Any:
    config: Mapping[str, Any] = {
        **config_of(function),
        **configuration(named, named, writes=True, reads=False),
    }
    return container.run(config, folder="bucket/job/give_1")


def test_another_packages_serialiser_in_a_container_without_that_package(tmp_path: Path, path: Path) -> None:
    install(path, "acme_points", SERIALISERS, "points = acme_points:arrays")
    container = Container(tmp_path)
    given = run(container, points, ["points"])
    assert [item["type"] for item in given.value()] == ["array.array", "__main__.points.<locals>.Named"]
    assert given.value()[0]["metadata"] == {"points": 2, "size": 7}
    assert (given.folder / "airflow_value_0.txt").read_text() == "1.5 2.5"
    config = {
        **config_of(echo, [from_input("value")]),
        **configuration([], ["points"], writes=True, reads=True),
    }
    taken = container.run(config, {"value": given.text()}, folder="bucket/job/take_2")
    assert taken.value() == [[1.5, 2.5], [3.0]]
    assert decode(taken.text()) == taken.value()


def test_where_one_fails_the_next_is_tried_and_the_fault_is_told(tmp_path: Path, path: Path) -> None:
    install(path, "acme_points", SERIALISERS, "points = acme_points:arrays")
    container = Container(tmp_path)
    told = run(container, many, ["points"]).error()["message"]
    assert "all is of type array.array, which cannot be carried" in told
    assert told.endswith("serialiser 'points': ValueError: too many points")
    assert json.loads(run(container, many, ["points", "pickle"]).text())["all"]["$file"]["as"] == "pickle"


def bag() -> Any:
    class Bag(dict):  # type: ignore[type-arg]
        pass

    return Bag(a=1)


def write_bag(value: Any, path: str) -> None:
    from pathlib import Path

    Path(path).write_text(repr(sorted(value)))


def test_a_class_that_json_could_carry_goes_to_the_serialiser_that_is_meant_for_it(tmp_path: Path) -> None:
    from airflow_vertex_provider.graph.code import carry_function

    carried = carry_function(write_bag).to_config()
    config = {
        **config_of(bag),
        "writers": {"bags": "__main__.bag.<locals>.Bag txt"},
        "serializers": {"bags": {"write": carried}},
    }
    ended = Container(tmp_path).run(config)
    assert json.loads(ended.text())["$file"]["as"] == "bags"
    plain_ended = Container(tmp_path).run(config_of(bag), folder="bucket/job/plain_2")
    assert plain_ended.value() == {"a": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Points"}, "name: found 'Points'"),
        ({"types": "array.array"}, "types: found 'array.array'"),
        ({"types": ("array",)}, "types: found ('array',)"),
        ({"types": ("builtins.object", "a.B")}, "'builtins.object' alone"),
        ({"read": None}, "read: found None; allowed: a function"),
    ],
)
def test_a_serialiser_is_checked_when_it_is_made(change: dict[str, Any], told: str) -> None:
    fields: dict[str, Any] = {
        "name": "points",
        "types": ("array.array",),
        "extension": "txt",
        "write": write_bag,
        "read": echo,
    }
    with pytest.raises(VertexConfigurationError) as caught:
        Serializer(**{**fields, **change})
    assert told in str(caught.value)
