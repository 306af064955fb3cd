"""The embedded entry point, run in processes of its own exactly as a container runs it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.runtime.protocol import (
    ABSENT,
    Reference,
    bash_config,
    constant,
    encode,
    from_input,
    is_reference,
    python_config,
)
from tests.unit.runtime.container import PYTHONS, Container, config_of, find_python
from tests.unit.runtime.test_protocol import HORRORS, same


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.fixture(params=PYTHONS)
def any_container(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    """A container on each supported Python, where this machine has it."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    return Container(tmp_path, python)


# --- functions of an imagined author --------------------------------------------------------------------


def give(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


def give_one(value: Any) -> Any:
    return value


def raise_value_error(text: str) -> None:
    def inner() -> None:
        raise ValueError(text)  # the author's line

    inner()


def raise_chained() -> None:
    try:
        dict[str, int]()["missing"]
    except KeyError as error:
        raise RuntimeError("outer") from error


def skip(module: str) -> None:
    import importlib

    exceptions = importlib.import_module(module)
    raise exceptions.AirflowSkipException("nothing to do")


def fail() -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    assert issubclass(AirflowFailException, AirflowException)
    raise AirflowFailException("stop here")


def same_classes() -> list[bool]:
    from importlib import import_module

    names = ("AirflowException", "AirflowFailException", "AirflowSkipException")
    first = import_module("airflow.exceptions")
    modules = ("airflow.sdk", "airflow.sdk.exceptions", "airflow.providers.common.compat.sdk")
    others = [import_module(module) for module in modules]
    return [getattr(first, name) is getattr(other, name) for other in others for name in names]


def import_more_of_airflow() -> str:
    try:
        import airflow.models
    except ImportError as error:
        return str(error)
    return str(airflow.models)


def call_sys_exit() -> None:
    import sys

    sys.exit(0)


def annotated(a: NoSuchName, *args: Missing, b: also.missing = 3, **kw: x[y]) -> Any:  # type: ignore  # noqa
    local: NotEvaluated = a  # type: ignore  # noqa
    return [local, b]


def log_something() -> None:
    import logging
    import sys

    logging.getLogger("mine").info("an info line")
    logging.getLogger("mine").debug("a debug line")
    sys.stdout.write("no newline at the end")


def generate(count: int) -> Generator[int, None, int]:
    yield 1
    yield 2
    return count * 10


async def wait_and_double(value: int) -> int:
    import asyncio as loop

    await loop.sleep(0)
    return value * 2


async def stream_items() -> AsyncIterator[int]:
    for item in range(3):
        yield item


def build_command(word: str) -> str:
    return f"echo {word}"


def with_text() -> str:
    return """first
not indented
    indented"""


def pickles() -> Any:
    import pickle

    class Local:
        pass

    return [Local.__module__, pickle.loads(pickle.dumps(pickles)) is pickles, __name__]


# --- the core, on every Python --------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["inline", "by file"])
def test_values_pass_unchanged_on_every_python(any_container: Container, size: str) -> None:
    limit = 10**9 if size == "inline" else 0
    short = [value for value in HORRORS if not isinstance(value, str) or len(value) < 1000]
    short = [value for value in short if not isinstance(value, int) or abs(value) < 10**1000]
    ended = any_container.run(
        config_of(give_one, [from_input("value")], inline_limit=limit), {"value": encode(short)}
    )
    assert is_reference(ended.text()) == (size == "by file")
    assert same(ended.value(lambda uri: (any_container.root / uri[5:]).read_bytes()), short)


def test_failure_on_every_python(any_container: Container) -> None:
    ended = any_container.call(raise_value_error, """it's "quoted" {{ x }} 🚀""")
    error = ended.error()
    assert error["type"] == "ValueError"
    assert error["message"] == """it's "quoted" {{ x }} 🚀"""
    assert not error["skipped"]
    assert "raise ValueError(text)  # the author's line" in error["traceback"]
    assert (
        f'File "{Path(__file__).name}", line {line_of("raise ValueError(text)")}, in inner'
        in error["traceback"]
    )
    assert ended.stderr.rstrip().endswith(error["traceback"].rstrip())


@pytest.mark.parametrize("module", ["airflow.exceptions", "airflow.sdk", "airflow.sdk.exceptions"])
def test_skip_on_every_python(any_container: Container, module: str) -> None:
    error = any_container.call(skip, module).error()
    assert error["type"] == "AirflowSkipException"
    assert error["skipped"] is True
    assert error["message"].startswith("nothing to do")
    assert "its code does not name AirflowSkipException" in error["message"]


def test_bash_on_every_python(any_container: Container) -> None:
    ended = any_container.run(bash_config(task="g.b", command="echo one; echo two >&2; echo 'three  '"))
    assert ended.value() == "three"
    assert ended.stdout.splitlines()[-3:] == ["one", "two", "three"]


@pytest.mark.parametrize("postponed", [True, False])
def test_annotations_are_not_evaluated_on_any_python(any_container: Container, postponed: bool) -> None:
    config = {**config_of(annotated, [constant(1)]), "postponed": postponed}
    assert any_container.run(config).value() == [1, 3]


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [(generate, (4,), 40), (wait_and_double, (4,), 8), (stream_items, (), [0, 1, 2])],
    ids=["generator", "coroutine", "asynchronous generator"],
)
def test_unusual_functions_as_in_airflow(
    any_container: Container, function: Any, args: tuple[Any, ...], expected: Any
) -> None:
    assert any_container.call(function, *args).value() == expected


def test_the_functions_above_mean_the_same_in_airflow() -> None:
    import logging

    from airflow.sdk.execution_time.callback_runner import (
        create_async_executable_runner,
        create_executable_runner,
    )

    logger = logging.getLogger("test")
    outlets: Any = {}
    generator: Any = create_executable_runner(generate, outlets, logger=logger)
    assert generator.run(4) == 40
    for function, args, expected in ((wait_and_double, (4,), 8), (stream_items, (), [0, 1, 2])):
        runner: Any = create_async_executable_runner(function, outlets, logger=logger)
        assert asyncio.run(runner.run(*args)) == expected


# --- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HORRORS, ids=[f"{type(v).__name__}{n}" for n, v in enumerate(HORRORS)])
def test_each_hard_value_passes(container: Container, value: Any) -> None:
    text = encode(value)
    if len(text) > 30_000:
        first = container.run(config_of(give_one, [from_input("x")]), {"x": write_value(container, text)})
        assert is_reference(first.text())
        assert same(first.value(reader(container)), value)
    else:
        assert same(
            container.run(config_of(give_one, [from_input("x")]), {"x": text}).value(reader(container)), value
        )


def reader(container: Container) -> Any:
    return lambda uri: (container.root / uri.removeprefix("gs://")).read_bytes()


def write_value(container: Container, text: str, uri: str = "gs://bucket/earlier/airflow_value.json") -> str:
    path = container.root / uri.removeprefix("gs://")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(Reference.to(uri, text))


def test_large_value_goes_through_a_file_from_task_to_task(container: Container) -> None:
    value = {"rows": [[number, f"text {number}"] for number in range(20_000)]}
    first = container.run(
        config_of(give_one, [from_input("x")]),
        {"x": write_value(container, encode(value))},
        folder="b/j/first_-5",
    )
    reference = Reference.parse(first.text())
    assert reference.uri == "gs://b/j/first_-5/airflow_value.json"
    assert hashlib.sha256((first.folder / "airflow_value.json").read_bytes()).hexdigest() == reference.sha256
    second = container.run(
        config_of(give, [from_input("x", get="rows")]), {"x": first.text()}, folder="b/j/second_7"
    )
    assert second.value(reader(container)) == [[value["rows"]], {}]


def test_arguments_of_every_kind(container: Container) -> None:
    config = config_of(
        give,
        [from_input("a"), [from_input("a", get="k"), {"deep": from_input("a", get="gone")}], 5, None],
        kwargs={
            "text": from_input("a", text=True),
            "literal": constant({"$in": "a", "t": (1, b"x")}),
            "only": constant({"$in": "a"}),
            "plain": {"x": "$in", "$other": 1},
        },
    )
    assert container.run(config, {"a": '{"k":[1]}'}).value() == [
        [{"k": [1]}, [[1], {"deep": None}], 5, None],
        {
            "text": '{"k":[1]}',
            "literal": {"$in": "a", "t": (1, b"x")},
            "only": {"$in": "a"},
            "plain": {"x": "$in", "$other": 1},
        },
    ]


def give_or_own(day: str = "own", *, run: str = "own") -> list[str]:
    return [day, run]


def test_an_absent_argument_leaves_the_function_s_default(any_container: Container) -> None:
    kwargs = {"day": from_input("day"), "run": from_input("run")}
    config = config_of(give_or_own, kwargs=kwargs)
    absent = encode(ABSENT)
    assert any_container.run(config, {"day": absent, "run": encode("r")}).value() == ["own", "r"]
    assert any_container.run(config, {"day": encode(None), "run": absent}).value() == [None, "own"]


def test_arguments_keep_their_dict_keys(any_container: Container) -> None:
    def kinds(value: dict[object, str]) -> list[str]:
        return sorted(f"{type(key).__name__} {item}" for key, item in value.items())

    given = {1: "a", "1": "b", None: "c", (1, 2): "d"}
    assert any_container.call(kinds, given).value() == ["NoneType c", "int a", "str b", "tuple d"]


# --- replicas of a custom job ---------------------------------------------------------------------------


def give_text(text: str, times: int) -> str:
    return text * times


def cluster_spec(pool: str, index: int) -> str:
    """What Vertex tells one of three replicas about itself."""
    cluster = {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"]}
    return json.dumps({"cluster": cluster, "environment": "cloud", "task": {"type": pool, "index": index}})


OTHERS = [("workerpool1", 0), ("workerpool1", 1), ("workerpool0", 1)]


@pytest.mark.parametrize(("pool", "index"), OTHERS)
@pytest.mark.parametrize("good", [True, False])
def test_replicas_beside_the_chief_leave_its_files_alone(
    container: Container, pool: str, index: int, good: bool
) -> None:
    large = config_of(give_text, [constant("x"), constant(200_000)])
    chief = container.run(large, CLUSTER_SPEC=cluster_spec("workerpool0", 0))
    assert is_reference(chief.text())
    left = {path.name: path.read_bytes() for path in chief.folder.iterdir()}
    assert set(left) == {"executor_output.json", "airflow_value.json"}

    own = config_of(give_text, [constant("y"), constant(200_000)])
    bad = config_of(raise_value_error, [constant("of a replica")])
    other = container.run(own if good else bad, CLUSTER_SPEC=cluster_spec(pool, index))
    assert other.code == (0 if good else 1)
    assert ("of a replica" in other.stderr) is not good
    assert {path.name: path.read_bytes() for path in other.folder.iterdir()} == left


def test_a_replica_does_not_clear_the_chief_s_error(container: Container) -> None:
    failed = container.run(
        config_of(raise_value_error, [constant("of the chief")]), CLUSTER_SPEC=cluster_spec("workerpool0", 0)
    )
    container.run(config_of(give_one, [constant(1)]), CLUSTER_SPEC=cluster_spec("workerpool1", 0))
    assert failed.error()["message"] == "of the chief"


@pytest.mark.parametrize(
    "spec", ["", "not JSON", "[]", "{}", '{"task": null}', '{"task": {"type": "workerpool0"}}']
)
def test_a_process_that_is_not_told_is_the_chief(container: Container, spec: str) -> None:
    assert container.run(config_of(give_one, [constant(1)]), CLUSTER_SPEC=spec).value() == 1


def test_text_output(container: Container) -> None:
    for value, text in (
        ("it's {{ x }}\n", "it's {{ x }}\n"),
        (3, "3"),
        (None, "null"),
        ({"a": [1.5]}, '{"a":[1.5]}'),
    ):
        ended = container.call(give_one, value, text_output=True)
        assert ended.text("Text") == text
        assert ended.value() == value


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{$.inputs}}", "holds a Vertex placeholder"), ("é" * 60_000, "120006 bytes, allowed 100000")],
)
def test_text_that_no_argument_can_hold_is_refused(container: Container, text: str, message: str) -> None:
    config = config_of(give_one, [from_input("x")], text_output=True)
    error = container.run(config, {"x": write_value(container, encode(text))}).error()
    assert message in error["message"]


def test_output_can_be_dropped(container: Container) -> None:
    ended = container.run(config_of(give_one, [constant(1)], output=False))
    assert ended.code == 0
    assert not (ended.folder / "executor_output.json").exists()


@pytest.mark.parametrize("value_type", ["object", "set"])
def test_value_that_cannot_be_carried_is_an_error(container: Container, value_type: str) -> None:
    error = container.call(make_uncarriable, value_type).error()
    assert error["type"] == "ProtocolError"
    assert "the value returned by the task cannot be carried: rows[0]" in error["message"]
    assert "builtins.object" in error["message"]


def make_uncarriable(kind: str) -> Any:
    return {"rows": [object() if kind == "object" else {object()}]}


# --- what the author sees -------------------------------------------------------------------------------


def test_start_is_announced_and_logging_shows(container: Container) -> None:
    ended = container.call(log_something)
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("airflow-vertex: task group.task runs log_something on Python 3.11.")
    assert lines[1:] == ["INFO mine: an info line", "no newline at the end"]
    assert ended.stderr == ""


def test_chained_errors_keep_their_chain(container: Container) -> None:
    ended = container.call(raise_chained)
    trace = ended.error()["traceback"]
    assert "KeyError: 'missing'" in trace
    assert "direct cause" in trace
    assert "<string>" not in trace
    shown = ended.shown_error()
    assert shown.startswith("RuntimeError: outer\n\nTraceback")
    assert shown.rstrip().endswith("RuntimeError: outer")


def test_shown_error_keeps_the_end_of_a_long_traceback(container: Container) -> None:
    ended = container.call(raise_value_error, "start" + "x" * 50_000 + "end")
    shown = ended.shown_error()
    assert len(shown) <= 8100
    assert shown.startswith("ValueError: start")
    assert shown.rstrip().endswith("xend")
    assert ended.error()["message"].endswith("xend")


def test_wrong_arguments_are_an_error_without_our_frames(container: Container) -> None:
    error = container.call(give_one, 1, 2).error()
    assert error["type"] == "TypeError"
    assert "takes 1 positional argument but 2 were given" in error["message"]
    assert "File" not in error["traceback"]


def test_exit_of_the_author_is_an_error(container: Container) -> None:
    error = container.call(call_sys_exit).error()
    assert (error["type"], error["message"]) == ("SystemExit", "0")


def test_error_whose_message_fails(container: Container) -> None:
    error = container.call(raise_unprintable).error()
    assert error["type"] == "Unprintable"
    assert "its message cannot be made: ZeroDivisionError" in error["message"]


def raise_unprintable() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            return str(1 / 0)

    raise Unprintable


def test_fail_exception_and_shim_classes(container: Container) -> None:
    error = container.call(fail).error()
    assert (error["type"], error["message"], error["skipped"]) == ("AirflowFailException", "stop here", False)
    other = Container(container.root / "other")
    other.root.mkdir()
    assert other.call(same_classes).value() == [True] * 9
    assert "airflow.models" in other.call(import_more_of_airflow).value()


def test_a_real_airflow_is_never_hidden(container: Container) -> None:
    package = container.root / "path" / "airflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "exceptions.py").write_text("class AirflowSkipException(Exception): marker = 'real'")
    ended = container.run(config_of(real_marker), PYTHONPATH=str(package.parent))
    assert ended.value() == ["real", "ModuleNotFoundError"]
    assert container.run(
        config_of(skip, [constant("airflow.exceptions")]), PYTHONPATH=str(package.parent)
    ).error()["skipped"]


@pytest.mark.parametrize("module", ["airflow.exceptions", "airflow.sdk.exceptions"])
def test_the_installed_airflow_is_used_where_there_is_one(container: Container, module: str) -> None:
    with_airflow = Container(container.root, sys.executable)
    ended = with_airflow.run(config_of(skip, [constant(module)]), AIRFLOW_HOME=str(container.root / "home"))
    error = ended.error()
    assert (error["type"], error["skipped"]) == ("AirflowSkipException", True)
    assert error["message"].startswith("nothing to do")
    assert "airflow.sdk.exceptions.AirflowSkipException" in error["traceback"]


def real_marker() -> Any:
    from airflow.exceptions import AirflowSkipException

    try:
        import airflow.sdk
    except ImportError as error:
        return [getattr(AirflowSkipException, "marker", None), type(error).__name__]
    return str(airflow.sdk)


def test_nested_function_keeps_its_strings_and_lines(container: Container) -> None:
    def nested(fail_now: bool) -> str:
        text = """a
  b
    c"""
        if fail_now:
            raise ValueError("nested line")
        return text

    assert container.call(nested, False).value() == "a\n  b\n    c"
    trace = container.call(nested, True).error()["traceback"]
    assert f"line {line_of('nested line')}, in nested" in trace
    assert 'raise ValueError("nested line")' in trace
    assert container.call(with_text).value() == "first\nnot indented\n    indented"


def test_function_is_the_main_module(container: Container) -> None:
    assert container.call(pickles).value() == ["__main__", True, "__main__"]


def test_syntax_the_image_does_not_know_is_named(tmp_path: Path) -> None:
    python = find_python("3.8")
    if python is None:
        pytest.skip("no Python 3.8 here")
    source = "def f():\n    match 1:\n        case 1:\n            return 1"
    config = python_config(task="t", function="f", source=source, file="dag.py", line=7)
    error = Container(tmp_path, python).run(config).error()
    assert error["type"] == "SyntaxError"
    assert "read by Python 3.8" in error["message"]
    assert "dag.py, line 8" in error["message"]


def test_an_earlier_attempts_error_is_gone_after_success(container: Container) -> None:
    first = container.call(raise_value_error, "first attempt")
    assert first.error()["message"] == "first attempt"
    second = container.call(give_one, "fine")
    assert second.value() == "fine"
    assert [path.name for path in second.folder.iterdir()] == ["executor_output.json"]


# --- what is wrong around the task ----------------------------------------------------------------------


def test_input_errors_are_plain(container: Container) -> None:
    config = config_of(give_one, [from_input("x")])
    lost = str(Reference.to("gs://bucket/lost.json", "[1]"))
    changed = write_value(container, "[1]", "gs://bucket/changed.json")
    (container.root / "bucket" / "changed.json").write_text("[2]")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "input 'x': expected a text in the executor input, found NoneType"),
        ({"x": 5}, "input 'x': expected a text in the executor input, found int"),
        ({"x": "nope"}, "input 'x': not a protocol text"),
        ({"x": "@gs://b/c"}, "input 'x': not a reference"),
        ({"x": lost}, "input 'x': cannot read gs://bucket/lost.json"),
        ({"x": changed}, "input 'x': gs://bucket/changed.json is not the file that was written"),
    ]
    for inputs, message in cases:
        ended = container.run(config, inputs)
        error = ended.error()
        assert error["message"].startswith(message)
        assert "Traceback" not in ended.stderr
        assert ended.shown_error().count("Traceback") == 0
    error = container.run(config_of(give_one, [from_input("x", get="k")]), {"x": "[1]"}).error()
    assert error["message"] == "input 'x': key 'k' is wanted, but the value is no dict but list"


def test_unknown_configuration_is_refused(container: Container) -> None:
    config = config_of(give_one, [constant(1)])
    assert "version 1" in container.run({**config, "v": 1}).error()["message"]
    assert "kind 'perl'" in container.run({**config, "kind": "perl"}).error()["message"]


@pytest.mark.parametrize("arguments", [[], ["{}", "{}"], ["{", "{}"], ["[]", "[]"], ["{}", "{}", "{}"]])
def test_unreadable_arguments_are_named(container: Container, arguments: list[str]) -> None:
    command = container.command({}, {})[:4] + arguments
    done = subprocess.run(command, env=container.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("airflow-vertex: cannot read the task's two arguments")


def test_folder_outside_cloud_storage_has_no_address(container: Container) -> None:
    config = config_of(give_one, [constant("x" * 100)], inline_limit=10)
    executor_input = {"outputs": {"outputFile": str(container.root.parent / "elsewhere" / "out.json")}}
    command = [*container.command(config, {})[:5], json.dumps(executor_input)]
    done = subprocess.run(command, env=container.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "so it has no gs:// address" in done.stderr


# --- bash -----------------------------------------------------------------------------------------------


def run_bash(container: Container, command: str, inputs: dict[str, str] | None = None, **options: Any) -> Any:
    return container.run(bash_config(task="g.b", command=command, **options), inputs, FROM_IMAGE="image")


def test_bash_returns_the_last_line(container: Container) -> None:
    assert run_bash(container, "true").value() == ""
    assert run_bash(container, "echo a; echo; echo").value() == ""
    assert run_bash(container, "printf 'no newline'").value() == "no newline"
    assert run_bash(container, "printf '\\xff\\n'").value() == "\\xff"
    assert run_bash(container, "printf 'ü 🚀'").value() == "ü 🚀"


def test_bash_environment(container: Container) -> None:
    show = 'echo "$FROM_IMAGE|$MINE"'
    mine = {"MINE": from_input("m")}
    inputs = {"m": encode("""it's "quoted" $(touch x) ;rm {{ x }}""")}
    assert run_bash(container, show).value() == "image|"
    assert run_bash(container, show, inputs, env=mine).value() == """|it's "quoted" $(touch x) ;rm {{ x }}"""
    assert run_bash(container, show, inputs, env=mine, append_env=True).value().startswith("image|it's")
    assert run_bash(container, show, env={}).value() == "|"
    error = run_bash(container, show, env={"MINE": 5}).error()
    assert error["message"] == "env['MINE'] must be a str, found int"


def test_bash_folder(container: Container) -> None:
    assert run_bash(container, "pwd", cwd=str(container.root)).value() == str(container.root)
    scratch = run_bash(container, "touch left; pwd").value()
    assert Path(scratch).name.startswith("airflow-vertex-")
    assert not Path(scratch).exists()
    error = run_bash(container, "pwd", cwd=str(container.root / "none")).error()
    assert error["type"] == "AirflowException"
    assert "cwd is no directory in this image" in error["message"]


def test_bash_exit_codes(container: Container) -> None:
    error = run_bash(container, "echo before; exit 3").error()
    assert (error["type"], error["message"]) == (
        "AirflowException",
        "the bash command failed with exit code 3: before",
    )
    assert not error["skipped"]
    error = run_bash(container, "exit 99").error()
    assert error["type"] == "AirflowSkipException"
    assert error["skipped"]
    assert "it counts as failed" in error["message"]
    error = run_bash(container, "exit 99", skip_exit_codes=()).error()
    assert (error["message"], error["skipped"]) == ("the bash command failed with exit code 99", False)
    assert run_bash(container, "kill -9 $$").error()["message"] == "the bash command failed with exit code -9"


def test_bash_command_from_a_function(container: Container) -> None:
    from airflow_vertex_provider.graph.code import carry_function

    made = carry_function(build_command).to_config()
    config = bash_config(task="g.b", **made, args=[from_input("w")])
    assert container.run(config, {"w": encode("hello")}).value() == "hello"
    nothing = carry_function(give_one).to_config()
    for value in (None, "", "  ", 5):
        error = container.run(bash_config(task="g.b", **nothing, args=[constant(value)])).error()
        assert error["message"] == f"the bash command must be a non-empty str, found {value!r}"


def test_bash_command_that_cannot_start(container: Container) -> None:
    assert "cannot start" in run_bash(container, "echo \x00").error()["message"]
    error = container.run(bash_config(task="g.b", command="echo"), PATH=str(container.root)).error()
    assert error["message"] == "the image has no bash on its PATH"


def test_lines_arrive_while_the_command_runs(container: Container) -> None:
    go = container.root / "go"
    os.mkfifo(go)
    config = bash_config(task="g.b", command=f"echo first; read line < {go}; echo $line")
    process = subprocess.Popen(
        container.command(config, {}), env=container.environment(), stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("airflow-vertex: task g.b runs a bash command")
        assert process.stdout.readline() == "first\n"
        go.write_text("second\n")
        assert process.stdout.readline() == "second\n"
    assert process.returncode == 0


# --- cancellation ---------------------------------------------------------------------------------------


def test_cancelled_function_runs_its_finally(container: Container) -> None:
    process = start(container, config_of(wait_until_ended))
    with process:
        wait_for_line(process, "waiting")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read() if process.stdout else ""
    assert rest == "cleaned up\n"
    folder = container.root / "bucket/job/task_1"
    error = json.loads((folder / "airflow_error.json").read_text())
    assert (process.returncode, error["message"]) == (1, "the task was ended by signal 15")


def wait_until_ended() -> None:
    import time

    try:
        # Within the block: the signal follows this line at once.
        print("waiting")
        time.sleep(60)
    finally:
        print("cleaned up")


def test_workers_of_a_pool_end_quietly(container: Container) -> None:
    ended = container.call(use_pool)
    assert ended.value() == [0, 2, 4]
    assert ended.stderr == ""


def use_pool(number: int | None = None) -> Any:
    if number is not None:
        return number * 2
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(use_pool, range(3))


def test_cancelled_bash_takes_its_children_along(container: Container) -> None:
    process = start(container, bash_config(task="g.b", command="sleep 60 & echo $!; wait"))
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 1
    assert not alive(child)


def alive(pid: int) -> bool:
    """Say whether a process still runs; one that nobody has waited for yet does not."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def start(container: Container, config: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        container.command(config, {}),
        env=container.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"the process ended without printing {text!r}")


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)
