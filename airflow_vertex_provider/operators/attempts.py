"""One pipeline job for each attempt: a run of a group and its request in, the one job that serves it out.

A job's id says DAG, group, run and a number. Whether the job that has the id already is *this* attempt's
cannot be told from the id alone, so the job carries two labels: the ``max_tries`` of the submit task, which
Airflow raises when the task is cleared and leaves when it is retried, and a fingerprint of the request.

====================================  =====================================================================
what stands under the id              what happens
====================================  =====================================================================
nothing                               the job is created
same ``max_tries``                    a retry of submit, or a lost answer: attach
another ``max_tries``, ended          the task was cleared after it: the next number
another ``max_tries``, ending         wait for its end, then the next number
another ``max_tries``, running        attach: a new attempt begins only when the earlier job has ended; cancel
                                      it and wait if whoever followed it was cleared too
made before this DAG run began        the job of a deleted run of the same id: the next number if it has
                                      ended; refused if it runs and was asked for something else
====================================  =====================================================================

Where the job is the task itself (``RunVertexPipelineOperator``), a retry of the task by Airflow is one of the
job, and a third label has the ``try_number`` of the task that made it:

====================================  =====================================================================
same ``max_tries``, and it            what happens
====================================  =====================================================================
runs or succeeded                     a lost worker or a lost answer: attach
failed, made by this very try         a lost answer: attach
failed, made by an earlier try        the next number
is being cancelled, by an earlier     wait for its end, then as above
try
====================================  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.exceptions import VertexSubmissionError
from airflow_vertex_provider.job_names import ATTEMPT_LABEL, FINGERPRINT_LABEL, MAX_TRIES_LABEL, TRY_LABEL
from airflow_vertex_provider.states import PipelineState

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

#: The clocks of Airflow and of the service may differ by this much.
CLOCK_SKEW = timedelta(minutes=5)
#: Attempts of one run before something must be wrong.
MAX_ATTEMPTS = 1000


@dataclass(frozen=True)
class Submitted:
    """The job that serves an attempt.

    :param name: resource name.
    :param created: whether it was created now, rather than found.
    """

    name: str
    created: bool


@dataclass(frozen=True)
class Ending:
    """An earlier attempt that is being cancelled: the next one begins when it has ended.

    :param name: resource name.
    :param state: its state.
    """

    name: str
    state: str


def submit_attempt(
    hook: VertexPipelineHook,
    *,
    location: str,
    job: Mapping[str, Any],
    job_id: Callable[[int], str],
    max_tries: int,
    run_started: datetime | None,
    after: Callable[[JobSnapshot], Mapping[str, Any]] | None = None,
    on_create: Callable[[str], None] | None = None,
    ends_earlier: Callable[[], bool] | None = None,
    try_number: int | None = None,
    owner: Mapping[str, str] | None = None,
) -> Submitted | Ending:
    """Create the job of this attempt, or find it. Runs on a worker; waits for nothing but the answers.

    :param job: the job to create, in the API's JSON form, without our labels about the attempt.
    :param job_id: attempt number, counted from 1, to job id.
    :param max_tries: of the submit task.
    :param run_started: when the DAG run began, or ``None`` if that is not known.
    :param after: an earlier attempt of this run, that did not succeed, to the job to create after it.
    :param ends_earlier: asked whether an earlier attempt that runs still is to be cancelled.
    :param on_create: told the resource name of each job before it is asked for.
    :param try_number: of the task, if the job is the task: a try after one that failed begins the next
        attempt. ``None`` if a retry always attaches.
    :param owner: labels that a job of this task and run has, for ids that an author chose.
    :raises VertexApiError: the service refused the job.
    :raises VertexSubmissionError: a job of a deleted run, or of another owner, is in the way.
    """
    fingerprint = fingerprint_of(job)
    request = job
    for attempt in range(1, MAX_ATTEMPTS + 1):
        labels = {
            **request.get("labels", {}),
            ATTEMPT_LABEL: str(attempt),
            MAX_TRIES_LABEL: str(max_tries),
            FINGERPRINT_LABEL: fingerprint,
            **({} if try_number is None else {TRY_LABEL: str(try_number)}),
        }
        if on_create is not None:
            on_create(hook.job_name(location, job_id(attempt)))
        name, created = hook.create_job(
            location=location, job_id=job_id(attempt), job={**request, "labels": labels}
        )
        if created:
            return Submitted(name, created)
        found = hook.get_job(name)
        _check_owner(found, owner or {})
        cleared_since = found.labels.get(MAX_TRIES_LABEL) != str(max_tries)
        if not found.done and cleared_since and ends_earlier is not None and ends_earlier():
            hook.cancel_job(name)
            return Ending(name, found.state_text)
        if _serves(hook, found, max_tries, fingerprint, run_started, try_number):
            return Submitted(name, created)
        if not found.done:
            return Ending(name, found.state_text)
        request = job
        if after is not None and not found.succeeded:
            request = after(found)
    raise VertexSubmissionError(f"{job_id(MAX_ATTEMPTS)}: found {MAX_ATTEMPTS} earlier attempts of this run")


def fingerprint_of(job: Mapping[str, Any]) -> str:
    """Return a digest of what is asked for; it obeys the rules of label values (L04)."""
    text = json.dumps(job, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _serves(
    hook: VertexPipelineHook,
    found: JobSnapshot,
    max_tries: int,
    fingerprint: str,
    run_started: datetime | None,
    try_number: int | None = None,
) -> bool:
    """Decide whether a job found under an attempt's id is that attempt's; see the table above."""
    same_request = found.labels.get(FINGERPRINT_LABEL) == fingerprint
    if _of_an_earlier_run(found, run_started, same_request):
        if not found.done and not same_request:
            raise VertexSubmissionError(
                f"{found.name}: found a job of an earlier run with the same run id, asked for something else "
                "and still running; allowed: its end. Cancel it in Vertex AI, or choose another run id"
            )
        return not found.done
    if found.labels.get(MAX_TRIES_LABEL) == str(max_tries):
        if try_number is not None and _failed_before(found, try_number):
            return False
        if not same_request:
            hook.log.warning("%s was asked for by another version of the DAG; following it", found.name)
        return True
    return not found.done and found.state is not PipelineState.CANCELLING


def _failed_before(found: JobSnapshot, try_number: int) -> bool:
    """Tell whether an earlier try of the task made the job and did not get it through."""
    over = (found.done and not found.succeeded) or found.state is PipelineState.CANCELLING
    return over and found.labels.get(TRY_LABEL) != str(try_number)


def _check_owner(found: JobSnapshot, owner: Mapping[str, str]) -> None:
    for label, value in owner.items():
        if found.labels.get(label) != value:
            raise VertexSubmissionError(
                f"{found.name}: found a job of another task or run under this id (label {label}: "
                f"{found.labels.get(label)!r}, not {value!r}); allowed: an id that no other job has, "
                "such as one with {{ ts_nodash | lower }} in it"
            )


def _of_an_earlier_run(found: JobSnapshot, run_started: datetime | None, same_request: bool) -> bool:
    if run_started is None or found.create_time is None or found.create_time >= run_started:
        return False
    return not same_request or found.create_time < run_started - CLOCK_SKEW
