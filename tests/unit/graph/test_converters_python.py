"""Functions as members: arguments, context, templates, exceptions, branches and virtual environments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.python import (
    BranchPythonOperator,
    BranchPythonVirtualenvOperator,
    ExternalPythonOperator,
    PythonOperator,
    PythonVirtualenvOperator,
    ShortCircuitOperator,
)
from airflow.sdk import DAG, task

from airflow_vertex_provider.graph.converters import converter_for, supported
from airflow_vertex_provider.graph.model import FromOutput, TaskKind
from airflow_vertex_provider.runtime import entrypoint, protocol
from tests.unit.graph.converting import Converted, convert

DAY = datetime(2025, 1, 2, tzinfo=UTC)
CONTEXT: dict[str, Any] = {
    "ds": "2025-01-02",
    "run_id": "manual__1",
    "params": {"x": 3},
    "logical_date": DAY,
    "dag_run": SimpleNamespace(conf={"a": [1]}, run_id="manual__1", run_type="manual", dag_id="d"),
}


def operator(function: Callable[..., Any], **options: Any) -> Converted:
    return convert(lambda: PythonOperator(task_id="p", python_callable=function, **options))


def decorated(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Converted:
    return convert(lambda: task(function)(*args, **kwargs))


class TestContext:
    def test_the_run_s_configuration(self) -> None:
        def function(dag_run: Any) -> Any:
            return dag_run.conf["a"], dag_run.run_type == "manual", bool(dag_run.run_id)

        converted = operator(function)
        assert converted.run(CONTEXT) == ([1], True, True)
        assert set(converted.table.context.values()) == {"dag_run.conf", "dag_run.run_type", "dag_run.run_id"}

    def test_the_whole_context_by_constant_keys(self) -> None:
        def function(a: int, ds: Any = None, **context: Any) -> Any:
            return [
                a,
                ds,
                context["params"]["x"],
                context.get("ts", "no ts"),
                context["dag_run"].conf,
                "ds" in context,
                context["extra"],
                context["templates_dict"],
            ]

        converted = operator(function, op_args=[1], op_kwargs={"extra": "{{ run_id }}"})
        # A run without a logical date has no ts; ds is given by name, so it is not in the rest.
        assert converted.run(CONTEXT) == [1, "2025-01-02", 3, "no ts", {"a": [1]}, False, "manual__1", None]

    def test_the_author_s_own_value_wins(self) -> None:
        def function(**context: Any) -> Any:
            return context["ds"], context["ti"], context["dag_run"]

        assert operator(function, op_kwargs={"ds": 1, "ti": 2, "dag_run": 3}).run({}) == (1, 2, 3)

    def test_an_unused_context_asks_for_nothing(self) -> None:
        def function(**context: Any) -> Any:
            return 1

        converted = decorated(function)
        assert converted.run({}) == 1
        assert converted.table.parameters == []

    def test_live_objects_are_named_with_their_line(self) -> None:
        def function(ti: Any = None, **context: Any) -> Any:
            print(ti)
            return context["task"].task_id

        first = function.__code__.co_firstlineno
        converted = decorated(function)
        assert converted.fields == ["argument ti", "argument **context"]
        assert f"(function, line {first + 1})" in converted.problems[0][1]
        assert f"line {first + 2})" in converted.problems[1][1]
        assert "dag_run" in converted.allowed[0]

    def test_a_use_of_the_run_that_cannot_travel(self) -> None:
        def function(dag_run: Any) -> Any:
            return dag_run.get_task_instances()

        (problem,) = operator(function).problems
        assert problem[0] == "argument dag_run"
        assert "dag_run.get_task_instances() (test_converters_python.py, line" in problem[1]

    def test_the_context_s_getter(self) -> None:
        def function() -> Any:
            from airflow.sdk import get_current_context

            return get_current_context()["ds"]

        converted = decorated(function)
        assert converted.fields == ["get_current_context"]
        assert f"line {function.__code__.co_firstlineno + 1}" in converted.problems[0][1]


class TestTemplates:
    def test_the_dict_of_templates(self) -> None:
        def function(templates_dict: Any) -> Any:
            return templates_dict

        templates = {"day": "{{ ds }}", "n": [1, "{{ run_id }}"]}
        assert operator(function, templates_dict=templates).run(CONTEXT) == {
            "day": "2025-01-02",
            "n": [1, "manual__1"],
        }
        assert operator(function).run({}) is None

    def test_the_dict_of_templates_in_the_context(self) -> None:
        def function(**context: Any) -> Any:
            return context["templates_dict"]["day"]

        assert operator(function, templates_dict={"day": "{{ ds }}"}).run(CONTEXT) == "2025-01-02"

    def test_files(self, tmp_path: Path) -> None:
        def function(query: str, templates_dict: Any, more: Any) -> Any:
            return query, templates_dict["q"], more

        (tmp_path / "day.sql").write_text("select '{{ ds }}'\n")
        (tmp_path / "all.sql").write_text("select 1\n")

        def build() -> Any:
            return PythonOperator(
                task_id="p",
                python_callable=function,
                op_args=["day.sql"],
                op_kwargs={"more": {"deep": ("all.sql", "day.sql ")}},
                templates_dict={"q": "all.sql"},
                templates_exts=[".sql"],
            )

        # As Jinja does, without the file's last line feed.
        assert convert(build, folder=tmp_path).run(CONTEXT) == (
            "select '2025-01-02'",
            "select 1",
            {"deep": ("select 1", "day.sql ")},
        )

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        def function(query: str) -> Any:
            return query

        def build() -> Any:
            return PythonOperator(
                task_id="p", python_callable=function, op_args=["gone.sql"], templates_exts=[".sql"]
            )

        converted = convert(build, folder=tmp_path)
        assert converted.problems == [("op_args[0]", "gone.sql")]
        assert str(tmp_path) in converted.allowed[0]

    def test_texts_without_jinja_are_rendered_too(self) -> None:
        def function(a: Any, b: Any, c: Any) -> Any:
            return a, b, c

        def build() -> Any:
            return PythonOperator(
                task_id="p", python_callable=function, op_args=["a\n", "a\n\n"], op_kwargs={"c": ["1\r\n2"]}
            )

        assert convert(build).run() == ("a", "a\n", ["1\n2"])

    def test_native_objects(self) -> None:
        def function(a: Any, b: Any, c: Any = 0) -> Any:
            return a, b, c

        def build() -> Any:
            return PythonOperator(
                task_id="p", python_callable=function, op_args=["1", "[1, 'a']"], op_kwargs={"c": "x"}
            )

        assert convert(build, render_template_as_native_obj=True).run() == (1, [1, "a"], "x")
        assert convert(build).run() == ("1", "[1, 'a']", "x")

    def test_macros_and_filters_of_the_dag(self) -> None:
        def function(a: str) -> str:
            return a

        converted = convert(
            lambda: PythonOperator(
                task_id="p", python_callable=function, op_args=["{{ shout(ds) | twice }}"]
            ),
            user_defined_macros={"shout": lambda text: f"{text}!"},
            user_defined_filters={"twice": lambda text: text * 2},
        )
        assert converted.run(CONTEXT) == "2025-01-02!2025-01-02!"


class TestOutputsAsArguments:
    """The whole list or dict of arguments as the output of a task, here a template's stand-in for one."""

    def made(self, function: Callable[..., Any], **options: Any) -> Converted:
        @task
        def earlier() -> Any:
            return 1

        def build() -> Any:
            given: dict[str, Any] = {name: earlier.override(task_id=name)() for name in options}
            return PythonOperator(task_id="p", python_callable=function, **given)

        return convert(build)

    def run(self, function: Callable[..., Any], context: Any = None, **options: Any) -> Any:
        converted = self.made(function, **options)
        assert converted.problems == []
        inputs = {}
        for name, source in converted.values.inputs.items():
            if isinstance(source, FromOutput):
                inputs[name] = protocol.encode(options[source.task.removeprefix("g.")])
            else:
                inputs[name] = protocol.encode(context["ds"])
        return entrypoint.use_function(dict(converted.payload), inputs)

    def test_a_dict(self) -> None:
        def function(a: int, b: int = 1, ds: Any = None, templates_dict: Any = 0) -> Any:
            return a, b, ds, templates_dict

        given = {"a": 5, "dropped": 6, "templates_dict": 7}
        assert self.run(function, {"ds": "day"}, op_kwargs=given) == (5, 1, "day", None)
        assert self.run(function, {"ds": "day"}, op_kwargs={"a": 5, "ds": "mine"}) == (5, 1, "mine", None)

    def test_a_dict_for_a_function_that_takes_all(self) -> None:
        def function(**context: Any) -> Any:
            return context["ds"], context["more"]

        assert self.run(function, {"ds": "day"}, op_kwargs={"more": 1}) == ("day", 1)

    def test_a_list(self) -> None:
        def function(*args: Any, k: int = 0) -> Any:
            return args, k

        assert self.run(function, op_args=[1, [2]], op_kwargs={"k": 3}) == ((1, [2]), 3)

    @pytest.mark.parametrize(("name", "value"), [("op_args", "ab"), ("op_kwargs", [("a", 1)])])
    def test_other_shapes(self, name: str, value: Any) -> None:
        def function(*args: Any, **kwargs: Any) -> Any:
            return args

        made: dict[str, Any] = {name: value}
        assert operator(function, **made).fields == [name]


def test_a_function_that_may_skip() -> None:
    def by_name() -> None:
        from airflow.exceptions import AirflowSkipException

        raise AirflowSkipException

    def by_module() -> None:
        import airflow.exceptions as e

        raise e.AirflowSkipException("no")

    def never() -> None: ...

    assert [decorated(function).conversion.may_skip for function in (by_name, by_module, never)] == [
        True,
        True,
        False,
    ]


class TestBranches:
    def choose(self) -> Any:
        return "g.a"

    @pytest.mark.parametrize("way", ["decorator", "operator"])
    def test_branch(self, way: str) -> None:
        def choose(x: int) -> str:
            return "g.a" if x else "g.b"

        def build() -> Any:
            if way == "decorator":
                return task.branch(choose)(1)
            return BranchPythonOperator(task_id="b", python_callable=choose, op_args=[1])

        converted = convert(build)
        assert (converted.conversion.skipper, converted.payload["branch"]) == ("branch", True)
        assert converted.conversion.kind is TaskKind.PYTHON
        assert converted.run() == "g.a"

    @pytest.mark.parametrize(("ignore", "skipper"), [(True, "all"), (False, "direct"), (1, "direct")])
    @pytest.mark.parametrize("way", ["decorator", "operator"])
    def test_short_circuit(self, way: str, ignore: Any, skipper: str) -> None:
        def decide(x: int) -> bool:
            return x > 1

        def build() -> Any:
            if way == "decorator":
                return task.short_circuit(ignore_downstream_trigger_rules=ignore)(decide)(2)
            return ShortCircuitOperator(
                task_id="s", python_callable=decide, op_args=[2], ignore_downstream_trigger_rules=ignore
            )

        converted = convert(build)
        assert (converted.conversion.skipper, "branch" in converted.payload) == (skipper, False)
        assert converted.run() is True

    def test_branch_in_a_virtual_environment(self) -> None:
        def choose() -> str:
            return "g.a"

        builds: list[Callable[[], Any]] = [
            lambda: task.branch_virtualenv(requirements=["six"])(choose)(),
            lambda: BranchPythonVirtualenvOperator(task_id="b", python_callable=choose, requirements=["six"]),
        ]
        for build in builds:
            converted = convert(build)
            assert (converted.conversion.skipper, converted.payload["branch"]) == ("branch", True)
            assert converted.conversion.settings == {"packages": ["six"]}


class TestVirtualenv:
    def made(self, folder: Path | None = None, function: Any = None, **options: Any) -> Converted:
        def one() -> int:
            return 1

        return convert(
            lambda: PythonVirtualenvOperator(task_id="v", python_callable=function or one, **options),
            folder=folder,
        )

    def test_requirements(self, tmp_path: Path) -> None:
        (tmp_path / "requirements.txt").write_text("# ours\nscipy>=1 # for fits\n\nsix=={{ params.six }}\n")
        assert self.made(requirements=["numpy==2", "a[b]~=1; python_version>'3'"]).conversion.settings == {
            "packages": ["numpy==2", "a[b]~=1; python_version>'3'"]
        }
        assert self.made(requirements="numpy\npandas  # frames\n").conversion.settings == {
            "packages": ["numpy", "pandas"]
        }
        assert self.made(tmp_path, requirements="requirements.txt").conversion.settings == {
            "packages": ["scipy>=1", "six=={{ params.six }}"]
        }
        assert self.made().conversion.settings == {}

    def test_requirements_beside_packages(self) -> None:
        config = {"vertex": {"packages": ["a"], "env": {"A": "1", "B": "1"}}}
        converted = self.made(requirements=["b"], executor_config=config, env_vars={"B": "2"})
        assert converted.conversion.settings == {"packages": ["a", "b"], "env": {"A": "1", "B": "2"}}

    @pytest.mark.parametrize("text", ["-r other.in", "--hash=x", "a \\", "a @ https://${TOKEN}@host/a.whl"])
    def test_requirements_that_only_a_file_can_hold(self, text: str) -> None:
        converted = self.made(requirements=["ok", text])
        assert converted.fields == ["requirements[1]"]

    def test_a_requirements_file_that_is_not_there(self, tmp_path: Path) -> None:
        converted = self.made(tmp_path, requirements="gone.txt")
        assert converted.problems == [("requirements[0]", "gone.txt")]
        assert str(tmp_path) in converted.allowed[0]

    def test_an_output_as_requirement(self) -> None:
        @task
        def outer() -> str:
            return "six"

        def one() -> int:
            return 1

        def build() -> Any:
            requirements: Any = [outer()]
            return PythonVirtualenvOperator(task_id="v", python_callable=one, requirements=requirements)

        converted = convert(build)
        assert converted.fields == ["requirements[0]"]

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"python_version": "3.9"}, "python_version"),
            ({"pip_install_options": ["--pre"]}, "pip_install_options"),
            ({"pip_install_options": "--no-deps --pre"}, "pip_install_options"),
            ({"pip_install_options": ["--no-deps=1"]}, "pip_install_options"),
            ({"pip_install_options": ["--index-url"]}, "pip_install_options"),
            ({"pip_install_options": ["--extra-index-url=https://a"]}, "pip_install_options"),
            (
                {"pip_install_options": ["-i", "https://a"], "index_urls": ["https://b"]},
                "pip_install_options",
            ),
            ({"index_urls_from_connection_ids": ["c"]}, "index_urls_from_connection_ids"),
            ({"index_urls": []}, "index_urls"),
            ({"index_urls": ["https://{{ ds }}/simple"]}, "index_urls"),
            ({"string_args": ["a"]}, "string_args"),
            ({"inherit_env": False}, "inherit_env"),
            ({"skip_on_exit_code": 99}, "skip_on_exit_code"),
            ({"skip_on_exit_code": "9"}, "skip_on_exit_code"),
            ({"env_vars": {"A": ""}}, "env_vars['A']"),
            ({"env_vars": {"1 A": "x"}}, "env_vars['1 A']"),
            ({"env_vars": {"A": "{{ ds }}"}}, "env_vars['A']"),
        ],
    )
    def test_what_has_no_equal(self, options: dict[str, Any], field: str) -> None:
        converted = self.made(**options)
        assert converted.fields == [field]
        assert converted.allowed[0]

    @pytest.mark.parametrize(
        "options",
        [
            {"system_site_packages": False},
            {"serializer": "cloudpickle"},
            {"expect_airflow": False},
            {"venv_cache_path": "/tmp/venvs"},
            {"skip_on_exit_code": []},
        ],
    )
    def test_what_is_airflow_s_own_part(self, options: dict[str, Any]) -> None:
        assert self.made(**options).run() == 1

    def test_index_urls(self) -> None:
        converted = self.made(index_urls=["https://one.example/simple", "https://two.example/simple"])
        assert converted.conversion.settings["pip_index_urls"] == [
            "https://one.example/simple",
            "https://two.example/simple",
        ]

    def test_options_of_pip(self) -> None:
        options = [
            "--no-deps",
            "-q",
            "-i",
            "https://a",
            "--extra-index-url=https://b",
            "--extra-index-url",
            "c",
        ]
        assert self.made(pip_install_options=options).conversion.settings == {
            "pip_no_deps": True,
            "pip_index_urls": ["https://a", "https://b", "c"],
        }

    def test_only_what_airflow_hands_on_of_its_context(self) -> None:
        def function(ds: Any, ti: Any = 0, params: Any = 0, logical_date: Any = 0) -> Any:
            return ds, ti, params, logical_date

        # Airflow hands ti to no environment, params only to one that has Airflow, dates only with pendulum.
        assert self.made(function=function).run(CONTEXT) == ("2025-01-02", 0, {"x": 3}, DAY)
        alone = self.made(function=function, system_site_packages=False, requirements=["six"])
        assert alone.run(CONTEXT) == ("2025-01-02", 0, 0, 0)
        dated = self.made(function=function, system_site_packages=False, requirements=["pendulum>2"])
        assert dated.run(CONTEXT) == ("2025-01-02", 0, 0, DAY)

    def test_exceptions_are_failures_as_in_airflow(self) -> None:
        def skips() -> None:
            from airflow.exceptions import AirflowSkipException

            raise AirflowSkipException

        def fails() -> None:
            from airflow.exceptions import AirflowFailException

            raise AirflowFailException

        assert self.made(function=skips).conversion.may_skip is False
        assert self.made(function=fails, retries=0).problems == []
        assert self.made(function=fails, retries=2).fields == ["AirflowFailException"]

    def test_decorator(self) -> None:
        @task.virtualenv(requirements=["six"], system_site_packages=False)
        def one(a: int) -> int:
            return a + 1

        converted = convert(lambda: one(1))
        assert converted.conversion.settings == {"packages": ["six"]}
        assert converted.run() == 2


def test_external_python_has_no_converter() -> None:
    def one() -> int:
        return 1

    with DAG("d"):
        other = ExternalPythonOperator(task_id="e", python_callable=one, python="/usr/bin/python3")
    assert converter_for(other) is None


def test_supported_names_everything() -> None:
    for name in (
        "@task",
        "@task.vertex",
        "PythonOperator",
        "@task.virtualenv",
        "PythonVirtualenvOperator",
        "@task.branch",
        "BranchPythonOperator",
        "@task.short_circuit",
        "ShortCircuitOperator",
        "@task.bash",
        "BashOperator",
        "VertexContainerOperator",
        "VertexComponentOperator",
        "KubernetesPodOperator",
        "DockerOperator",
        "@task.kubernetes",
        "@task.docker",
        "EmptyOperator",
    ):
        assert name in supported().split(", ")
