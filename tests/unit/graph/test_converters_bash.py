"""Shell commands as members: files, variables and exit codes that ask for a skip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import task

from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.runtime import protocol
from tests.unit.graph.converting import Converted, convert
from tests.unit.runtime.container import Container


def bash(command: Any = "echo hi", folder: Path | None = None, **options: Any) -> Converted:
    return convert(lambda: BashOperator(task_id="b", bash_command=command, **options), folder=folder)


tmp_path_of_the_module = Path(__file__).parent


class Evens:
    """A container that cannot be listed."""

    def __contains__(self, code: object) -> bool:
        return isinstance(code, int) and 1 < code < 5 and code % 2 == 0


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        (99, [99]),
        (7, [7]),
        (0, [0]),
        ([3, 1], [1, 3]),
        ((99,), [99]),
        ({5}, [5]),
        (range(10, 13), [10, 11, 12]),
        (Evens(), [2, 4]),
        ([-9], [-9]),
        (None, []),
        ([], []),
    ],
)
def test_exit_codes_that_skip(given: Any, codes: list[int]) -> None:
    converted = bash(skip_on_exit_code=given)
    assert converted.payload["skip_exit_codes"] == codes
    assert converted.conversion.may_skip is bool(codes)
    assert converted.conversion.kind is TaskKind.BASH


def test_the_exit_code_that_skips_by_default() -> None:
    assert bash().payload["skip_exit_codes"] == [99]


def test_exit_codes_that_are_none() -> None:
    assert bash(skip_on_exit_code="99").fields == ["skip_on_exit_code"]


class TestFiles:
    def test_a_command(self, tmp_path: Path) -> None:
        (tmp_path / "scripts").mkdir()
        (tmp_path / "scripts" / "run.sh").write_text("set -e\necho {{ ds }}\n")
        (tmp_path / "plain.bash").write_text("echo plain\n")
        templated = bash("scripts/run.sh", tmp_path)
        assert templated.node("command", {"ds": "2025-01-02"}) == "set -e\necho 2025-01-02"
        assert bash("plain.bash", tmp_path).node("command") == "echo plain"

    def test_a_command_beside_the_dag(self) -> None:
        # The DAG's own folder is that of this test.
        converted = bash("scripts_that_are_not_there.sh")
        assert converted.problems == [("bash_command", "scripts_that_are_not_there.sh")]
        assert str(Path(__file__).parent) in converted.allowed[0]

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        converted = bash("gone.sh", tmp_path)
        assert converted.fields == ["bash_command"]
        assert str(tmp_path) in converted.allowed[0]

    def test_a_blank_keeps_the_command(self) -> None:
        assert bash("/opt/run.sh ").node("command") == "/opt/run.sh "

    def test_a_file_whose_text_airflow_takes_for_a_name(self, tmp_path: Path) -> None:
        (tmp_path / "run.sh").write_text("exec other.sh")
        assert bash("run.sh", tmp_path).fields == ["bash_command"]

    def test_a_file_that_jinja_cannot_read(self, tmp_path: Path) -> None:
        (tmp_path / "latin.sh").write_bytes(b"echo \xe9\n")
        (problem,) = bash("latin.sh", tmp_path).problems
        assert problem == ("bash_command", "latin.sh")

    def test_variables_and_folder(self, tmp_path: Path) -> None:
        (tmp_path / "text.sh").write_text("content\n")
        converted = bash(env={"A": "text.sh", "B": "gone.sh"}, cwd="gone.bash", folder=tmp_path)
        assert converted.fields == ["env['B']", "cwd"]

    def test_arguments_of_a_decorated_function(self, tmp_path: Path) -> None:
        (tmp_path / "text.sh").write_text("content\n")

        def command(text: str) -> str:
            return f"echo {text}"

        converted = convert(lambda: task.bash(command)("text.sh"), folder=tmp_path)
        assert converted.run() == "echo content"


class TestDecorated:
    def test_context_and_skips(self) -> None:
        def command(ds: Any, **context: Any) -> str:
            from airflow.sdk.exceptions import AirflowSkipException

            if context["params"]["x"]:
                raise AirflowSkipException
            return f"echo {ds}"

        options: dict[str, Any] = {"skip_on_exit_code": None}
        converted = convert(lambda: task.bash(**options)(command)())
        assert converted.payload["skip_exit_codes"] == []
        assert converted.conversion.may_skip is True
        assert converted.run({"ds": "2025-01-02", "params": {"x": 0}}) == "echo 2025-01-02"

    @pytest.mark.parametrize(
        "text", ["echo {{ ds }}", "{% if a %}", 'echo "${#list[@]}"', "/opt/run.sh", "run.bash"]
    )
    def test_a_returned_command_that_airflow_would_render(self, text: str, tmp_path: Path) -> None:
        def command(text: str) -> str:
            return text

        converted = convert(lambda: task.bash(command)("x"))
        config = {**converted.payload, "args": [protocol.constant(text)], "inline_limit": 24_000}
        error = Container(tmp_path).run(config).error()
        assert "the command that command returned would be rendered by Airflow" in error["message"]

    def test_templates_dict_is_no_argument_of_it(self) -> None:
        def command(templates_dict: Any = None) -> str:
            return f"echo {templates_dict}"

        assert convert(lambda: task.bash(command)()).run() == "echo None"

    def test_a_function_that_cannot_be_carried(self) -> None:
        def command() -> str:
            return str(tmp_path_of_the_module)

        converted = convert(lambda: task.bash(command)())
        assert converted.fields == ["python_callable"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"output_encoding": "latin-1"}, "output_encoding"),
        ({"output_processor": str.strip}, "output_processor"),
    ],
)
def test_what_has_no_equal(options: dict[str, Any], field: str) -> None:
    assert bash(**options).fields == [field]
