"""Names and numbers of resources: project ids and random bits in, resource names and ids out."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass


def project_number(project: str) -> str:
    """Return the number that stands for a project: itself if it is one, else one derived from the id.

    The same id always gives the same twelve digits, so names survive a restart and can be predicted.
    """
    if project.isdigit():
        return project
    digest = hashlib.sha256(project.encode()).digest()
    return str(100_000_000_000 + int.from_bytes(digest[:8], "big") % 900_000_000_000)


@dataclass(frozen=True)
class Place:
    """A project and a location: the parent of every resource.

    :param project: project id as the caller wrote it, or the number where only that is known.
    """

    project: str
    location: str

    @property
    def number(self) -> str:
        """The project's number."""
        return project_number(self.project)

    @property
    def parent(self) -> str:
        """``projects/NUMBER/locations/LOCATION``."""
        return f"projects/{self.number}/locations/{self.location}"

    @property
    def default_service_account(self) -> str:
        """The account of a job that names none: Compute Engine's default one."""
        return f"{self.number}-compute@developer.gserviceaccount.com"

    def metadata(self, kind: str, identifier: str) -> str:
        """Name of an ML Metadata resource: ``contexts``, ``executions`` or ``artifacts``."""
        return f"{self.parent}/metadataStores/default/{kind}/{identifier}"


class Ids:
    """Random identifiers in the forms the service uses.

    :param seed: makes the sequence repeatable; ``None`` draws a new one.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)  # noqa: S311 - ids, not secrets

    def numeric(self) -> str:
        """Nineteen digits: the id of a custom job or an operation, and a run's billing label."""
        return str(self.random.randrange(10**18, 9 * 10**18))

    def task(self) -> int:
        """Signed 64-bit id of a task; half of them are negative (vertex-observed section 1)."""
        return self.random.randrange(-(2**63), 2**63) or 1

    def metadata(self) -> str:
        """Id of an execution or an artifact."""
        return str(self.random.randrange(10**18, 2**63))
