"""Close a Vertex task group: the author's operators in, submit, mirrors and wait out.

Runs at parse, once, when the ``with`` block of a group ends well. Before it the group holds what the author
wrote; after it the group holds ``submit_pipeline``, one mirror for each member and ``wait_for_pipeline``, and
everything that was upstream of any member is upstream of ``submit_pipeline``. Mirrors keep their trigger
rules and the edges between them: Airflow's scheduler decides as it would have decided about the members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.sdk.definitions.xcom_arg import XComArg

from airflow_vertex_provider.closed import ClosedChildren, LateEdges, branched, cycles, unfollowed
from airflow_vertex_provider.entry import Entry, always_problems, read_entry
from airflow_vertex_provider.exceptions import Problem, VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.reader import Reading, read_group
from airflow_vertex_provider.graph.setups import setups_of
from airflow_vertex_provider.operators.member import adopt
from airflow_vertex_provider.operators.pipeline_job import (
    SubmitVertexPipelineOperator,
    WaitVertexPipelineOperator,
)
from airflow_vertex_provider.operators.waiting import LOST_WORKER_DELAY, LOST_WORKER_RETRIES
from airflow_vertex_provider.settings import PipelineSettings, task_level
from airflow_vertex_provider.verdict import last_tasks, leaf_rules

if TYPE_CHECKING:
    from airflow_vertex_provider.task_group import VertexTaskGroup

SUBMIT = "submit_pipeline"
WAIT = "wait_for_pipeline"


def close_group(group: VertexTaskGroup) -> None:
    """Turn an author's group into the tasks Airflow runs.

    :raises VertexGroupError: something of the group cannot be carried; the group is left as it was.
    """
    reading = _read(group)
    members = {task.task_id for task in reading.members}
    operators = [*reading.members, *reading.bystanders]
    inside = {task.task_id for task in operators}
    upstream = _outer_upstream(group, inside)
    downstream = _early_downstream(group)
    entry = read_entry(group, operators)
    problems = [
        *_reserved_ids(group, inside),
        *cycles(group, inside, upstream),
        *_outer_branches(group, operators, inside),
        *entry.problems(),
        *always_problems(operators),
    ]
    if problems:
        raise VertexGroupError(group.dag.dag_id, str(group.group_id), problems)

    with group.building():
        submit = _submit(group, reading)
        wait = _wait(group, reading, submit) if group.wait_for_completion else None
    _part_from_outside(group, operators, inside, submit)
    for task_id in sorted(upstream):
        submit.set_upstream(group.dag.get_task(task_id))
    _enter(group, operators, entry, submit)

    names = reading.graph.vertex_names()
    types = _component_outputs(reading)
    for operator in reading.members:
        adopt(
            operator,
            task_name=names[operator.task_id],
            submit_task_id=submit.task_id,
            gcp_conn_id=group.gcp_conn_id,
            impersonation_chain=group.impersonation_chain,
            project_id=group.project_id,
            poll_interval=group.poll_interval,
            deferrable=group.deferrable,
            looped=reading.graph.task(operator.task_id).loop is not None,
            skipper=reading.skippers.get(operator.task_id),
            output_types=types.get(operator.task_id),
            artifacts=list(reading.graph.task(operator.task_id).payload.get("artifacts", ())),
            wait_task_id=wait.task_id if wait is not None else "",
        )
    late = LateEdges(group, submit, wait, members, entry)
    for operator in operators:
        late.watch(operator)
    late.watch_submit()
    for inner in group.get_task_group_dict().values():
        if inner is not group:
            inner.children = ClosedChildren(inner.children, group)
    if wait is None:
        _forget_members(group, reading, submit)
    for task in downstream:
        group.set_downstream(task)


def _read(group: VertexTaskGroup) -> Reading:
    problems: list[Problem] = group.own_problems()
    group_id = str(group.group_id)
    pipeline, level = PipelineSettings(), {}
    try:
        pipeline = group.pipeline_settings()
        pipeline.check_together()
    except VertexSettingsError as error:
        problems.append(error.as_problem(group_id))
    try:
        level = task_level(group.task_settings())
    except VertexSettingsError as error:
        problems.append(error.as_problem(group_id))
    try:
        reading = read_group(group, level, pipeline)
    except VertexGroupError as error:
        problems.extend(error.problems)
    if problems:
        raise VertexGroupError(group.dag.dag_id, group_id, problems)
    return reading


def _submit(group: VertexTaskGroup, reading: Reading) -> SubmitVertexPipelineOperator:
    return SubmitVertexPipelineOperator(
        task_id=_child(group, SUBMIT),
        graph=reading.graph.to_dict(),
        parameters=reading.parameters,
        context_parameters=reading.context_parameters,
        pipeline=group.pipeline_settings().to_dict(),
        task_settings={task.id: dict(task.settings) for task in reading.graph.tasks if task.settings},
        group_settings=task_level(group.task_settings()),
        gcp_conn_id=group.gcp_conn_id,
        impersonation_chain=group.impersonation_chain,
        cancel_on_kill=group.cancel_on_kill,
        deferrable=group.deferrable,
        job_retries=group.retries,
        wait_task_id=f"{group.group_id}.{WAIT}" if group.wait_for_completion else "",
        task_group=group,
        dag=group.dag,
        trigger_rule="all_success",
        **_lost_workers(group),
        doc_md="Compiles the group and creates its Vertex AI pipeline job.",
    )


def _lost_workers(group: VertexTaskGroup) -> dict[str, Any]:
    """Return retries for a worker that is lost: the next try attaches to the job.

    The author's own are kept where there are more of them. What cannot succeed is not retried.
    """
    defaults = {**group.dag.default_args, **group.default_args}
    retries = defaults.get("retries") or 0
    return {
        "retries": max(retries, LOST_WORKER_RETRIES),
        "retry_delay": defaults.get("retry_delay", LOST_WORKER_DELAY) if retries else LOST_WORKER_DELAY,
    }


def _wait(
    group: VertexTaskGroup, reading: Reading, submit: SubmitVertexPipelineOperator
) -> WaitVertexPipelineOperator:
    wait = WaitVertexPipelineOperator(
        task_id=_child(group, WAIT),
        submit_task_id=submit.task_id,
        airflow_ids={name: task_id for task_id, name in reading.graph.vertex_names().items()},
        output_tasks=_outputs(reading),
        output_types=_component_outputs(reading),
        rules=leaf_rules(reading.graph),
        gcp_conn_id=group.gcp_conn_id,
        impersonation_chain=group.impersonation_chain,
        project_id=group.project_id,
        poll_interval=group.poll_interval,
        deferrable=group.deferrable,
        cancel_on_kill=group.cancel_on_kill,
        task_group=group,
        dag=group.dag,
        trigger_rule="all_success",
        # A failed job stays failed and is not retried, see VertexJobFailedError; a lost worker is.
        retries=LOST_WORKER_RETRIES,
        retry_delay=LOST_WORKER_DELAY,
        retry_delay_of_group=group.retry_delay.total_seconds(),
        needs=setups_of(reading.graph),
        time_limit=None if group.execution_timeout is None else group.execution_timeout.total_seconds(),
        # The time limit of a single task, which default_args may set for all, is not the pipeline's.
        execution_timeout=None,
        doc_md="Follows the pipeline job; cancels it if this task is ended.",
    )
    if wait.start_from_trigger:
        # No worker to lose; what a trigger ends as failed Airflow would retry.
        wait.retries = 0
    wait.set_upstream(submit)
    return wait


def _outputs(reading: Reading) -> dict[str, str]:
    """Map the last tasks of the pipeline to their Vertex names, but those whose values stay in Vertex."""
    kept = {task.task_id for task in reading.members if _setting(task, "do_xcom_push", default=True)}
    return {task_id: name for task_id, name in last_tasks(reading.graph).items() if task_id in kept}


def _component_outputs(reading: Reading) -> dict[str, dict[str, str]]:
    """Map each component of KFP, and each container with outputs, to the types of its outputs."""
    return {
        task.id: dict(task.output_types)
        for task in reading.graph.tasks
        if task.kind is TaskKind.COMPONENT or (task.kind is TaskKind.CONTAINER and task.output_types)
    }


def _setting(operator: Any, name: str, *, default: bool) -> bool:
    """Return what an operator was told; a mapped one only keeps some of it as attributes."""
    if isinstance(operator, MappedOperator):
        return bool(operator.partial_kwargs.get(name, default))
    return bool(getattr(operator, name))


def _child(group: VertexTaskGroup, name: str) -> str:
    # Without prefixed ids two groups of a DAG would both want "submit_pipeline".
    return name if group.prefix_group_id else f"{group.group_id}.{name}"


def _outer_branches(group: VertexTaskGroup, operators: Iterable[Any], inside: set[str]) -> list[Problem]:
    """Find branches outside that are drawn to members rather than to the group."""
    problems = []
    to_members: dict[str, list[str]] = {}
    for operator in operators:
        for above in operator.upstream_task_ids - inside - group.upstream_task_ids:
            to_members.setdefault(above, []).append(operator.task_id)
    for above, members in sorted(to_members.items()):
        problems += branched(group.dag.get_task(above), members)
    return problems


def _reserved_ids(group: VertexTaskGroup, inside: Iterable[str]) -> list[Problem]:
    taken = {f"{group.group_id}.{name}" for name in (SUBMIT, WAIT)}
    return [
        Problem(
            task_id,
            "task_id",
            repr(task_id),
            f"another id; a Vertex task group has its own {SUBMIT} and {WAIT}",
        )
        for task_id in sorted(taken.intersection(inside))
    ]


def _outer_upstream(group: VertexTaskGroup, inside: set[str]) -> set[str]:
    """Find every task outside that anything in the group waits for, however the edge was drawn."""
    found: set[str] = set()
    groups = group.dag.task_group.get_task_group_dict()
    for task in group.iter_tasks():
        found |= task.upstream_task_ids
    for member_group in group.get_task_group_dict().values():
        # Drawn while the group was empty: Airflow keeps such an edge on the group alone.
        found |= member_group.upstream_task_ids
        for group_id in member_group.upstream_group_ids:
            found |= {task.task_id for task in groups[str(group_id)].get_leaves()}
    return found - inside


def _early_downstream(group: VertexTaskGroup) -> list[Any]:
    """Return what was made downstream of the group before it had tasks."""
    groups = group.dag.task_group.get_task_group_dict()
    return [
        *(group.dag.get_task(task_id) for task_id in sorted(group.downstream_task_ids)),
        *(groups[group_id] for group_id in sorted(map(str, group.downstream_group_ids))),
    ]


def _part_from_outside(
    group: VertexTaskGroup,
    operators: Iterable[Any],
    inside: set[str],
    submit: SubmitVertexPipelineOperator,
) -> None:
    """Take off the edges that come from outside; submit has them now, labels and all.

    Those of tasks that a mapped member is mapped over stay: by them Airflow knows of whose values to keep the
    number of items.
    """
    for operator in operators:
        mapped_over = (
            {task.task_id for task in operator.iter_mapped_dependencies()}
            if isinstance(operator, MappedOperator)
            else set()
        )
        for task_id in sorted(operator.upstream_task_ids - inside - mapped_over):
            operator.upstream_task_ids.discard(task_id)
            group.dag.get_task(task_id).downstream_task_ids.discard(operator.task_id)
            labels = group.dag.edge_info.get(task_id, {})
            if operator.task_id in labels:
                labels[submit.task_id] = labels.pop(operator.task_id)


def _enter(
    group: VertexTaskGroup, operators: Iterable[Any], entry: Entry, submit: SubmitVertexPipelineOperator
) -> None:
    """Put the first tasks of the group below submit, and submit below what they were below."""
    all_success = submit.trigger_rule
    submit.trigger_rule = type(all_success)(entry.submit_rule())
    for operator in operators:
        if entry.inner[operator.task_id]:
            continue
        if operator.upstream_task_ids & entry.rules.keys():
            # ALWAYS, which would not even wait for submit. Those above it are below submit, so this does,
            # and the edges go on telling which tasks are the group's last.
            operator.trigger_rule = type(all_success)("all_done")
            continue
        operator.trigger_rule = all_success
        operator.set_upstream(submit)


def _forget_members(group: VertexTaskGroup, reading: Reading, submit: SubmitVertexPipelineOperator) -> None:
    """Take the members out of the DAG: with ``wait_for_completion=False`` Airflow does not follow them."""
    operators = {task.task_id: task for task in (*reading.members, *reading.bystanders)}
    problems = []
    for task_id, operator in operators.items():
        for below in sorted(operator.downstream_task_ids - set(operators)):
            outer = group.dag.get_task(below)
            if task_id in _values_taken_by(outer):
                problems.append(unfollowed(below, task_id))
            outer.upstream_task_ids.discard(task_id)
            outer.set_upstream(submit)
    if problems:
        raise VertexGroupError(group.dag.dag_id, str(group.group_id), problems)
    for child_group in group.get_task_group_dict().values():
        for task_id in operators:
            child_group.children.pop(task_id, None)
        for inner_id, inner in list(child_group.children.items()):
            # It refers to what it was mapped over, which may just have gone.
            if isinstance(inner, MappedTaskGroup):
                dict.pop(child_group.children, inner_id)
                group.used_group_ids.discard(inner_id)
    for task_id in operators:
        submit.downstream_task_ids.discard(task_id)
        group.dag.task_dict.pop(task_id, None)
        group.used_group_ids.discard(task_id)


def _values_taken_by(operator: Any) -> set[str]:
    fields: Mapping[str, Any] = {
        name: getattr(operator, name, None) for name in getattr(operator, "template_fields", ())
    }
    taken = {task.task_id for task, _ in XComArg.iter_xcom_references(fields)}
    if isinstance(operator, MappedOperator):
        taken |= {task.task_id for task in operator.iter_mapped_dependencies()}
    return taken
