"""How conditions, loops and exit handlers end: cancel, FAIL_FAST, retries, cache; and artifacts within them.

Annotations are not postponed in this file: kfp reads them.
"""
# mypy: disable-error-code="untyped-decorator, no-untyped-def, type-arg, attr-defined"

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator import kfp_parts as parts
from tests.emulator.kfp_parts import dsl, spec, uncached
from tests.emulator.pipelines import ApiFailure, Client, Json, outputs, states, tasks, wait_for

pytestmark = pytest.mark.slow

Start = Callable[..., VertexEmulator]
FAST = "PIPELINE_FAILURE_POLICY_FAIL_FAST"


@pytest.fixture(scope="module")
def emulator() -> Iterator[VertexEmulator]:
    """One emulator for all of this file: none of it minds what else has run."""
    with VertexEmulator() as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: VertexEmulator) -> Client:
    return Client(emulator.endpoint)


def entries(job: Json, name: str) -> list[Json]:
    """Return all entries of a name, as they are listed."""
    return [task for task in job["jobDetail"]["taskDetails"] if task["taskName"] == name]


def errors(job: Json) -> dict[str, str]:
    return {name: task["error"]["message"] for name, task in tasks(job).items() if "error" in task}


# Cancel


def handled_loop(folder: str) -> None:
    report = parts.report(folder=folder)
    with dsl.ExitHandler(report, name="everything"):
        with dsl.ParallelFor(["a", "b", "c"], parallelism=2) as item:
            blocked = parts.block(text=item, folder=folder)
            parts.say(text=blocked.outputs["o"])


def _began(folder: Path, count: int) -> None:
    file = folder / "began"
    wait_for(lambda: file.exists() and len(file.read_text().split()) == count, f"{count} tasks to begin")


@pytest.mark.parametrize("entries_come", ["at_start", "when_ready"])
def test_a_cancel_ends_a_loop_and_the_exit_task_runs(
    start_emulator: Start, tmp_path: Path, entries_come: str
) -> None:
    client = Client(start_emulator(task_entries=entries_come).endpoint)
    name = client.create(uncached(spec(handled_loop)), parameters={"folder": str(tmp_path)})["name"]
    _began(tmp_path, 2)
    client.call("POST", f"/v1/{name}:cancel", {})
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["code"], status["task"]) == ("CANCELLED", 1, "everything")
    found = states(job)
    assert found.pop("report") == "SUCCEEDED"
    assert set(found.values()) == {"CANCELLED"}
    assert [entry["state"] for entry in entries(job, "block")] == ["CANCELLED"] * (
        3 if entries_come == "at_start" else 2
    )
    assert len((tmp_path / "began").read_text().split()) == 2


def slow_exit(folder: str) -> None:
    with dsl.ExitHandler(parts.block(text="exit", folder=folder), name="everything"):
        parts.say(text="x")


def test_a_cancel_lets_a_running_exit_task_end(client: Client, tmp_path: Path) -> None:
    name = client.create(uncached(spec(slow_exit)), parameters={"folder": str(tmp_path)})["name"]
    _began(tmp_path, 1)
    client.call("POST", f"/v1/{name}:cancel", {})
    assert states(client.get(name)) == {"block": "RUNNING", "everything": "SUCCEEDED", "say": "SUCCEEDED"}
    assert client.get(name)["state"] == "PIPELINE_STATE_CANCELLING"
    (tmp_path / "go").touch()
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job)["block"] == "SUCCEEDED"


def test_a_delete_waits_for_no_exit_task(start_emulator: Start, tmp_path: Path) -> None:
    client = Client(start_emulator(delete_running="accept").endpoint)
    name = client.create(uncached(spec(slow_exit)), parameters={"folder": str(tmp_path)})["name"]
    _began(tmp_path, 1)
    client.call("POST", f"/v1/{name}:cancel", {})
    client.call("DELETE", f"/v1/{name}")
    with pytest.raises(ApiFailure, match="NOT_FOUND"):
        client.get(name)


# FAIL_FAST


def fast(folder: str) -> None:
    with dsl.ExitHandler(parts.touch(folder=folder), name="everything"):
        with dsl.ParallelFor(["a", "fail", "b", "c"], parallelism=1) as item:
            parts.say(text=item)
        bad = parts.fail()
        parts.touch(folder=folder, text="no").after(bad).ignore_upstream_failure().set_display_name("ignores")


def test_fail_fast_starts_no_more_iterations_but_the_exit_task(client: Client, tmp_path: Path) -> None:
    compiled = uncached(spec(fast))
    inner = compiled["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    loop = next(key for key in inner if key.startswith("for-loop"))
    inner["fail"]["dependentTasks"] = [loop]
    inner["touch-2"]["dependentTasks"] = [loop]
    job = client.run(compiled, parameters={"folder": str(tmp_path)}, failure_policy=FAST)
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert [entry["state"] for entry in entries(job, "say")] == [
        "SUCCEEDED", "FAILED", "NOT_TRIGGERED", "NOT_TRIGGERED",
    ]  # fmt: skip
    assert states(job)[f"{loop}-3"] == "NOT_TRIGGERED"
    assert states(job)["fail"] == states(job)["ignores"] == "NOT_TRIGGERED"
    assert states(job)["touch"] == "SUCCEEDED"
    assert {path.name for path in tmp_path.iterdir()} == {"exit"}


# Retries, cache, parallelism


def retried(folder: str, word: str) -> None:
    with dsl.If(word == "go"), dsl.ParallelFor(["a", "b"]) as item:
        parts.flaky(text=item, folder=folder).set_retry(
            2, backoff_duration="5s", backoff_factor=2.0, backoff_max_duration="60s"
        )


def test_retries_in_a_loop_in_a_condition(client: Client, tmp_path: Path) -> None:
    job = client.run(uncached(spec(retried)), parameters={"folder": str(tmp_path), "word": "go"})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    found = entries(job, "flaky")
    details = [entry["executorDetail"]["containerDetail"] for entry in found]
    assert len(found) == 2
    assert [len(detail["failedMainJobs"]) for detail in details] == [2, 2]
    names = {name for detail in details for name in [detail["mainJob"], *detail["failedMainJobs"]]}
    assert len(names) == 6


def test_back_off_grows_from_attempt_to_attempt(start_emulator: Start, tmp_path: Path) -> None:
    none = {"pending_seconds": 0, "container_start_min_seconds": 0, "container_start_max_seconds": 0}
    emulator = start_emulator(time_scale=1.0, **none)
    client = Client(emulator.endpoint)
    compiled = uncached(spec(retried))
    policy = next(
        task["retryPolicy"]
        for component in compiled["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "retryPolicy" in task
    )
    policy |= {"backoffDuration": "1000s", "backoffFactor": 3.0, "backoffMaxDuration": "3600s"}
    name = client.create(compiled, parameters={"folder": str(tmp_path), "word": "go"})["name"]

    def attempts() -> int:
        return sum(
            len(entry.get("executorDetail", {}).get("containerDetail", {}).get("failedMainJobs", []))
            for entry in entries(client.get(name), "flaky")
        )

    for failures, seconds in ((2, 1000), (4, 3000)):
        wait_for(lambda failures=failures: attempts() == failures, f"{failures} failures")  # type: ignore[misc]
        waiting = entries(client.get(name), "flaky")[0]
        assert (waiting["state"], "error" in waiting["pipelineTaskStatus"][-1]) == ("PENDING", True)
        emulator.clock.advance(seconds - 100)
        assert attempts() == failures
        emulator.clock.advance(100)
    assert client.wait(name)["state"] == "PIPELINE_STATE_SUCCEEDED"


def cached(word: str) -> None:
    with dsl.If(word == "go"), dsl.ParallelFor(["a", "b"]) as item:
        parts.say(text=item)
    with dsl.ParallelFor(["c"]) as item:
        again = parts.say(text=item)
    parts.gather(values=dsl.Collected(again.outputs["o"]))


def test_results_from_the_cache_in_a_loop_in_a_condition(client: Client) -> None:
    compiled = spec(cached, "cached")
    first = client.run(compiled, parameters={"word": "go"})
    assert first["state"] == "PIPELINE_STATE_SUCCEEDED", errors(first)
    again = client.run(compiled, parameters={"word": "go"})
    for name in ("say", "say-2", "gather"):
        for entry in entries(again, name):
            assert (entry["state"], entry["execution"]["state"]) == ("SKIPPED", "CACHED")
            assert "executorDetail" not in entry
    assert {states(again)[name] for name in states(again) if "loop" in name or "condition" in name} == {
        "SUCCEEDED"
    }
    assert outputs(again, "gather") == outputs(first, "gather") == {"o": '["c"]'}


def locked(folder: str, items: list) -> None:
    with dsl.ParallelFor(items, parallelism=1) as item:
        first = parts.touch(folder=folder, text=item)
        parts.touch(folder=folder, text=item).after(first)


def test_parallelism_is_kept(client: Client, tmp_path: Path) -> None:
    compiled = uncached(spec(locked))
    alone = ["sh", "-c", 'mkdir "$0/$1" "$0/lock" || exit 7; sleep 0.02; rmdir "$0/lock" "$0/$1"', "$folder"]
    for executor in compiled["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = alone[:3]
        executor["container"]["args"] = [
            "{{$.inputs.parameters['folder']}}",
            "{{$.inputs.parameters['text']}}",
        ]
    job = client.run(compiled, parameters={"folder": str(tmp_path), "items": list("abcd")})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    assert list(tmp_path.iterdir()) == []


def lists_in_items(items: list) -> None:
    with dsl.ParallelFor(items) as item, dsl.ParallelFor(item.parts) as part:
        parts.either(a=item.key, b=part)


def test_a_loop_over_a_list_in_an_item(client: Client) -> None:
    items = [{"key": "x", "parts": ["1", "2"]}, {"key": "y", "parts": []}]
    job = client.run(uncached(spec(lists_in_items)), parameters={"items": items})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    found = [entry["execution"]["metadata"]["output:o"] for entry in entries(job, "either")]
    assert found == ["x/1", "x/2"]


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([{"key": "x", "parts": "no list"}], "are no JSON list: 'no list'"),
        ([{"key": "x", "parts": {}}], "are no list; found {}"),
        ([{"key": "x"}], "there is no 'parts' in"),
        (["x"], "the value is not JSON"),
    ],
)
def test_items_that_cannot_be_looped_over_fail_the_loop(client: Client, items: list, found: str) -> None:
    job = client.run(uncached(spec(lists_in_items)), parameters={"items": items})
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert any(found in text for text in errors(job).values()), errors(job)


# Artifacts


def imported(uri: str) -> None:
    known = dsl.importer(
        artifact_uri=uri, artifact_class=dsl.Dataset, reimport=False, metadata={"from": uri, "n": 1}
    )
    parts.read_data(data=known.output)
    dsl.importer(artifact_uri="gs://other/thing", artifact_class=dsl.Model, reimport=True)


def test_importers(client: Client, emulator: VertexEmulator) -> None:
    source = emulator.state_dir / "gcs" / "elsewhere" / "rows"
    source.parent.mkdir(parents=True)
    source.write_text("rows")
    compiled = uncached(spec(imported))
    jobs = [client.run(compiled, parameters={"uri": "gs://elsewhere/rows"}) for _ in range(2)]
    artifacts = []
    for job in jobs:
        assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
        assert outputs(job, "read-data") == {"o": "rows"}
        importer = tasks(job)["importer"]
        assert "executorDetail" not in importer
        assert importer["execution"]["metadata"]["input:uri"] == "gs://elsewhere/rows"
        artifacts.append(
            [tasks(job)[name]["outputs"]["artifact"]["artifacts"][0] for name in ("importer", "importer-2")]
        )
    known, model = artifacts[0]
    assert (known["uri"], known["schemaTitle"]) == ("gs://elsewhere/rows", "system.Dataset")
    assert known["metadata"] == {"from": "gs://elsewhere/rows", "n": 1}
    assert (model["uri"], model["schemaTitle"]) == ("gs://other/thing", "system.Model")
    assert artifacts[1][0]["name"] == known["name"]
    assert artifacts[1][1]["name"] != model["name"]
    assert len(emulator.jobs()) >= 2


@dsl.pipeline
def each_of(data: dsl.Input[list[dsl.Dataset]]):
    with dsl.ParallelFor(data) as one:
        parts.read_data(data=one)


@dsl.pipeline
def make_each(words: list) -> list[dsl.Dataset]:
    with dsl.ParallelFor(words) as word:
        made = parts.write_data(text=word)
    return dsl.Collected(made.outputs["data"])  # type: ignore[no-any-return]


def artifact_lists(words: list) -> None:
    made = make_each(words=words)
    each_of(data=made.output)
    parts.read_list(items=made.output)


@pytest.mark.parametrize("words", [["a", "b", "c"], []])
def test_lists_of_artifacts(client: Client, words: list) -> None:
    job = client.run(uncached(spec(artifact_lists)), parameters={"words": words})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    assert outputs(job, "read-list") == {"Output": ",".join(words)}
    assert [entry["execution"]["metadata"]["output:o"] for entry in entries(job, "read-data")] == words
    given = tasks(job)["each-of"].get("inputs", {}).get("data", {}).get("artifacts", [])
    assert len(given) == len(words)
