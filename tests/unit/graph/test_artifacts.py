# Calls that Airflow changes: what a task is given, and what it returns, is not what its function says.
# mypy: disable-error-code="empty-body, index, call-arg, arg-type, assignment, untyped-decorator"
"""Artifacts of functions at parse: which parameters are artifacts, and calls that cannot be had.

Annotations are not postponed in this file: kfp reads them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from kfp import dsl

import airflow_vertex_provider as provider
from airflow_vertex_provider import (
    ClassificationMetrics,
    Dataset,
    Input,
    Metrics,
    Model,
    Output,
    VertexComponentOperator,
    VertexContainerOperator,
    VertexTaskGroup,
    compile_group,
)
from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.graph.artifacts import ports_of

if TYPE_CHECKING:
    from airflow_vertex_provider.artifacts import Markdown

Alias = Output[Model]
MODEL = "ARTIFACT system.Model@0.0.1"
DATA = "ARTIFACT system.Dataset@0.0.1"


class Custom:
    schema_title = "google.VertexModel"
    schema_version = "0.0.2"


def ours(data: "Input[Dataset]", model: "Output[Model]", rows: int = 3) -> None: ...


def kfps(data: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], page: dsl.Output[dsl.HTML]) -> None: ...


def spelt(data: Dataset, many: Input[list[Dataset]], perhaps: Optional[Input[Model]] = None) -> None: ...  # noqa: UP045


def others(
    a: Alias, b: provider.Output[Custom], c: Annotated[int, "x"], d: Input[Model] | None = None
) -> None: ...


def plain(text: str, rows: list[int], unknown: "Nowhere") -> dict[str, int]: ...  # type: ignore[name-defined]  # noqa: F821


def hidden(text: "Output[Markdown]") -> None: ...


def wrong(number: Output[int]) -> None: ...


def path(where: dsl.OutputPath(str)) -> None: ...  # type: ignore[valid-type]


def returned() -> Dataset: ...


def sliced(metrics: Output[dsl.SlicedClassificationMetrics]) -> None: ...


def taken(Output: Alias) -> None: ...


def alike(model: Output[Model], Model: Alias) -> None: ...


def listed(models: Output[list[Dataset]]) -> None: ...


@pytest.mark.parametrize(
    ("function", "inputs", "outputs"),
    [
        (ours, {"data": DATA}, {"model": MODEL}),
        (kfps, {"data": DATA}, {"model": MODEL, "page": "ARTIFACT system.HTML@0.0.1"}),
        (spelt, {"data": DATA, "many": "ARTIFACT_LIST system.Dataset@0.0.1", "perhaps": MODEL}, {}),
        (others, {"d": MODEL}, {"a": MODEL, "b": "ARTIFACT google.VertexModel@0.0.2"}),
        (plain, {}, {}),
        (len, {}, {}),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_what_annotations_say(function: Any, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    ports = ports_of(function)
    assert (ports.inputs, ports.outputs, ports.problems) == (inputs, outputs, ())


@pytest.mark.parametrize(
    ("function", "found", "allowed"),
    [
        (
            hidden,
            "Output[Markdown]: it cannot be read (NameError: name 'Markdown'",
            "outside of TYPE_CHECKING",
        ),
        (wrong, "int is no artifact", "schema_title"),
        (path, "a path of kfp", "Output[Artifact]"),
        (returned, "the annotation Dataset", "an argument Output[...]"),
        (sliced, "SlicedClassificationMetrics", "ClassificationMetrics"),
        (taken, "an Output called 'Output'", "another name"),
        (alike, "the Outputs 'Model' and 'model'", "more than case"),
        (listed, "an Output of a list", "a mapped task"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_annotations_that_cannot_be_had(function: Any, found: str, allowed: str) -> None:
    ((_, what, way_out),) = ports_of(function).problems
    assert found in what
    assert allowed in way_out


# Groups


@task.vertex
def train(data: Input[Dataset], model: Output[Model], rows: int = 1, *, metrics: Output[Metrics]) -> int:
    return rows


@task
def plain_task(rows: int, model: Output[Model] = None) -> int:
    return rows


@task
def use(value: Any, model: Input[Model] | None = None, many: Input[list[Model]] | None = None) -> None: ...


@dsl.container_component
def takes_model(model: dsl.Input[dsl.Model]):  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="image", command=["true"], args=[model.path])


@dsl.container_component
def takes_text(text: str):  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="image", command=["true"], args=[text])


DATA_AT = "gs://bucket/data"


def compiled(fill: Callable[[], object]) -> dict[str, Any]:
    with (
        DAG("d", schedule=None),
        VertexTaskGroup(
            "g", location="europe-west4", project_id="project", pipeline_root="gs://bucket/root"
        ) as group,
    ):
        fill()
    return compile_group(group)


def refused(fill: Callable[[], object]) -> str:
    with pytest.raises(VertexGroupError) as error:
        compiled(fill)
    return str(error.value)


def given_output() -> None:
    train(DATA_AT, model="gs://bucket/model")


def other_type() -> None:
    use(1, model=plain_task(1)["model"])
    train(plain_task.override(task_id="other")(1)["model"])


def no_artifact() -> None:
    train(5)
    train.override(task_id="dict")({"url": "x"})


def one_for_a_list() -> None:
    use(1, many=plain_task(1)["model"])


def list_for_one() -> None:
    use(1, model=plain_task.expand(rows=[1, 2])["model"])


def unknown_key() -> None:
    use(plain_task(1)["models"])


def mapped_for_a_container() -> None:
    many = plain_task.expand(rows=[1, 2])
    VertexContainerOperator(task_id="c", image="image", arguments=[many["model"]])


def mapped_for_text() -> None:
    many = plain_task.expand(rows=[1, 2])
    VertexComponentOperator(task_id="c", component=takes_text, arguments={"text": many["model"]})


def component_for_text() -> None:
    made = VertexComponentOperator(task_id="c", component=leaves_model)
    VertexComponentOperator(task_id="t", component=takes_text, arguments={"text": made.output["model"]})


def component_in_a_container_after_a_failure() -> None:
    made = VertexComponentOperator(task_id="c", component=leaves_model)
    VertexContainerOperator(
        task_id="late", image="image", arguments=[made.output["model"]], trigger_rule="all_done"
    )


@task.vertex
def called_like_ours(Uri_model: Output[Model]) -> None: ...


def taken_name() -> None:
    called_like_ours()


def other_type_in_component() -> None:
    VertexComponentOperator(
        task_id="c", component=takes_model, arguments={"model": train(DATA_AT)["metrics"]}
    )


def value_in_component() -> None:
    VertexComponentOperator(task_id="c", component=takes_model, arguments={"model": plain_task(1)})


@dsl.container_component
def leaves_model(model: dsl.Output[dsl.Model]):  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="image", command=["true"], args=[model.path])


def after_a_failure() -> None:
    made = VertexComponentOperator(task_id="c", component=leaves_model)
    use.override(task_id="late", trigger_rule="all_done")(1, model=made.output["model"])


def loop_after_a_failure() -> None:
    made = VertexComponentOperator(task_id="c", component=leaves_model)
    late = use.override(task_id="late", trigger_rule="all_done")
    mapped: Any = late.partial(model=made.output["model"]).expand(value=[1, 2])
    made >> mapped.operator


def out_of_a_condition() -> None:
    @task.branch
    def choose() -> str:
        return "g.c"

    made = VertexComponentOperator(task_id="c", component=leaves_model)
    choose() >> made
    use(1, model=made.output["model"])


def mapped_for_component() -> None:
    VertexComponentOperator(
        task_id="c",
        component=takes_model,
        arguments={"model": plain_task.expand(rows=[1, 2])["model"]},
    )


def branch_output() -> None:
    @task.branch
    def choose(model: Output[Model] = None) -> str:
        return "g.plain_task"

    choose() >> plain_task(1)


def bash_output() -> None:
    @task.bash
    def command(model: Output[Model] = None) -> str:
        return "true"

    command()


@pytest.mark.parametrize(
    ("fill", "texts"),
    [
        (given_output, ["g.train: argument model: found gs://bucket/model; allowed: nothing"]),
        (
            other_type,
            [
                "g.train: data: found 'model' of 'g.other': an artifact system.Model@0.0.1",
                "allowed: an artifact system.Dataset@0.0.1",
            ],
        ),
        (
            no_artifact,
            ["g.train: data: found 5", "g.dict: data: found {'url': 'x'}", "an address such as gs://"],
        ),
        (
            one_for_a_list,
            ["g.use: many: found 'model' of 'g.plain_task'", "a list of artifacts system.Model"],
        ),
        (list_for_one, ["g.use: model: found 'model' of 'g.plain_task': a list of artifacts"]),
        (unknown_key, ["g.use: value: found XCom 'models' of 'g.plain_task'"]),
        (mapped_for_a_container, ["g.c: arguments[0]: found the outputs of the mapped task", "one text"]),
        (
            mapped_for_text,
            ["g.c: arguments['text']: found the outputs of the mapped task 'g.plain_task'", "one value"],
        ),
        (component_for_text, ["output 'model' of 'g.c': an artifact system.Model@0.0.1; allowed: STRING"]),
        (component_in_a_container_after_a_failure, ["g.late: inputs.", "found an artifact of 'g.c'"]),
        (taken_name, ["an Output called 'Uri_model'"]),
        (
            other_type_in_component,
            ["artifact 'metrics' of 'g.train'", "allowed: an artifact system.Model@0.0.1"],
        ),
        (value_in_component, ["the value of 'g.plain_task'; allowed: an artifact of a task in this group"]),
        (after_a_failure, ["g.late: inputs.model_model: found an artifact of 'g.c'", "with 'all_done'"]),
        (loop_after_a_failure, ["g.late: inputs.model_model: found an artifact of 'g.c', in a loop"]),
        (out_of_a_condition, ["g.use: inputs.model_model: found an artifact of 'g.c', which is mapped"]),
        (mapped_for_component, ["the outputs of the mapped task 'g.plain_task'"]),
        (branch_output, ["g.choose: python_callable: found an Output[...]"]),
        (bash_output, ["g.command: argument model: found an Output[...]"]),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_groups_that_cannot_be_had(fill: Callable[[], object], texts: list[str]) -> None:
    message = refused(fill)
    for text in texts:
        assert text in message


def config_of(spec: dict[str, Any], name: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(
        spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]["command"][4]
    )
    return found


def test_outputs_are_no_part_of_the_call() -> None:
    def fill() -> None:
        train(DATA_AT, 5)
        train.override(task_id="named")(rows=6, data={"uri": DATA_AT})
        plain_task(7)
        PythonOperator(task_id="classic", python_callable=kfps, op_args=[DATA_AT, None, None])

    spec = compiled(fill)
    model, metrics = ({"$output": name, "as": f"system.{name.title()}"} for name in ("model", "metrics"))
    given = config_of(spec, "train")
    assert given["args"] == [{"$artifact": {"$lit": DATA_AT}, "as": "system.Dataset"}, model, {"$lit": 5}]
    assert given["kwargs"] == {"metrics": metrics}
    assert given["artifacts"] == {"model": "system.Model", "metrics": "system.Metrics"}
    named = config_of(spec, "named")
    assert named["args"] == []
    assert named["kwargs"] == {
        "data": {"$artifact": {"$lit": {"uri": DATA_AT}}, "as": "system.Dataset"},
        "model": model,
        "rows": {"$lit": 6},
        "metrics": metrics,
    }
    assert config_of(spec, "plain-task")["kwargs"] == {"model": model}
    assert config_of(spec, "classic")["args"][1] == model


def test_a_teardown_takes_an_artifact() -> None:
    def fill() -> None:
        made = plain_task(1)
        last = use.override(task_id="last")(1, model=made["model"])
        last.as_teardown()
        made >> last

    spec = compiled(fill)
    # What KFP's exit task takes comes by files, and none holds artifacts.
    assert not [name for name in spec["components"] if name.startswith("comp-exit-handler")]
    assert spec["root"]["dag"]["tasks"]["last"]["triggerPolicy"] == {
        "strategy": "ALL_UPSTREAM_TASKS_COMPLETED"
    }
    assert "artifacts" not in spec["components"]["comp-last"]["inputDefinitions"]


def test_an_exit_task_leaves_an_artifact() -> None:
    def fill() -> None:
        last = plain_task(1)
        last.as_teardown()
        use(1) >> last

    spec = compiled(fill)
    assert [name for name in spec["components"] if name.startswith("comp-exit-handler")]
    assert set(spec["components"]["comp-plain-task"]["outputDefinitions"]["artifacts"]) == {"model"}


def test_large_metadata_reach_functions_as_text_alone() -> None:
    def fill() -> None:
        @task.vertex
        def measure(curve: Output[ClassificationMetrics], model: Output[Model]) -> None: ...

        made = measure()
        use([made["curve"], made["model"]])

    spec = compiled(fill)
    assert spec["components"]["comp-use"]["inputDefinitions"]["artifacts"] == {
        "value_1_artifact": {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
    }
    assert config_of(spec, "measure")["linked"] == ["model"]


def test_commands_and_branches_take_artifacts() -> None:
    @task.bash
    def command(model: Input[Model]) -> str:
        return f"ls {model.path}"

    @task.branch
    def choose(model: Input[Model]) -> str:
        return "g.use" if model.metadata else "g.train"

    def fill() -> None:
        model = plain_task(1)["model"]
        command(model)
        choose(model) >> [use(1), train(DATA_AT)]

    spec = compiled(fill)
    for name in ("command", "choose"):
        config = config_of(spec, name)
        (node,) = config["args"]
        assert node == {"$artifact": {"$in": "model"}, "as": "system.Model"}
        assert config["artifact_types"] is True
        assert "artifacts" not in config
