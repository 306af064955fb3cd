"""Members that decide about those below them: a branch's or short circuit's value in, Airflow's skips out.

What such a task chose is computed in Vertex, by the author's code. What follows from it in Airflow is done
by Airflow's own code, on a worker: skipping mirrors and tasks outside of the group, and remembering what was
skipped for a later clear. Loaded only for groups that have such members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn

from airflow_vertex_provider.operators.member import VertexMemberOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexBranchMemberOperator(VertexMemberOperator, BranchMixIn):
    """Mirrors a branch: its value names the tasks or task groups directly below that are followed."""

    inherits_from_skipmixin = True

    def conclude(self, context: Context, value: Any) -> Any:
        """Skip what the branch did not choose. On a worker."""
        return self.do_branch(context, value)


class VertexShortCircuitMemberOperator(VertexMemberOperator, BranchMixIn):
    """Mirrors a short circuit: a falsy value skips what is below, teardown tasks excepted."""

    inherits_from_skipmixin = True
    #: Whether all below are skipped, or only those directly below, as the author's operator says.
    ignore_downstream_trigger_rules = True

    def conclude(self, context: Context, value: Any) -> Any:
        """Skip what is below if the condition is not met. On a worker."""
        self.log.info("The condition is %s", "met" if value else "not met")
        if not value:
            task = context["task"]
            below = (
                task.get_flat_relatives(upstream=False)
                if self.ignore_downstream_trigger_rules
                else task.get_direct_relatives(upstream=False)
            )
            self.skip(ti=context["ti"], tasks=[other for other in below if not other.is_teardown])
        return value


class VertexDirectShortCircuitMemberOperator(VertexShortCircuitMemberOperator):
    """Mirrors a short circuit that leaves the trigger rules of what is further below in force."""

    ignore_downstream_trigger_rules = False


_CLASSES: dict[str, type[VertexMemberOperator]] = {
    "branch": VertexBranchMemberOperator,
    "all": VertexShortCircuitMemberOperator,
    "direct": VertexDirectShortCircuitMemberOperator,
}


def skipping_class(skipper: str) -> type[VertexMemberOperator]:
    """Return the mirror's class: for ``branch``, ``all`` or ``direct``."""
    return _CLASSES[skipper]
