"""Errors of the service in plain words: the texts of public records in, what helps out."""

from __future__ import annotations

import pytest

from airflow_vertex_provider.explanations import explain

ACCOUNT = "123-compute@developer.gserviceaccount.com"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            (
                "Failed to create pipeline job. Error: Permission 'aiplatform.metadataStores.get' denied on "
                "resource '//aiplatform.googleapis.com/projects/p/locations/l/metadataStores/default' "
                "(or it may not exist).."
            ),
            ["aiplatform.metadataStores.get", "me@p.iam", "--role=roles/aiplatform.user", "binding 7 "],
        ),
        (
            (
                f"Failed to create pipeline job. Error: Service account `{ACCOUNT}` does not have "
                '[storage.objects.get, storage.objects.create] IAM permission(s) to the bucket "b-1". Please '
                "either copy the files to the Google Cloud Storage bucket owned by your project, or grant"
            ),
            [ACCOUNT, "gs://b-1", "roles/storage.objectUser"],
        ),
        (
            (
                "400 You do not have permission to act as service_account: x@p.iam.gserviceaccount.com. "
                "(or it may not exist)."
            ),
            ["add-iam-policy-binding x@p.iam.gserviceaccount.com ", "roles/iam.serviceAccountUser"],
        ),
        (
            (
                "com.google.cloud.ai.platform.common.errors.AiPlatformException: code=RESOURCE_EXHAUSTED, "
                "message=The following quota metrics exceed quota limits: "
                "aiplatform.googleapis.com/custom_model_training_cpus, cause=null; Failed to handle"
            ),
            ["quota of aiplatform.googleapis.com/custom_model_training_cpus is used up"],
        ),
        ("Resources are insufficient in region: us-central1. Please try a different region", ["us-central1"]),
        ("Replicas low on memory: workerpool0", ["ran out of memory"]),
    ],
)
def test_known_errors(text: str, parts: list[str]) -> None:
    found = explain(text, project="7", account="me@p.iam.gserviceaccount.com")
    assert [part for part in parts if part not in found] == []


@pytest.mark.parametrize("text", ["", "KeyError: 'no'", "The DAG failed because some tasks failed."])
def test_nothing_is_made_up(text: str) -> None:
    assert explain(text) == ""
