"""Resource names of pipeline jobs: a name in, its parts out; no client is needed to read one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_vertex_provider.exceptions import VertexConfigurationError, VertexSettingsError

#: Labels of a group's job: the number of the attempt, the ``max_tries`` of the submit task, a digest of what
#: was asked for, and how often the group may be tried again by itself.
ATTEMPT_LABEL = "airflow_attempt"
MAX_TRIES_LABEL = "airflow_max_tries"
FINGERPRINT_LABEL = "airflow_fingerprint"
RETRIES_LABEL = "airflow_retries_left"
#: Labels of a job that is a task by itself: the task, and the try of it that made the job.
TASK_LABEL = "airflow_task_id"
TRY_LABEL = "airflow_try_number"

_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")
#: How the id of a group's job ends: the number of the attempt.
_ATTEMPT = re.compile(r"(.*)-(\d+)")


@dataclass(frozen=True)
class JobName:
    """The parts of a resource name.

    :param project: id or number, as the name has it.
    """

    project: str
    location: str
    id: str

    @classmethod
    def parse(cls, name: object) -> JobName:
        """Take a name apart.

        :raises VertexConfigurationError: it is not the resource name of a pipeline job.
        """
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise VertexConfigurationError(
                f"job name: found {name!r}; "
                "allowed: projects/<project>/locations/<location>/pipelineJobs/<id>"
            )
        return cls(*match.groups())

    @property
    def parent(self) -> str:
        """What the job is listed under."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def attempt(self) -> int:
        """The number that the id of a group's job ends with; 0 if it ends with none."""
        match = _ATTEMPT.fullmatch(self.id)
        return int(match[2]) if match else 0

    def with_attempt(self, attempt: int) -> str:
        """Return the name of another attempt of the same run, see ``operators/attempts``."""
        match = _ATTEMPT.fullmatch(self.id)
        if match is None:
            raise VertexConfigurationError(
                f"job id: found {self.id!r}; allowed: one that ends with its attempt"
            )
        return f"{self.parent}/pipelineJobs/{match[1]}-{attempt}"


def location_of(name: str) -> str:
    """Return the location in a resource name.

    :raises VertexConfigurationError: ``name`` is not the resource name of a pipeline job.
    """
    return JobName.parse(name).location


def job_names(value: object) -> list[str]:
    """Return one resource name or several as a list.

    :raises VertexConfigurationError: there is none, or something is no resource name of a job.
    """
    if isinstance(value, str):
        names = [value]
    elif isinstance(value, Sequence) and value:
        names = list(value)
    else:
        raise VertexSettingsError("job_name", value, "the resource name of a pipeline job, or a list of them")
    for name in names:
        JobName.parse(name)
    return names
