"""Scripted faults: rules of a test in, what to do to one request or one task out.

Two kinds. A request fault happens at the door: an error, a delay, a reset connection, an answer that is
lost after the work was done. A task fault happens where the service starts a machine: no quota, no
stock, a pre-emption. Rules are looked at in the order in which they were added; the first that applies
is used up once.
"""

from __future__ import annotations

import fnmatch
import random
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_vertex_provider.emulator.errors import CODES

#: What may happen to a task when its machine is to start.
TASK_FAULTS = ("quota", "stockout", "preempt")
#: What may be forbidden: acting as the service account, the bucket, the metadata store.
PERMISSIONS = ("act_as", "bucket", "metadata")


@dataclass
class RequestFault:
    """One rule about requests.

    :param method: REST method such as ``pipelineJobs.create``, or an HTTP method; ``*`` and ``?`` match.
    :param error: canonical code name to answer with; empty for no error.
    :param message: text of that error.
    :param count: how often the rule applies; ``None`` for always.
    :param rate: share of matching requests it applies to, drawn with ``seed``.
    :param delay: real seconds to wait first.
    :param reset: reset the connection before anything is done.
    :param lose_response: do the work, then reset the connection instead of answering.
    """

    method: str = "*"
    error: str = ""
    message: str = ""
    count: int | None = 1
    rate: float = 1.0
    seed: int = 0
    delay: float = 0.0
    reset: bool = False
    lose_response: bool = False
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.error and self.error not in CODES:
            raise ValueError(f"error: found {self.error!r}; allowed: {', '.join(CODES)}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate: found {self.rate!r}; allowed: 0 to 1")
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def applies(self, http_method: str, rest_method: str) -> bool:
        """Tell whether the rule is for this request, and use it up once if so."""
        if self.count is not None and self.hits >= self.count:
            return False
        if not (
            fnmatch.fnmatchcase(http_method, self.method) or fnmatch.fnmatchcase(rest_method, self.method)
        ):
            return False
        if self._random.random() >= self.rate:
            return False
        self.hits += 1
        return True


@dataclass
class TaskFault:
    """One rule about tasks.

    :param task: ``taskInfo.name`` of the task; ``*`` and ``?`` match.
    :param kind: one of :data:`TASK_FAULTS`.
    :param count: how often the rule applies; ``None`` for always.
    :param metric: quota metric named in the error of kind ``quota``.
    """

    task: str = "*"
    kind: str = "quota"
    count: int | None = 1
    metric: str = "aiplatform.googleapis.com/custom_model_training_cpus"
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in TASK_FAULTS:
            raise ValueError(f"kind: found {self.kind!r}; allowed: {', '.join(TASK_FAULTS)}")


class Faults:
    """All rules of one emulator."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[RequestFault] = []
        self._tasks: list[TaskFault] = []
        self._denied: dict[str, str] = {}

    def add(self, method: str = "*", **options: Any) -> RequestFault:
        """Add a rule about requests; options are the fields of :class:`RequestFault`."""
        rule = RequestFault(method, **options)
        with self._lock:
            self._requests.append(rule)
        return rule

    def add_task(self, task: str = "*", **options: Any) -> TaskFault:
        """Add a rule about tasks; options are the fields of :class:`TaskFault`."""
        rule = TaskFault(task, **options)
        with self._lock:
            self._tasks.append(rule)
        return rule

    def deny(self, what: str, subject: str = "") -> None:
        """Forbid something from now on: ``act_as``, ``bucket`` or ``metadata``.

        :param subject: only this service account or bucket; empty means any.
        """
        if what not in PERMISSIONS:
            raise ValueError(f"permission: found {what!r}; allowed: {', '.join(PERMISSIONS)}")
        with self._lock:
            self._denied[what] = subject

    def denied(self, what: str, subject: str) -> bool:
        """Tell whether ``subject`` is forbidden."""
        with self._lock:
            return what in self._denied and self._denied[what] in ("", subject)

    def clear(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._requests.clear()
            self._tasks.clear()
            self._denied.clear()

    def for_request(self, http_method: str, rest_method: str) -> RequestFault | None:
        """Return the rule that applies to a request, used up once."""
        with self._lock:
            return next((rule for rule in self._requests if rule.applies(http_method, rest_method)), None)

    def for_task(self, name: str, *, kinds: tuple[str, ...]) -> TaskFault | None:
        """Return the rule that applies to the start of a task, used up once."""
        with self._lock:
            for rule in self._tasks:
                if rule.kind not in kinds or (rule.count is not None and rule.hits >= rule.count):
                    continue
                if fnmatch.fnmatchcase(name, rule.task):
                    rule.hits += 1
                    return rule
            return None

    def as_list(self) -> list[dict[str, Any]]:
        """Return every rule as plain data."""
        with self._lock:
            rules: list[dict[str, Any]] = [asdict(rule) for rule in self._requests]
            for rule in rules:
                del rule["_random"]
            rules += [asdict(rule) for rule in self._tasks]
            rules += [{"deny": what, "subject": subject} for what, subject in self._denied.items()]
            return rules
