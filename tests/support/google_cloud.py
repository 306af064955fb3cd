"""Google's identity services on loopback, and a gate before the emulator that lets in only whom they know.

::

    with VertexEmulator() as emulator, FakeGoogle(emulator, tmp_path) as google:
        google.use(monkeypatch)                       # proxy and certificate, for hosts that cannot be set
        key = google.key_file("client@acme.iam.gserviceaccount.com")
        google.may_impersonate.add((CLIENT, WORKLOAD))
        google.permissions[CLIENT, "projects/acme"] = {"aiplatform.pipelineJobs.list"}
        ...                                           # connection with api_endpoint=google.endpoint
        assert google.callers() == {CLIENT}

Google's own clients run unmodified: key files name their token address, and what is written into google-auth
(``iamcredentials.googleapis.com`` and others) is reached through a proxy with a certificate of this test's.

What it serves: tokens for key files (the JWT's signature, audience and age are checked), for refresh tokens
and for workload identity federation; access tokens of impersonated accounts, along chains;
``testIamPermissions`` of projects, accounts and buckets; everything else of Vertex AI and Cloud Storage by
the emulator, after the token was checked. Nothing that would change a policy: that is refused and kept in
:attr:`FakeGoogle.changes`.
"""

from __future__ import annotations

import datetime
import http.server
import itertools
import json
import re
import secrets
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from airflow_vertex_provider.emulator import VertexEmulator

#: What google-auth writes into a JWT as its audience, wherever it sends it.
OAUTH_TOKEN = "https://oauth2.googleapis.com/token"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
#: Audience of the workload identity pool, and the subject token that it takes.
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc"
SUBJECT_TOKEN = "subject-token-of-the-workload"
FEDERATED = "principal://pool/subject"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

_IMPERSONATION = re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken")
_PERMISSIONS = (
    re.compile(r"/v[13]/(projects/[^/:]+):testIamPermissions"),
    re.compile(r"/v1/projects/-/(serviceAccounts/[^/:]+):testIamPermissions"),
)
_BUCKET_PERMISSIONS = re.compile(r"/storage/v1/b/([^/]+)/iam/testPermissions")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")


@dataclass
class Call:
    """One request that arrived with a token.

    :param account: whose token it was. :param host: of Google's, or ``api`` for the gate.
    """

    account: str
    host: str
    method: str
    path: str
    quota_project: str | None = None


@dataclass
class Token:
    """A token that was given out."""

    account: str
    scopes: tuple[str, ...]
    expires: float


class Refused(Exception):
    """An answer with an error."""

    def __init__(self, code: int, message: str, status: str = "PERMISSION_DENIED", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"error": {"code": code, "message": message, "status": status, **details}}


@dataclass
class FakeGoogle:
    """See the module.

    :param emulator: what stands behind the gate.
    :param folder: for key files and certificates.
    :param may_impersonate: pairs of accounts, the first of which may have tokens of the second.
    :param permissions: account and resource (``projects/x``, ``serviceAccounts/x``, ``buckets/x``) to what it
        may do there.
    :param buckets: those that exist.
    :param refresh_tokens: refresh token to account.
    :param failures: answers that the token endpoint gives before it works: an HTTP status, or 0 for a
        connection that is closed.
    """

    emulator: VertexEmulator
    folder: Path
    may_impersonate: set[tuple[str, str]] = field(default_factory=set)
    permissions: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=set)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    disabled: str | None = None
    lifetime: float = 3600.0
    calls: list[Call] = field(default_factory=list)
    grants: list[Mapping[str, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    tokens: dict[str, Token] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._keys: dict[str, Any] = {}
        self._certificates()
        handler = type("Handler", (_Handler,), {"google": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- for tests -------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the variables by which a process reaches Google's hosts here."""
        return {
            "HTTPS_PROXY": self.endpoint,
            "https_proxy": self.endpoint,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"),
            "NO_GCE_CHECK": "true",
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process reach Google's hosts here, and find no credentials of its machine's."""
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(self.folder / "no-gcloud"))

    def key(self, account: str) -> dict[str, str]:
        """Return the content of a key file of an account."""
        if account not in self._keys:
            self._keys[account] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return {
            "type": "service_account",
            "project_id": "acme-of-the-key",
            "private_key_id": "key-1",
            "private_key": _pem(self._keys[account]),
            "client_email": account,
            "client_id": "1",
            "token_uri": f"{self.endpoint}/token",
        }

    def key_file(self, account: str) -> Path:
        """Write such a file."""
        return self._write(f"{account}.json", self.key(account))

    def user_file(self, account: str) -> Path:
        """Write what ``gcloud auth application-default login`` leaves for a person."""
        token = f"refresh-{secrets.token_hex(8)}"
        self.refresh_tokens[token] = account
        return self._write(
            "user.json",
            {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": token},
        )

    def federation_file(self, account: str | None = None) -> Path:
        """Write a credential configuration of workload identity federation.

        :param account: impersonated by the federated identity, if given.
        """
        subject = self.folder / "subject-token"
        subject.write_text(SUBJECT_TOKEN)
        config: dict[str, Any] = {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.endpoint}/v1/token",
            "credential_source": {"file": str(subject)},
        }
        if account is not None:
            config["service_account_impersonation_url"] = (
                f"{self.endpoint}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
            )
        return self._write("federation.json", config)

    def callers(self, host: str = "api") -> set[str]:
        """Return whose tokens arrived."""
        return {call.account for call in self.calls if call.host == host}

    # -- answers ---------------------------------------------------------------------------------

    def give(self, account: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        """Return a new token of an account, as OAuth answers."""
        token = f"ya29.{secrets.token_hex(16)}"
        self.tokens[token] = Token(account, scopes, time.time() + self.lifetime)
        return {"access_token": token, "expires_in": int(self.lifetime), "token_type": "Bearer"}

    def grant(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer what the token endpoints are asked."""
        kind = form.get("grant_type")
        if path == "/v1/token":
            good = kind == TOKEN_EXCHANGE and form.get("audience") == AUDIENCE
            if not good or form.get("subject_token") != SUBJECT_TOKEN:
                raise Refused(400, "invalid subject token", "INVALID_ARGUMENT")
            self.grants.append({"kind": "federation", "scope": form.get("scope", "")})
            answer = self.give(FEDERATED, tuple(form.get("scope", "").split()))
            return {**answer, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        if kind == JWT_BEARER:
            claims = self.claims(form["assertion"], audience=[f"{self.endpoint}/token", OAUTH_TOKEN])
            self.grants.append({"kind": "key", **claims})
            return self.give(claims["iss"], tuple(str(claims.get("scope", "")).split()))
        account = self.refresh_tokens.get(form.get("refresh_token", ""))
        if kind != "refresh_token" or account is None:
            raise Refused(400, "invalid_grant", "INVALID_ARGUMENT")
        self.grants.append({"kind": "user", "account": account})
        return self.give(account, (CLOUD_PLATFORM,))

    def claims(self, token: str, audience: list[str] | None = None) -> dict[str, Any]:
        """Check a JWT that somebody signed with a key from here, and return what it says."""
        said = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
        key = self._keys.get(said.get("iss", ""))
        if key is None:
            raise Refused(401, "unknown account", "UNAUTHENTICATED")
        try:
            claims: dict[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=_public_pem(key), audience=audience
            )
        except Exception as error:
            raise Refused(401, f"bad token: {error}", "UNAUTHENTICATED") from error
        return claims

    def account_of(self, header: str | None, *, iam: bool = False) -> str:
        """Return whose token a request carries.

        :param iam: whether the scope for IAM is enough.
        """
        kind, _, token = (header or "").partition(" ")
        if kind != "Bearer" or not token:
            raise Refused(401, "Request is missing required authentication credential.", "UNAUTHENTICATED")
        if token in self.tokens:
            known = self.tokens[token]
            if known.expires < time.time():
                raise Refused(401, "The token has expired.", "UNAUTHENTICATED")
            if CLOUD_PLATFORM not in known.scopes and not (iam and IAM_SCOPE in known.scopes):
                raise Refused(403, "Request had insufficient authentication scopes.")
            return known.account
        # Google's clients use a key to sign their requests themselves, where they can.
        claims = self.claims(token)
        if CLOUD_PLATFORM not in str(claims.get("scope", "")) and "aud" not in claims:
            raise Refused(403, "Request had insufficient authentication scopes.")
        return str(claims["iss"])

    def impersonated(self, caller: str, target: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``generateAccessToken``."""
        delegates = [name.rpartition("/")[2] for name in body.get("delegates") or []]
        chain = [caller, *delegates, target]
        for one, other in itertools.pairwise(chain):
            if (one, other) not in self.may_impersonate:
                raise Refused(
                    403, f"Permission 'iam.serviceAccounts.getAccessToken' denied on resource {other}"
                )
        self.grants.append({"kind": "impersonation", "chain": chain, "scope": body.get("scope")})
        token = self.give(target, tuple(body.get("scope", [])))["access_token"]
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.lifetime)
        return {"accessToken": token, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def held(self, account: str, resource: str, asked: list[str]) -> list[str]:
        """Answer ``testIamPermissions``."""
        return [each for each in asked if each in self.permissions.get((account, resource), set())]

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def _certificates(self) -> None:
        """Make an authority and, of it, a certificate for all of Google's hosts; they live for a day."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "FakeGoogle of a test")])
        now = datetime.datetime.now(datetime.UTC)
        hosts = x509.SubjectAlternativeName(
            [x509.DNSName(name) for name in ("*.googleapis.com", "googleapis.com")]
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())

        def builder() -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .issuer_name(name)
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .serial_number(x509.random_serial_number())
            )

        authority = (
            builder()
            .subject_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        server_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        server = (
            builder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "googleapis.com")]))
            .public_key(server_key.public_key())
            .add_extension(hosts, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        pem = self.folder / "server.pem"
        pem.write_bytes(server.public_bytes(serialization.Encoding.PEM) + _pem(server_key).encode())
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pem)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers of the services, over plain HTTP and, after CONNECT, over TLS."""

    google: FakeGoogle
    protocol_version = "HTTP/1.1"
    host = "api"

    def log_message(self, *_: Any) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.request = self.google.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        # The loop of the base class goes on reading, now inside the tunnel.
        self.close_connection = False

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self._route(urlsplit(self.path), body)
        except Refused as refused:
            self._send(refused.code, json.dumps(refused.body).encode())
        except ConnectionAbortedError:
            self.close_connection = True
        else:
            if answer is not None:
                self._send(200, json.dumps(answer).encode())

    def _send(self, code: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _route(self, url: Any, body: bytes) -> dict[str, Any] | None:
        google = self.google
        if url.path in ("/token", "/v1/token"):
            if google.failures:
                code = google.failures.pop(0)
                if code == 0:
                    raise ConnectionAbortedError
                raise Refused(code, "scripted failure", "UNAVAILABLE")
            return google.grant(url.path, {key: found[0] for key, found in parse_qs(body.decode()).items()})
        iam = _IMPERSONATION.fullmatch(url.path) is not None
        account = google.account_of(self.headers.get("Authorization"), iam=iam)
        quota = self.headers.get("x-goog-user-project")
        google.calls.append(Call(account, "iam" if iam else self.host, self.command, url.path, quota))
        if match := _IMPERSONATION.fullmatch(url.path):
            return google.impersonated(account, match[1], json.loads(body))
        for pattern in _PERMISSIONS:
            if match := pattern.fullmatch(url.path):
                asked = json.loads(body)["permissions"]
                return {"permissions": google.held(account, match[1], asked)}
        if self.host != "api":
            return self._google_host(account, url)
        if google.disabled:
            raise Refused(403, google.disabled)
        self._forward(body)
        return None

    def _google_host(self, account: str, url: Any) -> dict[str, Any]:
        """Answer what is not about tokens and permissions of services, on Google's own hosts."""
        google = self.google
        if match := _BUCKET_PERMISSIONS.fullmatch(url.path):
            if match[1] not in google.buckets:
                raise Refused(404, "The specified bucket does not exist.", "NOT_FOUND")
            asked = parse_qs(url.query).get("permissions", [])
            return {"permissions": google.held(account, f"buckets/{match[1]}", asked)}
        if self.command == "GET" and (match := _BUCKET.fullmatch(url.path)):
            if match[1] not in google.buckets:
                raise Refused(404, "The specified bucket does not exist.", "NOT_FOUND")
            return {"name": match[1]}
        if self.command != "GET":
            google.changes.append(f"{self.command} {self.host}{url.path}")
        raise Refused(404, f"nothing here answers {self.command} {self.host}{url.path}", "NOT_FOUND")

    def _forward(self, body: bytes) -> None:
        dropped = ("authorization", "host", "content-length", "connection", "accept-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        request = urllib.request.Request(
            f"{self.google.emulator.endpoint}{self.path}",
            data=body or None,
            headers=headers,
            method=self.command,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                code, data, got = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            code, data, got = error.code, error.read(), error.headers
        kept = {
            name: value
            for name, value in got.items()
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server")
        }
        self._send(code, data, kept)


def _pem(key: Any) -> str:
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return data.decode()


def _public_pem(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data
