"""A member's own Airflow settings: which are kept, which are translated and which are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_vertex_provider.graph.model import Retry
from airflow_vertex_provider.graph.validation import display_of, member_problems, retry_of, timeout_of


def member(**options: Any) -> Any:
    with DAG("d"):
        return EmptyOperator(task_id="t", **options)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"depends_on_past": True}, "depends_on_past"),
        ({"wait_for_downstream": True}, "depends_on_past"),
        ({"run_as_user": "me"}, "run_as_user"),
        ({"map_index_template": "{{ x }}"}, "map_index_template"),
        ({"render_template_as_native_obj": True}, "render_template_as_native_obj"),
        ({"pre_execute": print}, "pre_execute"),
        ({"post_execute": print}, "post_execute"),
        ({"params": {"x": 1}}, "params"),
    ],
)
def test_what_would_be_lost(options: dict[str, Any], field: str) -> None:
    problems = list(member_problems(member(**options)))
    assert problems[0].field == field
    assert problems[0].where == "t"


@pytest.mark.parametrize("rule", ["all_done", "one_success", "none_failed_min_one_success", "always"])
def test_trigger_rules_are_read_elsewhere(rule: str) -> None:
    assert list(member_problems(member(trigger_rule=rule))) == []


@pytest.mark.parametrize(
    ("options", "retry"),
    [
        ({}, None),
        ({"retries": 2}, Retry(2, 300.0, 1.0, 3600.0)),
        ({"retries": 1, "retry_delay": 7}, Retry(1, 7.0, 1.0, 3600.0)),
        ({"retries": 1, "retry_delay": timedelta(0)}, Retry(1, 0.0, 1.0, 3600.0)),
        # Without growth Airflow does not look at the longest wait.
        (
            {"retries": 1, "retry_delay": 60, "max_retry_delay": timedelta(seconds=5)},
            Retry(1, 60.0, 1.0, 3600.0),
        ),
        (
            {"retries": 3, "retry_delay": 60, "retry_exponential_backoff": True},
            Retry(3, 60.0, 2.0, 3600.0),
        ),
        (
            {
                "retries": 3,
                "retry_delay": 60,
                "retry_exponential_backoff": True,
                "max_retry_delay": timedelta(minutes=4),
            },
            Retry(3, 60.0, 2.0, 240.0),
        ),
        (
            {
                "retries": 3,
                "retry_delay": 60,
                "retry_exponential_backoff": True,
                "max_retry_delay": timedelta(seconds=10),
            },
            Retry(3, 10.0, 2.0, 10.0),
        ),
        (
            {"retries": 3, "retry_delay": 0, "retry_exponential_backoff": True},
            Retry(3, 1.0, 2.0, 3600.0),
        ),
        (
            {
                "retries": 3,
                "retry_delay": 60,
                "retry_exponential_backoff": True,
                "max_retry_delay": timedelta(hours=5),
            },
            Retry(3, 60.0, 2.0, 3600.0),
        ),
    ],
)
def test_retries(options: dict[str, Any], retry: Retry | None) -> None:
    assert retry_of(member(**options)) == (retry, [])


@pytest.mark.parametrize(("growth", "factor"), [(1.5, 1.5), (3, 3.0), (1, 1.0), (0, 1.0), (0.0, 1.0)])
def test_growth_as_a_number(growth: float, factor: float) -> None:
    operator = member(retries=1, retry_delay=10)
    operator.retry_exponential_backoff = growth
    assert retry_of(operator) == (Retry(1, 10.0, factor, 3600.0), [])


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("retry_delay", timedelta(hours=2)),
        ("retry_exponential_backoff", 0.5),
        ("retry_policy", object()),
    ],
)
def test_retries_that_the_service_cannot_keep(attribute: str, value: Any) -> None:
    operator = member(retries=1)
    setattr(operator, attribute, value)
    _, problems = retry_of(operator)
    assert [problem.field for problem in problems] == [attribute]


def test_a_setting_without_retries_says_nothing() -> None:
    assert retry_of(member(retries=0, retry_delay=timedelta(hours=2))) == (None, [])


def test_timeout() -> None:
    assert timeout_of(member()) is None
    assert timeout_of(member(execution_timeout=timedelta(minutes=2))) == 120.0


@pytest.mark.parametrize("kind", ["doc_md", "doc", "doc_rst", "doc_json", "doc_yaml"])
def test_what_people_read(kind: str) -> None:
    assert display_of(member(**{kind: "Fits it."}, task_display_name="Fit")) == ("Fit", "Fits it.")
    assert display_of(member()) == ("t", "")
