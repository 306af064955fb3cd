"""What of a member's own Airflow settings a pipeline task cannot keep: an operator in, problems out.

Never warned and ignored, never another meaning: a setting that would be lost is refused, with the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.model import Retry

#: L16: longest pause, in seconds, between two attempts.
MAX_BACKOFF = 3600.0

#: Operator attribute -> (whether its value keeps Airflow's default meaning, what is allowed).
_MUST_BE_DEFAULT: dict[str, tuple[Callable[[Any], bool], str]] = {
    "depends_on_past": (lambda value: not value, "False: the pipeline does not know earlier runs"),
    "wait_for_downstream": (lambda value: not value, "False: the pipeline does not know earlier runs"),
    "resources": (lambda value: value is None, 'None; use executor_config={"vertex": {"resources": ...}}'),
    "run_as_user": (lambda value: value is None, "None; the image decides the user"),
    "map_index_template": (
        lambda value: value is None,
        "None: it is rendered beside the running task, which is in Vertex AI",
    ),
    "render_template_as_native_obj": (lambda value: value is None, "None; set it on the DAG"),
    "_pre_execute_hook": (
        lambda value: value is None,
        "None, and neither @task.skip_if nor @task.run_if: the pipeline has started by then",
    ),
    "_post_execute_hook": (lambda value: value is None, "None; use a task after the group"),
}

#: Where an author writes about a task; Airflow shows the first kind alike.
_DOCS = ("doc_md", "doc", "doc_rst", "doc_json", "doc_yaml")
#: Attributes that authors know by another name.
_AUTHORS_NAMES = {"_pre_execute_hook": "pre_execute", "_post_execute_hook": "post_execute"}


def member_problems(operator: Any) -> Iterator[Problem]:
    """Find the settings of a member that its Vertex task could not keep."""
    for name, (is_default, allowed) in _MUST_BE_DEFAULT.items():
        value = getattr(operator, name, None)
        if not is_default(value):
            yield Problem(operator.task_id, _AUTHORS_NAMES.get(name, name), str(value), allowed)
    for name in ("start_date", "end_date"):
        value = getattr(operator, name)
        if value is not None and value != getattr(operator.dag, name):
            yield Problem(operator.task_id, name, str(value), "the DAG's: every run runs the whole pipeline")
    yield from _params_problems(operator)


def _params_problems(operator: Any) -> Iterator[Problem]:
    """Find params of the member's own: templates are rendered by the submit task, which has the DAG's."""
    dags = operator.dag.params.dump()
    own = {
        name: value
        for name, value in operator.params.dump().items()
        if name not in dags or value != dags[name]
    }
    if own:
        yield Problem(operator.task_id, "params", repr(own), "the DAG's params, or the values as arguments")


def retry_of(operator: Any) -> tuple[Retry | None, list[Problem]]:
    """Translate the member's retries into the pipeline task's policy (L16). Runs at parse.

    Airflow waits ``retry_delay`` before each attempt. With ``retry_exponential_backoff`` it multiplies the
    wait by that factor (2 for ``True``) from one attempt to the next, up to ``max_retry_delay``, which counts
    only then, and adds up to as much again by chance; the service adds nothing, and waits one hour at most.
    """
    retries = operator.retries or 0
    if retries <= 0:
        return None, []
    problems = []

    def refuse(name: str, found: str, allowed: str) -> None:
        problems.append(Problem(operator.task_id, name, found, allowed))

    if getattr(operator, "retry_policy", None) is not None:
        refuse("retry_policy", "a policy", "None; use retries and retry_delay")
    delay = _seconds(operator.retry_delay)
    growth = operator.retry_exponential_backoff
    factor = 2.0 if growth is True else float(growth or 1.0)
    if factor <= 0:
        factor = 1.0
    elif factor < 1:
        refuse("retry_exponential_backoff", f"{factor:g}", "a factor of at least 1, or True for 2")
    longest = MAX_BACKOFF
    if factor != 1.0:
        # Airflow's growing waits begin at one second.
        delay = max(delay, 1.0)
        if operator.max_retry_delay:
            longest = min(_seconds(operator.max_retry_delay), MAX_BACKOFF)
            delay = min(delay, longest)
    if delay > MAX_BACKOFF:
        refuse("retry_delay", f"{delay:g} s", "at most 3600 s (L16)")
    return Retry(retries, delay, factor, longest), problems


def timeout_of(operator: Any) -> float | None:
    """Return the member's ``execution_timeout`` in seconds."""
    timeout = operator.execution_timeout
    return None if timeout is None else _seconds(timeout)


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def display_of(operator: Any) -> tuple[str, str]:
    """Return the name that people read for a member, and what its author wrote about it. Runs at parse."""
    docs = (getattr(operator, name, None) for name in _DOCS)
    return str(operator.task_display_name), next((str(text) for text in docs if text), "")
