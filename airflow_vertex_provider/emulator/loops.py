"""Running a loop: a task, its items and its inputs in, one entry for each iteration and their outcome out.

Iterations are run by a few threads, each taking the next item that is left, so that a long loop needs no
more of them than a short one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.emulator import dag_outputs
from airflow_vertex_provider.emulator.inputs import Scope
from airflow_vertex_provider.emulator.parameters import check_type, compact, whole
from airflow_vertex_provider.emulator.plan import Loop, TaskSpec
from airflow_vertex_provider.emulator.records import is_final
from airflow_vertex_provider.emulator.run_context import Outcome, TaskError, recorded
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import TaskState

if TYPE_CHECKING:
    from airflow_vertex_provider.emulator.dag_run import DagRunner

Json = dict[str, Any]

#: Iterations of an outermost loop that run at the same time at most; in a loop within it half as many, and
#: so on. It is never less than the number of processes for the outermost one, so it holds nothing up.
AT_ONCE = 16


class LoopRun:
    """Runs one loop.

    :param outer: the scope inside the loop's own entry, with the inputs that all iterations share.
    """

    def __init__(self, runner: DagRunner, task: TaskSpec, loop: Loop, outer: Scope) -> None:
        self._runner = runner
        self._task = task
        self._loop = loop
        self._outer = outer
        self._records = outer.context.records
        self._switches = outer.context.services.switches
        self._outcomes: dict[int, Outcome] = {}
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def run(self) -> Outcome:
        """Run an iteration for each item; one that fails does not stop the others."""
        items = self._typed(self._items())
        order = range(len(items))
        if self._switches.task_entries == "at_start":
            for index in order if self._switches.iteration_order == "by_item" else reversed(order):
                _, inner = self._iteration(index, items[index])
                self._runner.make_entries(inner)
        left = iter(enumerate(items))
        threads = [
            threading.Thread(target=self._work, args=(left,), name=f"loop {self._task.name}", daemon=True)
            for _ in range(min(len(items), self._at_once()))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error
        return self._collect([self._outcomes[index] for index in order])

    def _at_once(self) -> int:
        most = max(AT_ONCE, self._outer.context.services.max_processes) >> self._outer.depth
        return max(1, min(most, self._loop.limit or most))

    # Items

    def _items(self) -> list[Any]:
        loop, outer = self._loop, self._outer
        if not loop.source:
            return [whole(item) for item in loop.raw]
        where = f"Task {self._task.name!r}: the items of the loop, input {loop.source!r},"
        if loop.artifacts:
            if loop.source not in outer.artifacts:
                raise TaskError(3, f"{where} do not exist.")
            return list(outer.artifacts[loop.source])
        value = outer.parameters.get(loop.source)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise TaskError(3, f"{where} are no JSON list: {value[:80]!r}.") from None
        if not isinstance(value, list):
            found = "nothing" if value is None else compact(value)[:80]
            raise TaskError(3, f"{where} are no list; found {found}.")
        return value

    def _typed(self, items: list[Any]) -> list[Any]:
        """Give each item the type of the input that receives it.

        :raises TaskError: an item is of another type.
        """
        if self._loop.artifacts:
            return items
        kind = self._task.component.parameters[self._loop.item].kind
        result = []
        for index, item in enumerate(items):
            if kind == "STRING" and not isinstance(item, str) and self._switches.loop_item_text == "json":
                result.append(compact(item))
                continue
            try:
                result.append(check_type(kind, item))
            except ValueError as error:
                raise TaskError(3, f"Task {self._task.name!r}: item {index} of the loop: {error}.") from error
        return result

    # Iterations

    def _iteration(self, index: int, item: Any) -> tuple[Task, Scope]:
        """Return the entry of an iteration, made if it is not there yet, and its scope."""
        loop, outer, name = self._loop, self._outer, self._name(index)
        record = self._records.entry(outer.child(str(index)), name, f"{outer.unique}.{name}", outer.parent)
        parameters, artifacts = dict(outer.parameters), dict(outer.artifacts)
        if loop.artifacts:
            artifacts[loop.item] = [item]
        else:
            parameters[loop.item] = item
        return record, outer.inside(record, outer.dag, parameters, artifacts, deeper=1)

    def _name(self, index: int) -> str:
        name = self._task.name if self._switches.task_name_source == "task_info" else self._task.key
        patterns = {
            "loop_index": f"{name}-{index}",
            "loop_word_index": f"{name}-iteration-{index}",
            "loop": name,
        }
        return patterns[self._switches.iteration_name]

    def _work(self, left: Iterator[tuple[int, Any]]) -> None:
        while True:
            with self._lock:
                index, item = next(left, (-1, None)) if self._error is None else (-1, None)
            if index < 0:
                return
            try:
                outcome = self._run_one(index, item)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                with self._lock:
                    self._error = self._error or error
                return
            with self._lock:
                self._outcomes[index] = outcome

    def _run_one(self, index: int, item: Any) -> Outcome:
        record, inner = self._iteration(index, item)
        if is_final(record):
            return recorded(record)
        held_back = self._runner.held_back(inner.context)
        if held_back and record.body["state"] == TaskState.PENDING:
            self._runner.leave_out(record, inner, held_back)
            return Outcome(held_back.state, cut=True)
        return self._runner.run_dag(record, inner)

    def _collect(self, iterations: list[Outcome]) -> Outcome:
        cancelled = self._outer.context.cancel.is_set()
        failed = [index for index, outcome in enumerate(iterations) if outcome.state is TaskState.FAILED]
        result = Outcome(TaskState.SUCCEEDED, cut=any(outcome.cut for outcome in iterations))
        if cancelled and any(outcome.state is TaskState.CANCELLED for outcome in iterations):
            result.state = TaskState.CANCELLED
        elif failed:
            result.state = TaskState.FAILED
            result.failed = [self._name(index) for index in failed]
            result.failed_leaves = [name for index in failed for name in iterations[index].failed_leaves]
        elif result.cut:
            result.state = TaskState.CANCELLED if cancelled else TaskState(self._switches.fail_fast_cut_dag)
        if result.state is TaskState.SUCCEEDED or self._switches.failed_dag_outputs == "made":
            result.parameters, result.artifacts = dag_outputs.of_loop(
                self._task.component, iterations, self._switches
            )
        return result
