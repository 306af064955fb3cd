"""What the service's errors mean: a text of Vertex AI in, plain words and what helps out.

The texts are those of public records (vertex-observed section 2). What is not known here is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_ACCOUNT = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"


def explain(text: str, *, project: str = "PROJECT", account: str = "") -> str:
    """Say what an error of a job or a task means and what would help; empty if nothing is known.

    :param text: the service's error.
    :param project: of the job; its number will do.
    :param account: the account the job runs as, if known.
    """
    for pattern, words in _RULES:
        match = pattern.search(text)
        if match:
            return words(match, project, account or "ACCOUNT")
    return ""


def _denied(match: re.Match[str], project: str, account: str) -> str:
    permission = match[1]
    return (
        f"the account that the job runs as, {account}, lacks the permission {permission}. Grant it: "
        f"gcloud projects add-iam-policy-binding {project} --member=serviceAccount:{account} "
        "--role=roles/aiplatform.user"
    )


def _bucket(match: re.Match[str], project: str, account: str) -> str:
    return (
        f"the account {match['account'] or account} may not use the bucket of the pipeline root. Grant it: "
        f"gcloud storage buckets add-iam-policy-binding gs://{match['bucket']} "
        f"--member=serviceAccount:{match['account'] or account} --role=roles/storage.objectUser"
    )


def _act_as(match: re.Match[str], project: str, account: str) -> str:
    return (
        f"the account of the Airflow connection may not let jobs run as {match[1]}, or that account does "
        f"not exist. Grant it: gcloud iam service-accounts add-iam-policy-binding {match[1]} "
        "--member=serviceAccount:ACCOUNT_OF_THE_CONNECTION --role=roles/iam.serviceAccountUser"
    )


def _quota(match: re.Match[str], project: str, account: str) -> str:
    return (
        f"no machine was started: the project's quota of {match[1].strip(' .')} is used up. Ask for more of "
        "it, use another region or machine, or run fewer tasks at a time"
    )


def _stockout(match: re.Match[str], project: str, account: str) -> str:
    return (
        f"no machine was started: {match[1]} has none of these machines free just now. Try later, another "
        "region, another accelerator, or a reservation"
    )


def _memory(match: re.Match[str], project: str, account: str) -> str:
    return "the machine ran out of memory: take one with more, or less data at a time"


_Words = Callable[[re.Match[str], str, str], str]

_RULES: tuple[tuple[re.Pattern[str], _Words], ...] = (
    (re.compile(rf"permission to act as service_account: ({_ACCOUNT})"), _act_as),
    (
        re.compile(
            rf"(?:[Ss]ervice account `(?P<account>{_ACCOUNT})`.*?)?IAM permission\(s\) to the bucket "
            r'"(?P<bucket>[^"]+)"',
            re.DOTALL,
        ),
        _bucket,
    ),
    (re.compile(r"Permission '([\w.]+)' denied"), _denied),
    (re.compile(r"quota metrics exceed quota limits: ([\w./, -]+?)(?:, cause=|;|$)"), _quota),
    (re.compile(r"Resources are insufficient in region: ([\w-]+)"), _stockout),
    (re.compile(r"Replicas low on memory"), _memory),
)
