"""The attempt after a failed one: a job's name in, the job that runs again what failed out.

It is worked out from the job itself, see :mod:`airflow_vertex_provider.reruns`, so whoever waits for a
group's job can make it, in a triggerer too, where the DAG is not known. Two that make it make the same one:
the id is that of the next attempt, and a job that is there already is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_vertex_provider.exceptions import VertexSubmissionError
from airflow_vertex_provider.job_names import ATTEMPT_LABEL, RETRIES_LABEL, JobName
from airflow_vertex_provider.reruns.decision import Rerun, again

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook


@dataclass(frozen=True)
class NextAttempt:
    """The job that follows.

    :param name: resource name.
    :param created: whether it was created now, rather than found.
    :param rerun: what it runs again, and what it takes over.
    """

    name: str
    created: bool
    rerun: Rerun

    def lines(self, titles: Mapping[str, str] | None = None) -> list[str]:
        """Tell what is run again and what is not.

        :param titles: Vertex task name to how the author calls the task; only these are told.
        """
        return told(self.rerun, titles)


def next_attempt(
    hook: VertexPipelineHook, name: str, *, needs: Mapping[str, Sequence[str]], retry: bool
) -> NextAttempt:
    """Create the attempt after a job that has ended, or find it. Blocks.

    :param name: resource name of the job.
    :param needs: see :func:`~airflow_vertex_provider.reruns.decision.rerun`.
    :param retry: it is one of the group's own retries, of which there is one less then.
    :raises VertexSubmissionError: the job is no attempt of a group.
    :raises VertexApiError: the service does not answer, or refuses.
    """
    earlier = hook.get_job(name)
    request = hook.read_request(name)
    labels = dict(request.get("labels", {}))
    try:
        attempt = int(labels[ATTEMPT_LABEL]) + 1
    except (KeyError, ValueError):
        raise VertexSubmissionError(f"{name}: found no attempt of a task group; allowed: one") from None
    config = request["runtime_config"]
    rerun = again(request["pipeline_spec"], config["parameter_values"], earlier, needs=needs)
    labels[ATTEMPT_LABEL] = str(attempt)
    if retry:
        labels[RETRIES_LABEL] = str(earlier.retries_left - 1)
    job = {
        **request,
        "pipeline_spec": rerun.spec,
        "runtime_config": {**config, "parameter_values": rerun.parameter_values},
        "labels": labels,
    }
    place = JobName.parse(earlier.name)
    new_name, created = hook.create_job(
        location=place.location, job_id=JobName.parse(place.with_attempt(attempt)).id, job=job
    )
    return NextAttempt(new_name, created, rerun)


def told(rerun: Rerun, titles: Mapping[str, str] | None = None) -> list[str]:
    """Tell in lines for a log what a job runs again, and what it takes over.

    :param titles: see :meth:`NextAttempt.lines`.
    """

    def called(names: Sequence[str]) -> list[str]:
        return [titles[name] for name in names if name in titles] if titles else list(names)

    reused = called(rerun.reused)
    return [
        *([f"Reused with their recorded outputs, not run again: {', '.join(reused)}"] if reused else []),
        *(
            f"Reused of {title}: {', '.join(f'[{number}]' for number in numbers)}"
            for name, numbers in rerun.iterations.items()
            for title in called([name])
        ),
        *(
            f"Runs again though it had succeeded: {title}: {why}"
            for name, why in rerun.reasons.items()
            for title in called([name])
        ),
    ]
