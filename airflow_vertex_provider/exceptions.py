"""The errors this package raises: what went wrong in, one catchable tree out.

::

    VertexProviderError(AirflowException)
    ├── VertexConfigurationError(AirflowFailException, ValueError)   the author wrote what cannot be carried
    │   ├── VertexGroupError                   all problems of one task group, listed together
    │   └── VertexSettingsError                one setting: task, field, found, allowed
    ├── VertexApiError                         a call to the service failed; tells if it may pass
    │   └── VertexRefusedError(AirflowFailException)   it will fail the same way again
    ├── VertexSubmissionError                  the service refused the job, or answered nonsense
    ├── VertexRunFailedError                   the job of a task that may be tried again failed
    ├── VertexJobFailedError(AirflowFailException)   the pipeline job ended in anything but success
    │   └── VertexTaskFailedError              one member of the job failed
    └── VertexValueError(AirflowFailException, ValueError)   a value cannot travel: wrong type, damaged

Every error says what was found and what would be right. Errors of the author are also ``ValueError``. Airflow
does not retry a task that ends with an AirflowFailException: the next try would end the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # Airflow 3.1 has them elsewhere; delete when 3.2 is the lowest supported.
    from airflow.exceptions import AirflowException, AirflowFailException  # type: ignore[attr-defined, no-redef]


class VertexProviderError(AirflowException):
    """Base of every error raised by this package."""


class VertexConfigurationError(VertexProviderError, AirflowFailException, ValueError):
    """The DAG author's input cannot be used; raised while parsing, or at submit for templated values."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a task group.

    :param where: task id, or the group id when the group itself is meant.
    :param field: the argument or feature the problem is about.
    :param found: what the author wrote, shortened for printing.
    :param allowed: what would be accepted instead.
    """

    where: str
    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: found {self.found}; allowed: {self.allowed}"


class VertexGroupError(VertexConfigurationError):
    """All problems of one task group, found in one pass and reported together.

    :param dag_id: the DAG the group stands in.
    :param group_id: the group.
    :param problems: at least one :class:`Problem`.
    """

    def __init__(self, dag_id: str, group_id: str, problems: Sequence[Problem]) -> None:
        self.dag_id = dag_id
        self.group_id = group_id
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1))
        super().__init__(
            f"DAG {dag_id!r}, Vertex task group {group_id!r}: "
            f"{count} problem{'' if count == 1 else 's'}, nothing was submitted\n{lines}"
        )

    def __reduce__(self) -> tuple[type[VertexGroupError], tuple[str, str, tuple[Problem, ...]]]:
        """Rebuild from the three arguments; Exception's own way would pass the message alone."""
        return type(self), (self.dag_id, self.group_id, self.problems)


class VertexSettingsError(VertexConfigurationError):
    """One setting is wrong.

    :param field: dotted name of the setting, for example ``custom_job.accelerator_count``.
    :param found: the value as the author gave it.
    :param allowed: what would be accepted.
    :param where: task or group the setting was given for; filled in by whoever knows it.
    """

    def __init__(self, field: str, found: object, allowed: str, where: str = "") -> None:
        self.field = field
        self.found = found
        self.allowed = allowed
        self.where = where
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}{field}: found {found!r}; allowed: {allowed}")

    def __reduce__(self) -> tuple[type[VertexSettingsError], tuple[str, object, str, str]]:
        """Rebuild from the four arguments."""
        return type(self), (self.field, self.found, self.allowed, self.where)

    def at(self, where: str) -> VertexSettingsError:
        """Return the same error, said about ``where``."""
        return type(self)(self.field, self.found, self.allowed, where)

    def as_problem(self, where: str) -> Problem:
        """Return the error as one entry of a :class:`VertexGroupError`."""
        return Problem(where, self.field, repr(self.found), self.allowed)


class VertexApiError(VertexProviderError):
    """A call to the service failed.

    :param message: what was tried and what came back.
    :param transient: whether the same call may succeed later: overload, a lost connection, a token that
        could not be refreshed. A refused permission or an unknown job is not transient.
    :param code: HTTP status, or ``None`` if no answer arrived.
    """

    def __init__(self, message: str, *, transient: bool = False, code: int | None = None) -> None:
        self.transient = transient
        self.code = code
        super().__init__(message)


class VertexRefusedError(VertexApiError, AirflowFailException):
    """The service refused a call, and would refuse it again: a permission, an unknown job, a bad request."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message, transient=False, code=code)


class VertexSubmissionError(VertexProviderError):
    """The service did not accept the job, or answered in a way that cannot be acted on."""


class VertexRunFailedError(VertexProviderError):
    """The pipeline job of a ``RunVertexPipelineOperator`` ended in anything but success.

    Airflow retries the task if it has retries left; the next try makes the next job.
    """


class VertexJobFailedError(VertexProviderError, AirflowFailException):
    """A pipeline job ended in another state than success.

    Airflow does not retry a task that ends with it: the job will not change any more.
    """


class VertexTaskFailedError(VertexJobFailedError):
    """One task of a pipeline job failed, or was never run."""


class VertexValueError(VertexProviderError, AirflowFailException, ValueError):
    """A value cannot be carried between Airflow and the pipeline unchanged."""
