"""The fields of a connection: one table, and the form that Airflow's UI draws from it.

Airflow reads this while it reads its configuration, so nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "vertex_ai"
CONNECTION_NAME = "Google Vertex AI Pipelines"
#: Google's own type; its connections serve as well.
GOOGLE_TYPE = "google_cloud_platform"

#: Kind of a field to the JSON types that the form has for it. A dict may be its JSON text, and a list a text
#: with commas, since a URI has nothing else. Both types together make Airflow's form show a plain text that
#: is read as JSON as soon as it is complete; its editor for objects puts what one types in order in the
#: middle of a word, and its text field shows a dict from the command line as ``[object Object]``.
_JSON_TYPES = {
    "text": ("string",),
    "number": ("integer",),
    "flag": ("boolean",),
    "list": ("string", "array"),
    "dict": ("string", "object"),
}


@dataclass(frozen=True)
class Field:
    """One extra of a connection.

    :param label: what stands beside it in the form.
    :param description: what stands below it in the form and in docs/connection.md.
    :param kind: ``text``, ``number``, ``flag``, ``list`` of texts or ``dict``.
    :param section: part of the form.
    :param secret: whether its value is kept out of forms, messages and logs.
    :param choices: all values that it may have, or none for any.
    """

    label: str
    description: str
    kind: str = "text"
    section: str = "Jobs and tasks"
    secret: bool = False
    choices: tuple[str, ...] = ()


def _google(label: str, description: str, kind: str = "text", *, secret: bool = False) -> Field:
    return Field(label, description, kind, "Project and identity", secret=secret)


def _endpoint(label: str, description: str) -> Field:
    return Field(label, description, section="Endpoints")


#: In the order of the form.
FIELDS: Mapping[str, Field] = {
    "project": _google("Project ID", "Project of the pipeline jobs; the credentials' own if empty."),
    "location": Field("Location", "Region of the jobs of groups that name none, such as europe-west4."),
    "pipeline_root": Field(
        "Pipeline root", "gs://bucket/path for what tasks write, of groups that name none."
    ),
    "workload_account": Field(
        "Workload service account",
        "Account that the jobs run as, such as ml@acme.iam.gserviceaccount.com. Whoever submits them must be "
        "allowed to act as it.",
    ),
    "key_path": _google("Keyfile path", "Key file of a service account, on the machines where Airflow runs."),
    "keyfile_dict": _google("Keyfile JSON", "The content of such a key file.", secret=True),
    "credential_config_file": _google(
        "Credential configuration file",
        "File (or its content) of workload identity federation, which needs no key.",
    ),
    "key_secret_name": _google(
        "Keyfile secret name", "Secret in Google's Secret Manager that holds a key file."
    ),
    "key_secret_project_id": _google("Keyfile secret project ID", "Project of that secret."),
    "impersonation_chain": _google(
        "Impersonation chain",
        "Account to act as, or several with commas, each allowed to impersonate the next; the last acts.",
    ),
    "quota_project_id": _google("Quota project ID", "Project that API calls are counted for."),
    "scope": _google("Scopes", "OAuth scopes with commas; cloud-platform if empty."),
    "idp_issuer_url": _google("IdP token issuer URL", "For the client credentials grant flow."),
    "client_id": _google("Client ID", "For the client credentials grant flow."),
    "client_secret": _google("Client secret", "For the client credentials grant flow.", secret=True),
    "idp_extra_params": _google(
        "IdP extra request parameters", "JSON, for the client credentials grant flow.", secret=True
    ),
    "is_anonymous": _google("Anonymous", "Send no credentials at all: for the emulator.", "flag"),
    "num_retries": _google(
        "Number of retries",
        "Of Google's own operators that use this connection; this package has its own.",
        "number",
    ),
    "network": Field("Network", "VPC network: projects/<NUMBER>/global/networks/<name>."),
    "reserved_ip_ranges": Field(
        "Reserved IP ranges", "Names of ranges reserved in that network, with commas or one a line.", "list"
    ),
    "psc_network_attachment": Field(
        "PSC network attachment", "Attachment for Private Service Connect, instead of a network."
    ),
    "encryption_spec_key_name": Field(
        "CMEK key", "projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>."
    ),
    "persistent_resource_id": Field(
        "Persistent resource", "Id of the persistent resource that custom jobs run on."
    ),
    "labels": Field("Labels", "Labels of the jobs, as a JSON object.", "dict"),
    "failure_policy": Field(
        "Failure policy",
        "slow: after a failure what can still run does; fast: nothing more is started.",
        choices=("slow", "fast"),
    ),
    "image": Field("Default image", "Container image of tasks that name none, themselves or by their group."),
    "custom_job": Field(
        "Default custom job",
        'Machine of tasks that name none, as a JSON object: {"machine_type": "n1-standard-8"}.',
        "dict",
    ),
    "api_endpoint": _endpoint(
        "API endpoint", "Host or URL of the Vertex AI API: a private endpoint, or the emulator."
    ),
    "storage_endpoint": _endpoint("Storage endpoint", "URL of the Cloud Storage API, if not Google's."),
    "console_endpoint": _endpoint(
        "Console endpoint", "URL of the console that links lead to, if not Google's."
    ),
}

#: Standard fields of a connection that mean nothing to Google.
HIDDEN_FIELDS = ("host", "schema", "login", "password", "port", "extra")


def form_fields() -> dict[str, Any]:
    """Return the fields as a provider's metadata have them (``conn-fields``)."""
    return {name: _form_field(field) for name, field in FIELDS.items()}


def connection_type() -> dict[str, Any]:
    """Return the connection type as a provider's metadata have it."""
    return {
        "connection-type": CONNECTION_TYPE,
        "hook-class-name": "airflow_vertex_provider.hooks.pipeline.VertexPipelineHook",
        "hook-name": CONNECTION_NAME,
        "ui-field-behaviour": {
            "hidden-fields": list(HIDDEN_FIELDS),
            "relabeling": {},
            "placeholders": {},
        },
        "conn-fields": form_fields(),
    }


def _form_field(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [*_JSON_TYPES[field.kind], "null"]}
    # Airflow's form has a part for each.
    schema["section"] = field.section
    if field.secret:
        schema["format"] = "password"
    if field.kind in ("dict", "list"):
        # For a form that looks at the first type alone.
        schema["format"] = "multiline"
    if field.kind == "list":
        schema["items"] = {"type": "string"}
    if field.kind == "flag":
        schema["default"] = False
    if field.choices:
        schema["enum"] = list(field.choices)
    return {"label": field.label, "description": field.description, "schema": schema}
