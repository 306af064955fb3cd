"""A connection that says every field: its extras typed, as texts and as a URI."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

#: Every field with a value of its type.
TYPED: dict[str, Any] = {
    "project": "demo-project",
    "location": "europe-west4",
    "pipeline_root": "gs://bucket/root",
    "workload_account": "w@demo-project.iam.gserviceaccount.com",
    "key_path": "/keys/key.json",
    "keyfile_dict": {"type": "service_account"},
    "credential_config_file": "/keys/config.json",
    "key_secret_name": "secret-name",
    "key_secret_project_id": "secret-project",
    "impersonation_chain": ["a@p.iam.gserviceaccount.com", "b@p.iam.gserviceaccount.com"],
    "quota_project_id": "quota-project",
    "scope": "https://www.googleapis.com/auth/cloud-platform",
    "idp_issuer_url": "https://idp.example/token",
    # What looks like a number stays a text, though a URI's reader makes a number of it.
    "client_id": "1234567890",
    "client_secret": "client-secret-text",
    "idp_extra_params": '{"audience": "x"}',
    "is_anonymous": True,
    "num_retries": 3,
    "network": "projects/123/global/networks/vpc",
    "reserved_ip_ranges": ["a", "b"],
    "psc_network_attachment": "attachment",
    "encryption_spec_key_name": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k",
    "persistent_resource_id": "pool",
    "labels": {"team": "ml"},
    "failure_policy": "fast",
    "image": "image:1",
    "custom_job": {"machine_type": "n1-standard-8", "env": {"A": "1"}},
    "api_endpoint": "http://127.0.0.1:1",
    "storage_endpoint": "http://127.0.0.1:2",
    "console_endpoint": "http://127.0.0.1:3",
}


def as_text(value: Any) -> str:
    """Return a value as a form or a URI has it."""
    return value if isinstance(value, str) else json.dumps(value)


def uri(conn_type: str = "vertex-ai") -> str:
    """Return the connection as a URI, in which every value is a text."""
    query = "&".join(f"{name}={quote(as_text(value), safe='')}" for name, value in TYPED.items())
    return f"{conn_type}://?{query}"
