"""Every setting of a task on every kind of member: it works there, or it is refused by name.

What a group says reaches the members that can use it, and passes by the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

from airflow_vertex_provider import (
    VertexComponentOperator,
    VertexContainerOperator,
    VertexTaskGroup,
    compile_group,
)
from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.settings import TASK_KEYS, merge_task_settings
from tests.unit import component_samples as samples
from tests.unit.graph.image_operators import DOCKER, POD, operator_class

#: A value for each key, with what it needs beside it.
SAMPLES: dict[str, dict[str, Any]] = {
    "custom_job": {"custom_job": {"machine_type": "n1-standard-8"}},
    "resources": {"resources": {"cpu_limit": "1"}},
    "image": {"image": "own:1"},
    "packages": {"packages": ["one"]},
    "enable_caching": {"enable_caching": True},
    "env": {"env": {"A": "b"}},
    "code": {"code": "bundle"},
    "code_paths": {"code_paths": ["tests"], "code": "bundle"},
    "serializers": {"serializers": ["pickle"]},
    "value_limit": {"value_limit": 100},
    "pip_index_urls": {"pip_index_urls": ["https://index"], "packages": ["one"]},
    "pip_no_deps": {"pip_no_deps": True, "packages": ["one"]},
    "wheel_cache": {"wheel_cache": "gs://bucket/wheels", "packages": ["one"]},
}
PIP = {"packages", "pip_index_urls", "pip_no_deps", "wheel_cache"}
CODE = {"code", "code_paths"}
VALUES = {"serializers", "value_limit"}


def give() -> Any:
    return 1


def choose() -> str:
    return "g.give"


def decides(decorated: Any) -> None:
    decorated >> task(give)()


Fill = Callable[[dict[str, Any]], object]
#: Kind of member to how it is made and to the keys that it cannot use.
MEMBERS: dict[str, tuple[Fill, set[str]]] = {
    "python": (lambda how: task(give, **how)(), set()),
    "vertex": (lambda how: task.vertex(give, **how)(), set()),
    "virtualenv": (lambda how: task.virtualenv(give, **how)(), set()),
    "branch": (lambda how: decides(task.branch(choose, **how)()), set()),
    "short circuit": (lambda how: decides(task.short_circuit(choose, **how)()), set()),
    "command": (lambda how: BashOperator(task_id="m", bash_command="true", **how), {"serializers"}),
    "function of a command": (lambda how: task.bash(choose, **how)(), {"serializers"}),
    "container": (
        lambda how: VertexContainerOperator(task_id="m", image="i", command=["x"], **how),
        PIP | CODE | VALUES,
    ),
    "pod": (
        lambda how: operator_class(POD, False)(task_id="m", image="i", cmds=["x"], **how),
        PIP | CODE | VALUES,
    ),
    "docker": (
        lambda how: operator_class(DOCKER, False)(
            task_id="m", image="i", command=["x"], do_xcom_push=False, **how
        ),
        PIP | CODE | VALUES,
    ),
    "component": (
        lambda how: VertexComponentOperator(task_id="m", component=samples.add, arguments={"a": 1}, **how),
        PIP | CODE | VALUES | {"custom_job", "image"},
    ),
    "pipeline": (
        lambda how: VertexComponentOperator(task_id="m", component=samples.inner, arguments={"n": 1}, **how),
        PIP | CODE | VALUES | {"custom_job", "image", "resources", "env"},
    ),
}


def close(fill: Callable[[], object], **settings: Any) -> Any:
    with DAG("d", schedule=None) as dag:
        with VertexTaskGroup(
            "g", **{"location": "europe-west4", "pipeline_root": "gs://bucket/root", **settings}
        ):
            fill()
    return dag.get_task("g.submit_pipeline")


def refused(fill: Callable[[], object], **settings: Any) -> set[str]:
    try:
        close(fill, **settings)
    except VertexGroupError as error:
        return {
            problem.field.removeprefix('executor_config["vertex"][').strip("]'") for problem in error.problems
        }
    return set()


def said(settings: dict[str, Any]) -> dict[str, Any]:
    return {"executor_config": {"vertex": settings}}


def test_every_key_has_a_sample() -> None:
    assert set(SAMPLES) == set(TASK_KEYS)


@pytest.mark.parametrize("kind", MEMBERS)
def test_of_the_task(kind: str) -> None:
    fill, unusable = MEMBERS[kind]
    for key, settings in SAMPLES.items():
        found = refused(lambda settings=settings: fill(said(settings)))  # type: ignore[misc]
        assert (key in found) is (key in unusable), (kind, key, found)
        assert found <= unusable, (kind, key)


@pytest.mark.parametrize("kind", MEMBERS)
def test_of_the_group(kind: str) -> None:
    fill, _ = MEMBERS[kind]
    for key, settings in SAMPLES.items():
        if key == "env":  # a task's alone
            continue

        def both() -> None:
            fill({})
            task(give).override(task_id="beside")()

        assert refused(both, **settings) == set(), (kind, key)


def test_of_a_task_that_runs_nothing() -> None:
    for settings in SAMPLES.values():

        def fill(settings: dict[str, Any] = settings) -> None:
            EmptyOperator(task_id="nothing", **said(settings)) >> task(give)()

        assert refused(fill) == {'executor_config["vertex"'}


@pytest.mark.parametrize("key", ["pip_index_urls", "pip_no_deps", "wheel_cache"])
class TestHowToInstallNothing:
    def alone(self, key: str) -> dict[str, Any]:
        return {key: SAMPLES[key][key]}

    @pytest.mark.parametrize("kind", ["python", "vertex", "virtualenv", "command"])
    def test_is_refused(self, key: str, kind: str) -> None:
        fill, _ = MEMBERS[kind]
        assert refused(lambda: fill(said(self.alone(key)))) == {key}

    def test_packages_of_the_group_are_something(self, key: str) -> None:
        assert refused(lambda: task(give, **said(self.alone(key)))(), packages=["one"]) == set()

    def test_a_task_may_say_that_it_wants_none(self, key: str) -> None:
        assert refused(lambda: task(give, **said({**self.alone(key), "packages": []}))()) == set()

    def test_defaults_pass_it_by(self, key: str) -> None:
        def fill() -> None:
            with DAG("inner", schedule=None, default_args=said(self.alone(key))):
                with VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root"):
                    task(give)()

        fill()

    def test_of_the_group_passes_it_by(self, key: str) -> None:
        assert refused(task(give), **self.alone(key)) == set()


#: Key to what the group, the decorator and the call say.
LEVELS: dict[str, tuple[Any, Any, Any]] = {
    "code": ("bundle", "image", "inline"),
    "code_paths": (["tests"], ["docs"], ["tests", "docs"]),
    "serializers": (["pickle"], ["joblib"], []),
    "value_limit": (1, 2, 3),
    "pip_index_urls": (["https://a"], ["https://b"], ["https://c", "https://d"]),
    "pip_no_deps": (True, False, True),
    "wheel_cache": ("gs://bucket/a", "gs://bucket/b", "gs://bucket/c"),
}


@pytest.mark.parametrize("key", LEVELS)
def test_the_nearest_level_decides(key: str) -> None:
    group, decorator, call = LEVELS[key]
    beside: dict[str, Any] = {"packages": ["one"]}
    if key == "code_paths":
        beside["code"] = "bundle"

    def fill() -> None:
        task(give)()
        decorated = task.vertex(give, **{key: decorator})
        decorated.override(task_id="decorator")()
        decorated.override(task_id="call", **{key: call})()
        decorated.override(task_id="config", executor_config={"vertex": {key: call}})()
        task(give, **said({key: decorator})).override(task_id="plain")()

    submit = close(fill, **beside, **{key: group})
    found = {
        name: getattr(
            merge_task_settings([submit.task_settings.get(f"g.{name}", {}), submit.group_settings]), key
        )
        for name in ("give", "decorator", "call", "config", "plain")
    }

    def written(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    assert found == {
        "give": written(group),
        "decorator": written(decorator),
        "call": written(call),
        "config": written(call),
        "plain": written(decorator),
    }


#: Key to a template of it, what that renders to, and what the container is told.
TEMPLATES: dict[str, tuple[Any, Any, Any]] = {
    "packages": (["one=={{ params.x }}"], ["one==1"], ["one==1"]),
    "value_limit": ("{{ params.x }}", "70", 70),
    "pip_index_urls": (["https://{{ params.x }}"], ["https://i"], ["https://i"]),
    "pip_no_deps": ("{{ params.x }}", "True", True),
    "wheel_cache": ("gs://bucket/{{ params.x }}", "gs://bucket/w", "gs://bucket/w"),
}


@pytest.mark.parametrize("key", TEMPLATES)
class TestTemplates:
    def group(self, key: str, value: Any) -> VertexTaskGroup:
        beside: dict[str, Any] = {} if key == "packages" else {"packages": ["one"]}
        with DAG("d", schedule=None):
            with VertexTaskGroup(
                "g", location="europe-west4", pipeline_root="gs://bucket/root", **beside, **{key: value}
            ) as group:
                task(give)()
        return group

    def test_what_a_template_renders_to_is_told_the_container(self, key: str) -> None:
        template, rendered, told = TEMPLATES[key]
        spec = compile_group(self.group(key, rendered), project_id="acme")
        (executor,) = spec["deploymentSpec"]["executors"].values()
        assert json.loads(executor["container"]["command"][-1])[key] == told
        assert self.group(key, template)

    def test_one_that_nobody_rendered_is_refused_and_not_sent(self, key: str) -> None:
        with pytest.raises(VertexGroupError, match=rf"{key}.*every template has been rendered"):
            compile_group(self.group(key, TEMPLATES[key][0]), project_id="acme")


@pytest.mark.parametrize(
    ("key", "value"), [("code", "{{ x }}"), ("code_paths", ["{{ x }}"]), ("serializers", ["{{ x }}"])]
)
def test_what_is_needed_at_parse_is_no_template(key: str, value: Any) -> None:
    assert refused(task(give), **{key: value}) == {key if key == "code" else f"{key}[0"}
