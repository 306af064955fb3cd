"""Which permissions which account needs, where, and for what: the one table of them.

``airflow-vertex doctor`` asks for them and docs/authentication.md makes roles of them. Sources: the reference
of the API's methods, each of which names the permission that it checks, and what this package calls.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The two accounts: the one whose credentials the connection holds, and the one that jobs run as.
CLIENT = "client"
WORKLOAD = "workload"

#: Kinds of resources that permissions are held on.
PROJECT = "project"
ACCOUNT = "workload account"
BUCKET = "bucket of the pipeline root"


@dataclass(frozen=True)
class Permission:
    """One permission.

    :param name: as IAM has it.
    :param identity: who needs it.
    :param on: kind of the resource.
    :param needed_for: what fails without it.
    :param role: the smallest of Google's predefined roles that holds it.
    :param optional: whether only some installations need it; then ``needed_for`` says which.
    """

    name: str
    identity: str
    on: str
    needed_for: str
    role: str
    optional: bool = False


_USER = "roles/aiplatform.user"
_OBJECTS = "roles/storage.objectUser"

PERMISSIONS: tuple[Permission, ...] = (
    Permission("aiplatform.pipelineJobs.create", CLIENT, PROJECT, "submitting a job", _USER),
    Permission("aiplatform.pipelineJobs.get", CLIENT, PROJECT, "following a job", _USER),
    Permission("aiplatform.pipelineJobs.list", CLIENT, PROJECT, "following many jobs", _USER),
    Permission("aiplatform.pipelineJobs.cancel", CLIENT, PROJECT, "cancelling a job on kill", _USER),
    Permission(
        "aiplatform.schedules.create", CLIENT, PROJECT, "schedules of Vertex AI's own", _USER, optional=True
    ),
    Permission(
        "aiplatform.schedules.get", CLIENT, PROJECT, "schedules of Vertex AI's own", _USER, optional=True
    ),
    Permission(
        "aiplatform.schedules.list", CLIENT, PROJECT, "schedules of Vertex AI's own", _USER, optional=True
    ),
    Permission(
        "aiplatform.schedules.update", CLIENT, PROJECT, "schedules of Vertex AI's own", _USER, optional=True
    ),
    Permission(
        "aiplatform.schedules.delete", CLIENT, PROJECT, "schedules of Vertex AI's own", _USER, optional=True
    ),
    Permission(
        "iam.serviceAccounts.actAs",
        CLIENT,
        ACCOUNT,
        "submitting jobs that run as the workload account",
        "roles/iam.serviceAccountUser",
    ),
    Permission("storage.objects.create", CLIENT, BUCKET, "large values and code sent at submit", _OBJECTS),
    Permission("storage.objects.get", CLIENT, BUCKET, "large values read, code found again", _OBJECTS),
    Permission("aiplatform.customJobs.create", WORKLOAD, PROJECT, "tasks with a custom_job", _USER),
    Permission("aiplatform.customJobs.get", WORKLOAD, PROJECT, "tasks with a custom_job", _USER),
    Permission("aiplatform.customJobs.list", WORKLOAD, PROJECT, "tasks with a custom_job", _USER),
    Permission(
        "aiplatform.customJobs.cancel", WORKLOAD, PROJECT, "ending the machines of a cancelled job", _USER
    ),
    Permission(
        "iam.serviceAccounts.actAs",
        WORKLOAD,
        ACCOUNT,
        "custom jobs that run as the workload account itself",
        "roles/iam.serviceAccountUser",
    ),
    Permission("storage.objects.create", WORKLOAD, BUCKET, "what tasks return and write", _OBJECTS),
    Permission("storage.objects.get", WORKLOAD, BUCKET, "what tasks read", _OBJECTS),
)


def needed(identity: str, *, optional: bool = False) -> tuple[Permission, ...]:
    """Return what an identity needs.

    :param optional: what only some installations need, too.
    """
    return tuple(
        each for each in PERMISSIONS if each.identity == identity and (optional or not each.optional)
    )
