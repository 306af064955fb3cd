"""Which tasks need which setup tasks: a graph in, the names of both out."""

from __future__ import annotations

from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.graph.order import ordered


def setups_of(graph: Graph) -> dict[str, list[str]]:
    """Return, for each task that needs setup tasks, what the service calls it and them. Runs at submit.

    Those are what Airflow clears with it: the setups above it whose teardown stands below it, or is the task
    itself, and those that have no teardown.
    """
    tasks = {task.id: task for task in graph.tasks}
    if not any(task.setup for task in graph.tasks):
        return {}
    above: dict[str, set[str]] = {}
    for task_id in ordered(tasks, lambda one: tasks[one].upstream):
        direct = tasks[task_id].upstream
        above[task_id] = set(direct).union(*(above[one] for one in direct))
    teardowns = {
        setup.id: [task.id for task in graph.tasks if task.teardown and setup.id in task.upstream]
        for setup in graph.tasks
        if setup.setup
    }
    found: dict[str, list[str]] = {}
    for task in graph.tasks:
        for setup, ends in teardowns.items():
            if setup not in above[task.id]:
                continue
            if not ends or any(end == task.id or task.id in above[end] for end in ends):
                found.setdefault(task.title, []).append(tasks[setup].title)
    return found
