"""Jinja in arguments: what of it cannot be rendered at submit, in a text and in the files it takes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_vertex_provider.graph.templates import environment_of, environment_problems, template_problems

MEMBERS = {"g.a"}


def problems(text: str, folder: Path | None = None, **options: Any) -> list[str]:
    dag = DAG("d", template_searchpath=None if folder is None else str(folder), **options)
    return [allowed for _, allowed in template_problems(text, MEMBERS, environment_of(dag))]


@pytest.mark.parametrize(
    "text",
    [
        "{{ ds }}",
        "{{ ti.xcom_pull(task_ids='outer') }}",
        "{{ ti.xcom_pull(['outer', 'more'], key='k')[0] }}",
        "{{ task_instance.xcom_pull('outer') | mine(1) }}",
        "{{ my_macro(params.x, dag_run.conf) }}",
        "{% for x in range(3) %}{{ x }}{% endfor %}{# ti #}",
    ],
)
def test_what_means_the_same_at_submit(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("{{ ti.xcom_pull('g.a') }}", "'g.a' passed as an argument"),
        ("{{ ti.xcom_pull(task_ids=['outer', 'g.a']) }}", "'g.a' passed as an argument"),
        ("{{ ti.xcom_pull(key='k') }}", "task_ids written out"),
        ("{{ ti.map_index }}", "only xcom_pull"),
        ("{{ map_index_template }}", "no 'map_index_template'"),
        ("{{ task_state_store.get('x') }}", "no 'task_state_store'"),
        ("{{ task_reschedule_count }}", "no 'task_reschedule_count'"),
        ("{% include name %}", "written out"),
        ("{% include 'gone.j2' %}", "'gone.j2' in the DAG's folder"),
    ],
)
def test_what_does_not(text: str, allowed: str) -> None:
    (found,) = problems(text)
    assert allowed in found


class TestFiles:
    @pytest.mark.parametrize(
        "text",
        [
            "{% include 'part.j2' %}",
            "{% include ['gone.j2', 'part.j2'] %}",
            "{% import 'part.j2' as part %}{{ part.f() }}",
            "{% from 'part.j2' import f %}{{ f() }}",
            "{% extends 'part.j2' %}",
            "{% include 'outer.j2' %}",
        ],
    )
    def test_what_they_hold_is_looked_at(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "part.j2").write_text("{% macro f() %}{{ ti.try_number }}{% endmacro %}")
        (tmp_path / "outer.j2").write_text("{% include 'part.j2' %}{% include 'outer.j2' %}")
        (found,) = problems(text, tmp_path)
        assert "only xcom_pull" in found

    def test_one_that_may_be_missing(self, tmp_path: Path) -> None:
        assert problems("{% include 'gone.j2' ignore missing %}", tmp_path) == []

    def test_a_loader_of_the_dag_s_own(self) -> None:
        import jinja2

        loader = jinja2.DictLoader({"part.j2": "{{ task.task_id }}"})
        (found,) = problems("{% include 'part.j2' %}", jinja_environment_kwargs={"loader": loader})
        assert "no 'task'" in found


def test_an_extension_that_is_not_there() -> None:
    dag = DAG("d", jinja_environment_kwargs={"extensions": ["gone.Extension"]})
    ((field, found, _),) = environment_problems(dag)
    assert field == "jinja_environment_kwargs"
    assert "gone" in found
    assert list(template_problems("{{ ds }}", MEMBERS, environment_of(dag))) == []
