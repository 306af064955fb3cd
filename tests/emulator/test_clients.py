"""Google's own clients, unmodified, against the emulator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials as _AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform_v1 import JobServiceClient, PipelineServiceClient
from google.cloud.aiplatform_v1.types import JobState, PipelineJob, PipelineState, PipelineTaskDetail

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator import kfp_parts
from tests.emulator.pipelines import LOCATION, PARENT, PROJECT, ROOT, Pipeline, parameter, say, wait_for

#: The class has no annotations.
AnonymousCredentials: Any = _AnonymousCredentials


@pytest.fixture
def service(emulator: VertexEmulator) -> Any:
    return PipelineServiceClient(
        transport="rest",
        client_options={"api_endpoint": emulator.endpoint},
        credentials=AnonymousCredentials(),
    )


@pytest.fixture
def job_service(emulator: VertexEmulator) -> Any:
    return JobServiceClient(
        transport="rest",
        client_options={"api_endpoint": emulator.endpoint},
        credentials=AnonymousCredentials(),
    )


def _job(pipe: Pipeline, **fields: Any) -> Any:
    return PipelineJob(
        display_name="By Google's client",
        pipeline_spec=pipe.spec(),
        runtime_config={"gcs_output_directory": ROOT},
        **fields,
    )


def _ended(service: Any, name: str) -> Any:
    final = (
        PipelineState.PIPELINE_STATE_SUCCEEDED,
        PipelineState.PIPELINE_STATE_FAILED,
        PipelineState.PIPELINE_STATE_CANCELLED,
    )

    def look() -> Any:
        job = service.get_pipeline_job(name=name)
        return job if job.state in final else None

    return wait_for(look, f"{name} to end")


def test_generated_client_creates_gets_and_reads_states(service: Any, job_service: Any) -> None:
    pipe = Pipeline().task("hello", say("hi"), outputs={"Output": "STRING"})
    created = service.create_pipeline_job(parent=PARENT, pipeline_job=_job(pipe), pipeline_job_id="by-client")
    assert created.state == PipelineState.PIPELINE_STATE_PENDING
    assert created.name.endswith("/pipelineJobs/by-client")
    assert created.name.split("/")[1].isdigit()
    assert created.service_account == f"{created.name.split('/')[1]}-compute@developer.gserviceaccount.com"
    job = _ended(service, created.name)
    assert job.state == PipelineState.PIPELINE_STATE_SUCCEEDED
    hello = next(task for task in job.job_detail.task_details if task.task_name == "hello")
    assert hello.state == PipelineTaskDetail.State.SUCCEEDED
    assert hello.execution.metadata["output:Output"] == "hi"
    main = job_service.get_custom_job(name=hello.executor_detail.container_detail.main_job)
    assert main.state == JobState.JOB_STATE_SUCCEEDED
    assert main.job_spec.worker_pool_specs[0].machine_spec.machine_type == "e2-standard-4"
    billing = job.labels["vertex-ai-pipelines-run-billing-id"]
    listed = list(
        job_service.list_custom_jobs(
            request={
                "parent": PARENT,
                "filter": f'labels.vertex-ai-pipelines-run-billing-id="{billing}"',
            }
        )
    )
    assert [item.name for item in listed] == [main.name]
    # The project's id and its number lead to the same job.
    by_id = service.get_pipeline_job(name=f"{PARENT}/pipelineJobs/by-client")
    assert by_id == service.get_pipeline_job(name=created.name)


def test_generated_client_lists_pages_with_filter_order_and_mask(service: Any) -> None:
    for number in range(5):
        service.create_pipeline_job(
            parent=PARENT,
            pipeline_job=_job(Pipeline().task("t"), labels={"half": str(number % 2)}),
            pipeline_job_id=f"job-{number}",
        )
    found = list(service.list_pipeline_jobs(request={"parent": PARENT, "page_size": 2}))
    assert [job.name.rpartition("/")[2] for job in found] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert not any(job.job_detail for job in found)
    found = list(
        service.list_pipeline_jobs(
            request={"parent": PARENT, "filter": 'labels.half="1"', "order_by": "create_time"}
        )
    )
    assert [job.name.rpartition("/")[2] for job in found] == ["job-1", "job-3"]
    masked = next(
        iter(
            service.list_pipeline_jobs(
                request={
                    "parent": PARENT,
                    "read_mask": {"paths": ["name", "state", "pipeline_spec.pipeline_info"]},
                }
            )
        )
    )
    assert dict(masked.pipeline_spec) == {"pipelineInfo": {"name": "pipe"}}
    assert masked.name
    assert not masked.display_name


def test_generated_client_sees_errors_as_googles_exceptions(service: Any) -> None:
    pipe = Pipeline().task("t")
    service.create_pipeline_job(parent=PARENT, pipeline_job=_job(pipe), pipeline_job_id="twice")
    with pytest.raises(exceptions.Conflict, match="Pipeline job with the specified ID already exists"):
        service.create_pipeline_job(parent=PARENT, pipeline_job=_job(pipe), pipeline_job_id="twice")
    with pytest.raises(exceptions.NotFound):
        service.get_pipeline_job(name=f"{PARENT}/pipelineJobs/nowhere")
    bad = _job(pipe)
    bad.runtime_config.gcs_output_directory = ""
    with pytest.raises(exceptions.BadRequest, match="gcs_output_directory is empty"):
        service.create_pipeline_job(parent=PARENT, pipeline_job=bad, pipeline_job_id="bad")


def test_generated_client_cancels_and_deletes(service: Any) -> None:
    pipe = Pipeline().task("long", ["sleep", "300"])
    name = service.create_pipeline_job(parent=PARENT, pipeline_job=_job(pipe), pipeline_job_id="long").name
    wait_for(lambda: service.get_pipeline_job(name=name).state == 3, "the job to run")
    with pytest.raises(exceptions.BadRequest):
        service.delete_pipeline_job(name=name)
    service.cancel_pipeline_job(name=name)
    assert _ended(service, name).state == PipelineState.PIPELINE_STATE_CANCELLED
    with pytest.raises(exceptions.BadRequest):
        service.cancel_pipeline_job(name=name)
    operation = service.delete_pipeline_job(name=name)
    assert operation.done()
    operation.result()
    with pytest.raises(exceptions.NotFound):
        service.get_pipeline_job(name=name)


def test_generated_client_cancels_and_deletes_in_batches(service: Any) -> None:
    names = []
    for number, command in enumerate((["true"], ["sleep", "300"])):
        job = _job(Pipeline().task("t", command))
        names.append(
            service.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=f"b-{number}").name
        )
    _ended(service, names[0])
    wait_for(lambda: service.get_pipeline_job(name=names[1]).state == 3, "the job to run")
    answer = service.batch_cancel_pipeline_jobs(parent=PARENT, names=names).result(timeout=30)
    assert [job.name for job in answer.pipeline_jobs] == [names[1]]
    assert service.get_pipeline_job(name=names[1]).state == PipelineState.PIPELINE_STATE_CANCELLED
    with pytest.raises(exceptions.NotFound):
        service.batch_delete_pipeline_jobs(parent=PARENT, names=[*names, f"{PARENT}/pipelineJobs/none"])
    assert len(list(service.list_pipeline_jobs(parent=PARENT))) == 2
    answer = service.batch_delete_pipeline_jobs(parent=PARENT, names=names).result(timeout=30)
    assert [job.name for job in answer.pipeline_jobs] == names
    assert not list(service.list_pipeline_jobs(parent=PARENT))
    with pytest.raises(exceptions.BadRequest):
        service.batch_cancel_pipeline_jobs(parent=PARENT, names=[f"{PARENT}/pipelineJobs/x"] * 33)


def test_job_service_runs_and_cancels_a_custom_job(job_service: Any, emulator: VertexEmulator) -> None:
    def body(*command: str) -> Any:
        pool = {
            "machine_spec": {"machine_type": "n1-standard-4"},
            "replica_count": 1,
            "container_spec": {
                "image_uri": "alpine",
                "command": list(command),
                "env": [{"name": "A", "value": "b"}],
            },
        }
        return {"display_name": "mine", "job_spec": {"worker_pool_specs": [pool]}}

    done = job_service.create_custom_job(parent=PARENT, custom_job=body("sh", "-c", 'test "$A" = b'))
    wait_for(lambda: job_service.get_custom_job(name=done.name).state == 4, "success")
    bad = job_service.create_custom_job(parent=PARENT, custom_job=body("sh", "-c", "exit 5"))
    wait_for(lambda: job_service.get_custom_job(name=bad.name).state == 5, "failure")
    assert "status of 5" in job_service.get_custom_job(name=bad.name).error.message
    long = job_service.create_custom_job(parent=PARENT, custom_job=body("sleep", "300"))
    wait_for(lambda: job_service.get_custom_job(name=long.name).state == 3, "running")
    job_service.cancel_custom_job(name=long.name)
    wait_for(lambda: job_service.get_custom_job(name=long.name).state == 7, "cancelled")
    with pytest.raises(exceptions.BadRequest, match="worker_pool_specs is empty"):
        job_service.create_custom_job(parent=PARENT, custom_job={"display_name": "x", "job_spec": {}})


@pytest.fixture
def sdk(
    start_emulator: Callable[..., VertexEmulator], monkeypatch: pytest.MonkeyPatch
) -> Iterator[VertexEmulator]:
    # With a bucket that does not exist yet and an account of its own the SDK asks nobody but us; for an
    # existing bucket it would ask Google's Resource Manager who owns it.
    emulator = start_emulator(only_created_buckets=True)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.endpoint)
    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        api_endpoint=emulator.endpoint,
        api_transport="rest",
        credentials=AnonymousCredentials(),
        service_account="runner@my-proj.iam.gserviceaccount.com",
    )
    yield emulator
    aiplatform.init()


def test_high_level_sdk(sdk: VertexEmulator, tmp_path: Path) -> None:
    pipe = Pipeline("from-sdk", word="STRING").task(
        "hello",
        [
            "sh",
            "-c",
            'printf %s "$0" > "$1"',
            "{{$.inputs.parameters['x']}}",
            "{{$.outputs.parameters['Output'].output_file}}",
        ],
        inputs={"x": parameter("word")},
        outputs={"Output": "STRING"},
    )
    template = tmp_path / "pipeline.json"
    template.write_text(json.dumps(pipe.spec()))
    bucket = f"sdk-{uuid.uuid4().hex[:8]}"
    job = aiplatform.PipelineJob(
        display_name="sdk run",
        template_path=str(template),
        job_id="sdk-run",
        pipeline_root=f"gs://{bucket}/root",
        parameter_values={"word": "hi"},
        labels={"team": "a"},
    )
    job.submit()
    job.wait()  # type: ignore[no-untyped-call]
    assert job.state == PipelineState.PIPELINE_STATE_SUCCEEDED
    details = {task.task_name: task for task in job.task_details}
    assert details["hello"].execution.metadata["output:Output"] == "hi"
    assert (sdk.state_dir / "gcs" / bucket).is_dir()
    found = aiplatform.PipelineJob.get("sdk-run")
    assert found.resource_name == job.resource_name
    listed = aiplatform.PipelineJob.list(filter='display_name="sdk run"', enable_simple_view=True)
    assert [item.resource_name for item in listed] == [job.resource_name]
    found.delete()
    assert aiplatform.PipelineJob.list() == []


def test_high_level_sdk_cancels(sdk: VertexEmulator, tmp_path: Path) -> None:
    template = tmp_path / "pipeline.json"
    template.write_text(json.dumps(Pipeline("to-cancel").task("long", ["sleep", "300"]).spec()))
    job = aiplatform.PipelineJob(
        display_name="cancelled",
        template_path=str(template),
        job_id="to-cancel",
        pipeline_root=f"gs://sdk-{uuid.uuid4().hex[:8]}/root",
    )
    job.submit()
    job.cancel()
    wait_for(lambda: job.state == PipelineState.PIPELINE_STATE_CANCELLED, "the job to be cancelled")


def test_high_level_sdk_runs_conditions_loops_and_an_exit_handler(
    sdk: VertexEmulator, tmp_path: Path
) -> None:
    template = tmp_path / "pipeline.json"
    template.write_text(json.dumps(kfp_parts.spec(kfp_parts.everything)))
    (tmp_path / "go").touch()
    job = aiplatform.PipelineJob(
        display_name="structured",
        template_path=str(template),
        job_id="structured",
        pipeline_root=f"gs://sdk-{uuid.uuid4().hex[:8]}/root",
        parameter_values={"folder": str(tmp_path), "items": kfp_parts.ITEMS},
    )
    job.submit()
    job.wait()  # type: ignore[no-untyped-call]
    assert job.state == PipelineState.PIPELINE_STATE_SUCCEEDED
    details = {task.task_name: task for task in job.task_details}
    assert details["all"].execution.metadata["output:o"] == '["a","else","b","b","else"]'
    loop = details["for-loop-2"]
    iterations = [task for task in job.task_details if task.parent_task_id == loop.task_id]
    assert [task.execution.schema_title for task in iterations] == ["system.DagExecution"] * len(
        kfp_parts.ITEMS
    )
    items = [
        json.loads(task.execution.metadata["input:pipelinechannel--items-loop-item"]) for task in iterations
    ]
    assert items == kfp_parts.ITEMS
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["job"], status["task"]) == (job.resource_name, "handler")


def test_generated_client_reads_a_failed_loop(service: Any) -> None:
    body = Pipeline("body", item="STRING").task("t", ["false"])
    created = service.create_pipeline_job(
        parent=PARENT, pipeline_job=_job(Pipeline().nested("loop", body, items=["a"]))
    )
    job = _ended(service, created.name)
    assert job.state == PipelineState.PIPELINE_STATE_FAILED
    found = {task.task_name: task for task in job.job_detail.task_details}
    assert {name: task.state.name for name, task in found.items() if name in ("loop", "loop-0", "t")} == {
        "loop": "FAILED", "loop-0": "FAILED", "t": "FAILED",
    }  # fmt: skip
    assert found["loop"].error.message.endswith("The failed tasks are: [loop-0].")
