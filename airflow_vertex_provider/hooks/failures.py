"""Failed calls: what Google's client raised in, whether it may pass and what it means out."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Names of permissions as the service writes them in its refusals.
_PERMISSION = re.compile(r"[Pp]ermission '?([a-z]+\.[\w.]+)'?")
#: How the service says that the API is switched off.
_DISABLED = ("SERVICE_DISABLED", "has not been used", "it is disabled")
#: What must not stand in a message, though a library may put it there.
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+"),
    re.compile(
        r"""(?i)((?:access_token|refresh_token|id_token|assertion|client_secret|private_key|subject_token)"""
        r"""['"]?\s*[:=]\s*['"]?)[^'"&\s,}]+"""
    ),
    re.compile(r"ya29\.[\w.-]+"),
)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may succeed later (list at the end of vertex-rules)."""
    from google.api_core import exceptions as api
    from google.auth.exceptions import RefreshError, TransportError
    from requests.exceptions import RequestException

    passing = (
        api.ServiceUnavailable,
        api.InternalServerError,
        api.BadGateway,
        api.GatewayTimeout,
        api.TooManyRequests,
        # Over REST a bare 409; create_job has looked whether the job exists before this counts.
        api.Conflict,
        # Of a token endpoint that is down, and of one that refuses: google-auth tells these apart by words
        # alone, and not always. A wait that outlasts an outage is worth more than a quick end.
        RefreshError,
        TransportError,
        ConnectionError,
        TimeoutError,
    )
    if isinstance(error, passing):
        return True
    # requests' own connection errors are OSErrors, but so are errors of its callers: be narrow.
    return isinstance(error, RequestException)


def said(error: BaseException) -> str:
    """Return what an error says, without tokens and keys."""
    text = str(error) or type(error).__name__
    for pattern in _SECRETS:
        text = pattern.sub(lambda match: f"{match[1] if match.lastindex else ''}***", text)
    return text


def explanation(error: BaseException, *, location: str) -> str:
    """Say in words what a failed call of ``test_connection`` means, and what would help.

    :param error: what Google's client raised.
    :param location: region that was asked.
    """
    from google.api_core import exceptions as api

    text = said(error)
    meaning = next((words for kind, words in _meanings(location) if isinstance(error, kind)), None)
    if isinstance(error, api.Forbidden):
        permission = _PERMISSION.search(text)
        lacks = permission[1] if permission else "aiplatform.pipelineJobs.list"
        meaning = (
            "The Vertex AI API is off in the project: gcloud services enable aiplatform.googleapis.com"
            if any(mark in text for mark in _DISABLED)
            else f"The account lacks the permission {lacks}; airflow-vertex doctor tells what else it needs"
        )
    elif meaning is None and is_transient(error):
        meaning = _unanswered(text, location)
    return f"{meaning} ({text})" if meaning else f"{type(error).__name__}: {text}"


def _unanswered(text: str, location: str) -> str:
    """Tell why no answer came, as far as the words of the HTTP library say."""
    if "resolve" in text:
        return f"Nobody knows the endpoint's name: check DNS, API endpoint and Location {location!r}"
    if "refused" in text:
        return "Nothing listens at the endpoint, or a firewall refuses: check API endpoint"
    return f"Vertex AI in {location} does not answer: check network, API endpoint and Location"


def _meanings(location: str) -> Iterator[tuple[type[BaseException], str]]:
    """Yield kinds of errors, narrow ones first, each with what it means."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    yield api.Unauthorized, "The service does not take the credentials: check the key and the account's state"
    yield api.NotFound, "Project or API were not found at this endpoint: check Project ID and API endpoint"
    yield api.BadRequest, f"The service refuses the question: check Project ID and Location {location!r}"
    yield auth.InvalidOperation, "The service wants credentials, and this connection is anonymous"
    yield (
        auth.DefaultCredentialsError,
        "No usable credentials: those named are not whole, or none are named and there are no defaults here",
    )
    yield (
        auth.RefreshError,
        "No token for these credentials: a key may be disabled, or an account may not be impersonated",
    )
    yield auth.TransportError, "The token service does not answer: check the network"
    yield auth.MalformedError, "The key has not all that a key has: check Keyfile JSON, or the key file"
    yield auth.GoogleAuthError, "The credentials cannot be used"
    yield FileNotFoundError, "The key file is not there where this process runs: check Keyfile path"
    yield PermissionError, "The key file may not be read by this process: check its permissions"
    yield KeyError, "The key lacks a part: check Keyfile JSON"
    yield ValueError, "The credentials cannot be read: check Keyfile JSON, or the key file"
