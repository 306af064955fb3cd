"""What an author's error becomes: data with the author's frames, whatever the error is like."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.runtime.protocol import bash_config, constant, python_config
from tests.unit.runtime import failures
from tests.unit.runtime.container import PYTHONS, Container, Ended, config_of, find_python


@pytest.fixture
def container(tmp_path: Path) -> Container:
    shutil.copy(failures.__file__, tmp_path)
    return Container(tmp_path)


def run(container: Container, function: Callable[..., Any], *args: object) -> Ended:
    """Run a function of the module that the image has."""
    config = python_config(
        task="group.task", function=function.__name__, module="failures", args=[constant(arg) for arg in args]
    )
    return container.run(config, PYTHONPATH=str(container.root))


def run_inline(container: Container, function: Callable[..., Any]) -> Ended:
    """Run a function whose text travels, and that of what it reaches."""
    return container.run(config_of(function))


CASES: list[tuple[Callable[..., Any], str, str, tuple[str, ...]]] = [
    (
        failures.helper,
        "ZeroDivisionError",
        "division by zero",
        ("# the helper's line", "# the caller's line"),
    ),
    (
        failures.context,
        "RuntimeError",
        "on the way out",
        ("# the helper's line", "another exception occurred"),
    ),
    (failures.cause, "RuntimeError", "because of it", ("# the helper's line", "direct cause")),
    (
        failures.task_group,
        "ExceptionGroup",
        "unhandled errors",
        ("# the helper's line", "2 ----", "ZeroDivisionError"),
    ),
    (failures.group, "ExceptionGroup", "several (2 sub-exceptions)", ("ValueError: one", "KeyError: 'two'")),
    (failures.odd, "OddError", "(its message cannot be made: OddError)", ("in odd", "OddError")),
    (failures.odd_notes, "OddNotesError", "what went wrong", ("in odd_notes", "what went wrong")),
    (failures.odd_cause, "RuntimeError", "visible", ("in odd_cause", "RuntimeError: visible")),
    (failures.huge, "ValueError", "begin x", ("in huge", "raise ValueError(", "ValueError: begin x")),
    (
        failures.endless,
        "RecursionError",
        "maximum recursion depth",
        ("in endless", "in other", "RecursionError"),
    ),
    (failures.strange_text, "ValueError", "half \ud83d, null \0", ("in strange_text",)),
    (
        failures.in_a_thread,
        "ZeroDivisionError",
        "division by zero",
        ("in in_a_thread", "# the helper's line"),
    ),
    (failures.in_a_library, "JSONDecodeError", "Expecting property name", ("in in_a_library", "decoder.py")),
    (failures.generator, "ZeroDivisionError", "division by zero", ("in generator", "# the helper's line")),
    (failures.interrupt, "KeyboardInterrupt", "", ("in interrupt",)),
]


@pytest.mark.parametrize("how", [run, run_inline], ids=["image", "inline"])
@pytest.mark.parametrize(
    ("function", "kind", "message", "shown"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_an_error_is_data(
    container: Container,
    how: Callable[..., Ended],
    function: Callable[..., Any],
    kind: str,
    message: str,
    shown: tuple[str, ...],
) -> None:
    ended = how(container, function)
    error = ended.error()
    frames = re.findall(r'File "(.*?)", line (\d+), in (\w+)', error["traceback"])
    # From the author's first line on, each with its place in the author's file.
    assert Path(frames[0][0]).name == "failures.py"
    for file, line, name in frames:
        if Path(file).name == "failures.py":
            code: Any = getattr(failures, name, None) or vars(failures.OddError)[name]
            first = inspect.unwrap(code).__code__.co_firstlineno
            assert first < int(line) <= first + len(inspect.getsource(code).splitlines())
    assert error["type"] == kind
    assert error["message"].startswith(message)
    for text in (error["traceback"], ended.shown_error()):
        assert "<string>" not in text
        for part in shown:
            assert part in text
    assert ended.shown_error().startswith(f"{kind}: {message}")
    assert len(ended.shown_error()) < 8200
    assert kind in ended.stderr


def test_of_a_huge_message_both_ends_and_the_frames_are_shown(container: Container) -> None:
    shown = run(container, failures.huge).shown_error()
    assert "characters left out" in shown
    assert shown.startswith("ValueError: begin xx")
    assert "in huge" in shown
    assert shown.rstrip().endswith("xx end")


def test_what_was_logged_and_printed_before_the_error_is_there(container: Container) -> None:
    ended = run(container, failures.logs)
    assert ended.stdout.splitlines()[1:] == ["INFO mine: an info line"]
    assert ended.stderr.startswith("printed\nTraceback")


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("early", [False, True], ids=["imported by the function", "imported before it"])
def test_logging_is_set_up_whenever_it_is_imported(tmp_path: Path, version: str, early: bool) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    container = Container(tmp_path, python)
    if early:
        # As a tool does that wraps the interpreter.
        (tmp_path / "sitecustomize.py").write_text("import logging")

    def log() -> list[bool]:
        import logging
        import logging.handlers
        import sys

        logging.getLogger("mine").info("an info line")
        logging.basicConfig(format="unseen %(message)s")
        logging.getLogger("mine").warning("a warning")
        hooks = [type(hook).__name__ for hook in sys.meta_path]
        return [sys.modules["logging"] is logging, "LoggingHook" in hooks]

    ended = container.run(config_of(log), PYTHONPATH=str(tmp_path))
    assert ended.value() == [True, False]
    assert ended.stdout.splitlines()[1:] == ["INFO mine: an info line", "WARNING mine: a warning"]


def test_nothing_is_imported_for_a_function_that_imports_nothing(container: Container) -> None:
    def loaded() -> list[str]:
        import sys

        return sorted(
            {"logging", "traceback", "subprocess", "asyncio", "tempfile", "hashlib"} & set(sys.modules)
        )

    config = config_of(loaded)
    command = container.command(config, {})
    # Without what this machine's site-packages import at every start.
    done = subprocess.run(
        [command[0], "-S", *command[1:]], env=container.environment(), check=True, capture_output=True
    )
    assert done.stdout.decode().startswith("airflow-vertex: task group.task runs loaded on Python")
    output = json.loads((container.root / "bucket/job/task_1/executor_output.json").read_text())
    assert output["parameterValues"]["Output"] == "[]"


def test_a_crash_of_native_code_says_where(container: Container) -> None:
    def crash() -> None:
        import os

        os.abort()

    ended = container.run(config_of(crash))
    assert ended.code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in ended.stderr
    assert re.search(r'File ".*test_errors.py", line \d+ in crash', ended.stderr)


def test_a_failed_command_says_its_last_line(container: Container) -> None:
    command = "echo started; echo 'no such table: rows' >&2; exit 3"
    error = container.run(bash_config(task="g.b", command=command)).error()
    assert error["type"] == "AirflowException"
    assert error["message"] == "the bash command failed with exit code 3: no such table: rows"
    assert "File" not in error["traceback"]
    silent = container.run(bash_config(task="g.b", command="exit 3"), folder="bucket/job/task_2").error()
    assert silent["message"] == "the bash command failed with exit code 3"


def test_an_error_of_the_call_itself_shows_no_frames_of_ours(container: Container) -> None:
    error = run(container, failures.divide, 1, 2, 3).error()
    assert error["type"] == "TypeError"
    assert "File" not in error["traceback"]
