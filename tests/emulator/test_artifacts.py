# Calls that Airflow changes: what a task is given, and what it returns, is not what its function says.
# mypy: disable-error-code="empty-body, index, call-arg, arg-type, assignment, untyped-decorator"
"""Artifacts of functions, compiled and run: what is left, what takes it, and what the service records.

Annotations are not postponed in this file: kfp reads them.
"""

from typing import Any

from airflow.sdk import task, task_group
from kfp import dsl

from airflow_vertex_provider import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Joined,
    Markdown,
    Metrics,
    Model,
    Output,
    OutputFile,
    VertexComponentOperator,
    VertexContainerOperator,
)
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.runtime import protocol
from tests.emulator.pipelines import Client, outputs, states, tasks
from tests.support.groups import compiled

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}


@task.vertex
def make(rows: int, data: Output[Dataset], page: Output[HTML], text: Output[Markdown]) -> int:
    from pathlib import Path

    Path(data.path).write_text("x" * rows)
    Path(page.path).write_text("<b>page</b>")
    Path(text.path).write_text("*text*")
    data.metadata["rows"] = rows
    return rows


@task
def train(
    data: Input[Dataset],
    factor: float = 1.0,
    model: Output[Model] = None,
    metrics: Output[Metrics] = None,
    curve: Output[ClassificationMetrics] = None,
) -> dict[str, Any]:
    from pathlib import Path

    Path(model.path).mkdir()
    Path(model.path, "weights").write_text(Path(data.path).read_text().upper())
    model.framework = "none"
    metrics.log_metric("accuracy", 0.5 * factor)
    curve.log_roc_curve([0.0, 1.0], [0.0, 1.0], [0.9, 0.1])
    curve.log_confusion_matrix(["cat", "dog"], [[1, 2], [3, 4]])
    return {"of": data.metadata["rows"], "type": type(data).__name__, "uri": data.uri}


@task
def look(model: Any, again: Any = None) -> Any:
    from pathlib import Path

    return {
        "weights": Path(model.path, "weights").read_text(),
        "metadata": model.metadata,
        "type": model.schema_title,
        "uri": model.uri,
        "named": model.name.startswith("projects/"),
        "again": again and again.uri,
    }


def errors(job: dict[str, Any]) -> dict[str, str]:
    return {name: task["error"]["message"] for name, task in tasks(job).items() if "error" in task}


def artifact(emulator: VertexEmulator, job: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    """Return an output artifact as the service lists it."""
    (found,) = tasks(job)[name]["outputs"][key]["artifacts"]
    return dict(found)


def test_files_and_metrics(client: Client, emulator: VertexEmulator) -> None:
    def fill() -> None:
        made = make(3)
        trained = train(made["data"], factor=1.5)
        look(trained["model"], again=made["data"])
        look.override(task_id="machine", executor_config=MACHINE)(trained["model"])

    job = client.run(compiled(fill))
    assert errors(job) == {}, errors(job).values()
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    data, model = (artifact(emulator, job, *key) for key in (("make", "data"), ("train", "model")))
    assert data["metadata"] == {"rows": 3}
    assert model["schemaTitle"] == "system.Model"
    assert model["metadata"] == {"framework": "none"}
    assert artifact(emulator, job, "train", "metrics")["metadata"] == {"accuracy": 0.75}
    curve = artifact(emulator, job, "train", "curve")["metadata"]
    assert curve["confusionMatrix"]["rows"] == [{"row": [1, 2]}, {"row": [3, 4]}]
    assert len(curve["confidenceMetrics"]) == 2
    assert artifact(emulator, job, "make", "page")["schemaTitle"] == "system.HTML"
    assert protocol.decode(outputs(job, "train")["Output"]) == {
        "of": 3,
        "type": "Dataset",
        "uri": data["uri"],
    }
    assert protocol.decode(outputs(job, "train")["Artifact_model"]) == {
        "uri": model["uri"],
        "type": "system.Model",
        "metadata": {"framework": "none"},
    }
    seen = protocol.decode(outputs(job, "look")["Output"])
    assert seen == {
        "weights": "XXX",
        "metadata": {"framework": "none"},
        "type": "system.Model",
        "uri": model["uri"],
        "named": True,
        "again": data["uri"],
    }
    assert protocol.decode(outputs(job, "machine")["Output"]) == {**seen, "again": None}
    # The service knows who took what.
    taken = tasks(job)["look"]["inputs"]
    assert {item["artifacts"][0]["uri"] for item in taken.values()} == {data["uri"], model["uri"]}


@task
def same(value: int) -> int:
    return value


@task
def numbers() -> list[int]:
    return [1, 2]


@task
def weigh(models: Any) -> Any:
    return models and [
        None
        if model is None
        else [model.metadata, model.schema_title, model.uri.startswith("gs://bucket/root/")]
        for model in (models if isinstance(models, list) else [models])
    ]


@task.vertex
def fit(number: int, model: Output[Model]) -> None:
    from pathlib import Path

    Path(model.path).write_text(str(number))
    model.metadata["number"] = number


@task.branch
def choose(name: str) -> str:
    return f"g.{name}"


def test_loops_conditions_and_skips(client: Client) -> None:
    def fill() -> None:
        many = fit.override(task_id="many").expand(number=numbers())
        weigh.override(task_id="collected")(many["model"])
        chosen = choose("small")
        small, large = (
            fit.override(task_id=name, executor_config=MACHINE)(number)
            for name, number in (("small", 3), ("large", 4))
        )
        chosen >> [small, large]
        weigh.override(task_id="either", trigger_rule="none_failed_min_one_success")(
            [small["model"], large["model"]]
        )
        skipped = fit.override(task_id="skipped", trigger_rule="none_skipped")(5)
        large >> skipped
        weigh.override(task_id="of_skipped", trigger_rule="none_failed")(skipped["model"])

    job = client.run(compiled(fill))
    assert errors(job) == {}, errors(job).values()
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    found = {
        name: protocol.decode(outputs(job, name)["Output"]) for name in ("collected", "either", "of-skipped")
    }
    assert found == {
        "collected": [[{"number": 1}, "system.Model", True], [{"number": 2}, "system.Model", True]],
        "either": [[{"number": 3}, "system.Model", True], None],
        "of-skipped": None,
    }
    assert states(job)["large"] == "NOT_TRIGGERED"


@dsl.container_component
def upper(data: dsl.Input[dsl.Dataset], result: dsl.Output[dsl.Dataset]):  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")"; tr a-z A-Z < "$0" > "$1"'],
        args=[data.path, result.path],
    )


@task
def read(data: Input[Artifact]) -> Any:
    from pathlib import Path

    return [Path(data.path).read_text(), data.schema_title, data.name.startswith("projects/")]


def test_components_and_functions_take_each_others_artifacts(client: Client) -> None:
    def fill() -> None:
        made = make(2)
        changed = VertexComponentOperator(task_id="upper", component=upper, arguments={"data": made["data"]})
        read(changed.output["result"])

        @task_group
        def inside(number: int) -> None:
            read.override(task_id="in_loop")(changed.output["result"]) >> same(number)

        inside.expand(number=numbers())

    job = client.run(compiled(fill))
    assert errors(job) == {}, errors(job).values()
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    wanted = ["XX", "system.Dataset", True]
    assert protocol.decode(outputs(job, "read")["Output"]) == wanted
    assert protocol.decode(outputs(job, "inside-in-loop")["Output"]) == wanted


@dsl.container_component
def say(text: str, said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")"; printf %s "$0" > "$1"'],
        args=[text, said],
    )


def echo(task_id: str, given: Any, **options: Any) -> Any:
    """Return a container whose value is one of its arguments, and a variable."""
    script = 'mkdir -p "$(dirname "$0")"; printf "%s %s" "$1" "$AT" > "$0"'
    return VertexContainerOperator(
        task_id=task_id,
        image="alpine",
        command=["sh", "-c", script, OutputFile("Output")],
        arguments=[Joined("--at=", given)],
        env={"AT": given},
        outputs={"Output": str},
        **options,
    )


def test_containers_and_text_inputs_get_an_artifacts_address(
    client: Client, emulator: VertexEmulator
) -> None:
    def fill() -> None:
        made = make(2)
        changed = VertexComponentOperator(task_id="upper", component=upper, arguments={"data": made["data"]})
        for name, config in (("plain", {}), ("machine", MACHINE)):
            echo(name, made["data"], executor_config=config)
            echo(f"{name}-component", changed.output["result"], executor_config=config)
        VertexComponentOperator(task_id="say", component=say, arguments={"text": made["data"]})

        @task_group
        def inside(number: int) -> None:
            fitted = fit(number)
            echo("in_loop", fitted["model"])
            fitted >> echo("from_outside", made["data"])
            fitted >> echo("component_from_outside", changed.output["result"])

        [made, changed] >> inside.expand(number=numbers())
        chosen = choose("small")
        small, large = (fit.override(task_id=name)(number) for name, number in (("small", 3), ("large", 4)))
        chosen >> [small, large]
        for name, fitted in (("small", small), ("large", large)):
            echo(f"after_{name}", fitted["model"], trigger_rule="all_done")

    job = client.run(compiled(fill))
    assert errors(job) == {}, errors(job).values()
    data, result, small = (
        artifact(emulator, job, *key)["uri"]
        for key in (("make", "data"), ("upper", "result"), ("small", "model"))
    )
    assert outputs(job, "say")["said"] == data
    said = {
        name: outputs(job, name)["Output"]
        for name in tasks(job)
        if name.startswith(("plain", "machine", "after")) or name.endswith("from-outside")
    }
    expected = {name: f"--at={result if 'component' in name else data} " for name in said}
    expected |= {"after-small": f"--at={small} ", "after-large": "--at=null "}
    assert said == {name: text + text[5:].strip() for name, text in expected.items()}
    assert outputs(job, "inside-in-loop")["Output"].startswith("--at=gs://bucket/root/")


def test_outer_values_and_failures(client: Client) -> None:
    def fill() -> None:
        given = [{"uri": "gs://bucket/a/b", "type": "system.Model", "metadata": {"x": 1}}, "gs://bucket/c"]
        for number, value in enumerate(given):
            name_of.override(task_id=f"given_{number}")(value)
        lost = broken()["metrics"]
        weigh.override(task_id="late", trigger_rule="all_done")(lost)
        echo("late_container", lost, trigger_rule="all_done")

    job = client.run(compiled(fill))
    assert protocol.decode(outputs(job, "late")["Output"]) is None
    assert outputs(job, "late-container")["Output"] == "--at=null null"
    assert protocol.decode(outputs(job, "given-0")["Output"]) == ["gs://bucket/a/b", "system.Model", {"x": 1}]
    assert protocol.decode(outputs(job, "given-1")["Output"]) == ["gs://bucket/c", "system.Model", {}]
    assert "metrics.metadata.loss: found nan" in tasks(job)["broken"]["error"]["message"]


@task
def name_of(model: Input[Model]) -> Any:
    return [model.uri, model.schema_title, model.metadata]


@task.vertex
def broken(metrics: Output[Metrics]) -> None:
    metrics.log_metric("loss", float("nan"))


@task.vertex
def second_time_lucky(model: Output[Model]) -> Any:
    import os
    from pathlib import Path

    import pandas

    frame = pandas.DataFrame({"a": [1, 2]})
    mark = Path(os.environ["AIRFLOW_VERTEX_GCS_ROOT"], "bucket", "tried")
    if not mark.exists():
        mark.write_text("")
        Path(model.path).write_text("first")
        model.metadata["lost"] = True
        return [frame, object()]
    Path(model.path).write_text("second")
    model.metadata["number"] = 2
    return {"same": [frame * 2, (frame,)], "again": frame}


@task
def seen(value: Any, model: Any) -> Any:
    from pathlib import Path

    twice, (once,) = value["same"]
    numbers = [frame["a"].tolist() for frame in (twice, once, value["again"])]
    return [numbers, Path(model.path).read_text(), model.metadata]


def test_a_later_attempt_leaves_all_of_its_own(client: Client) -> None:
    def fill() -> None:
        made = second_time_lucky.override(retries=1)()
        seen(made, made["model"])

    job = client.run(compiled(fill))
    assert errors(job) == {}
    assert protocol.decode(outputs(job, "seen")["Output"]) == [
        [[2, 4], [1, 2], [1, 2]],
        "second",
        {"number": 2},
    ]
