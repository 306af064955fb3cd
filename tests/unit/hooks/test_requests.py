"""A job's own request, read back: what can be asked for again, and nothing that the service adds."""

from __future__ import annotations

import pytest

from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.unit.emulated import LOCATION, request


def test_everything_that_was_asked_for_comes_back(hook: VertexPipelineHook) -> None:
    asked = {
        **request(1, custom_job=True),
        "labels": {"team": "a"},
        "service_account": "runner@acme.iam.gserviceaccount.com",
        "network": "projects/123456789012/global/networks/net",
        "reserved_ip_ranges": ["range"],
        "encryption_spec": {"kms_key_name": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"},
    }
    asked["runtime_config"]["failure_policy"] = "PIPELINE_FAILURE_POLICY_FAIL_FAST"
    asked["runtime_config"]["parameter_values"]["give"] = "2"
    name, _ = hook.create_job(location=LOCATION, job_id="asked", job=asked)
    found = hook.read_request(name)
    assert found == asked
    again, created = hook.create_job(location=LOCATION, job_id="again", job=found)
    assert created
    assert hook.read_request(again) == found


def test_a_job_that_is_not_there(hook: VertexPipelineHook) -> None:
    with pytest.raises(VertexApiError, match="Could not read pipeline job"):
        hook.read_request(f"projects/demo-project/locations/{LOCATION}/pipelineJobs/none")
