"""Which permissions accounts hold: asks Google's services with ``testIamPermissions``, and changes nothing.

Each answer is ``True``, ``False``, or a text that says why it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_vertex_provider.hooks.failures import explanation, said
from airflow_vertex_provider.permissions import ACCOUNT, BUCKET, PROJECT

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

#: Seconds that one question may take.
TIMEOUT = 20.0
_CLOUD_PLATFORM = ("https://www.googleapis.com/auth/cloud-platform",)
#: Addresses: method, and the resource's place in it.
_QUESTIONS = {
    PROJECT: "https://cloudresourcemanager.googleapis.com/v1/projects/{}:testIamPermissions",
    ACCOUNT: "https://iam.googleapis.com/v1/projects/-/serviceAccounts/{}:testIamPermissions",
    BUCKET: "https://storage.googleapis.com/storage/v1/b/{}/iam/testPermissions",
}

Answer = bool | str


class PermissionQuestions:
    """Asks as one account.

    :param credentials: of that account, as google-auth makes them.
    """

    def __init__(self, credentials: Any) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    @classmethod
    def of_client(cls, hook: VertexPipelineHook) -> PermissionQuestions:
        """Ask as the account of the connection."""
        return cls(hook.get_credentials())

    @classmethod
    def of_workload(cls, hook: VertexPipelineHook, account: str) -> PermissionQuestions:
        """Ask as the workload account, which the client has to impersonate for it."""
        from google.auth import impersonated_credentials

        return cls(
            impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
                source_credentials=hook.get_credentials(),
                target_principal=account,
                target_scopes=list(_CLOUD_PLATFORM),
            )
        )

    def held(self, on: str, resource: str, permissions: Sequence[str]) -> dict[str, Answer]:
        """Ask which of the permissions the account holds on a resource.

        :param on: kind of the resource. :param resource: project id, account or bucket.
        :return: permission to answer.
        """
        address = _QUESTIONS[on].format(quote(resource, safe="@"))

        def ask() -> set[str]:
            if on == BUCKET:
                answer = self._session.get(
                    address, params=[("permissions", name) for name in permissions], timeout=TIMEOUT
                )
            else:
                answer = self._session.post(address, json={"permissions": list(permissions)}, timeout=TIMEOUT)
            if answer.status_code != 200:
                raise OSError(_refusal(answer))
            return set(answer.json().get("permissions", ()))

        found, why = _tried(ask)
        return {name: why if found is None else name in found for name in permissions}


def _refusal(answer: Any) -> str:
    try:
        error = answer.json()["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        text = answer.text[:200]
    return f"{answer.status_code}: {text}"


def _tried(ask: Callable[[], set[str]]) -> tuple[set[str] | None, str]:
    from google.auth.exceptions import GoogleAuthError

    try:
        return ask(), ""
    except (GoogleAuthError, OSError) as error:
        return None, said(error)


def acting_account(hook: VertexPipelineHook) -> tuple[str | None, str]:
    """Find out as whom a connection acts, which needs a token.

    :return: the account, ``""`` if its name cannot be told, or ``None`` if there are no credentials; and a
        text for people.
    """
    from airflow.exceptions import AirflowException  # type: ignore[attr-defined]
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials = hook.get_credentials()
        if not credentials.valid:
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        return None, explanation(error, location="")
    except (AirflowException, OSError, ValueError) as error:
        return None, said(error)
    for name in ("service_account_email", "signer_email", "account"):
        found = getattr(credentials, name, None)
        if isinstance(found, str) and "@" in found:
            return found, f"acting as {found}"
    return "", "acting as an account whose name is not known here"
