"""What never goes into a bundle: a file's name or content in, whether it is left out or holds a key out."""

from __future__ import annotations

import fnmatch
import re

#: Names of files that hold secrets, in lower case; docs/code.md shows the list. An ignore file cannot let
#: them in again.
SECRET_NAMES = (
    ".env*",
    "*.env",
    "*.pem",
    "*.key",
    "*.p8",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "*.tfstate",
    "*.tfstate.*",
    "*.tfvars",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    "credentials",
    "*credentials*.json",
    "*service*account*.json",
    "*passwords.json*",
    "secret.*",
    "secrets.*",
    "*.secret",
    "*.secrets",
    "kubeconfig",
    "*.kubeconfig",
    "airflow.cfg",
    "*.env.*",
    "*.pem.*",
    "*.key.*",
    "credentials.ini",
    "credentials.toml",
    "credentials.yaml",
    "credentials.yml",
    "credentials.db",
    "*_credentials",
    "*secret*.json",
    "*secret*.yaml",
    "*secret*.yml",
    "*secret*.toml",
    "*secret*.ini",
    "*secret*.txt",
    "*password*.json",
    "*password*.yaml",
    "*password*.yml",
    "*password*.txt",
    "connections.json",
    "connections.yaml",
    "connections.yml",
    "connections.csv",
    "variables.json",
    "variables.yaml",
    "variables.yml",
    "pgpass*",
    "htpasswd",
    "my.cnf",
    "kubeconfig.*",
    "airflow.db*",
    "webserver_config.py",
)
#: Names of files and folders that are no part of the code, beside all hidden ones.
_NOT_CODE = ("__pycache__", "*.pyc", "*.pyo")

_KEY_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----((?:(?!-----).)*)-----END \1-----", re.DOTALL
)
_KEY_TEXT = re.compile(rb"[A-Za-z0-9+/=]{32}")


def is_secret(name: str) -> bool:
    """Tell whether a file is left out because its name says that it holds a secret."""
    return _matches(name.lower(), SECRET_NAMES)


def is_no_code(name: str) -> bool:
    """Tell whether a file or folder is left out because it is hidden, or made by Python."""
    return name.startswith(".") or _matches(name, _NOT_CODE)


def holds_private_key(content: bytes) -> bool:
    """Tell whether a file holds a private key as text; code that only names the marks of one does not."""
    return b"PRIVATE KEY" in content and any(
        _KEY_TEXT.search(found[2]) for found in _KEY_BLOCK.finditer(content)
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
