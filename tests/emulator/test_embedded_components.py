"""Components that our compiler has put into a spec, run."""

from __future__ import annotations

import pytest

from airflow_vertex_provider.graph.model import FromConstant, FromOutput, FromParameter
from tests.emulator.pipelines import Client, outputs, states
from tests.unit import component_samples as samples
from tests.unit.compiler.component_specs import assembled, component_task

pytestmark = pytest.mark.slow


def test_components_of_every_kind(client: Client) -> None:
    spec = assembled(
        component_task("add", samples.add, {"a": FromParameter("n")}),
        component_task("add-2", samples.inner, {"n": FromOutput("g.add", "Output")}),
        component_task("sum", samples.inner, {"n": FromOutput("g.add-2", "Output")}),
        component_task("write", samples.write, {"text": FromConstant('it\'s "quoted"')}),
        component_task("read", samples.read, {"data": FromOutput("g.write", "data")}),
        component_task("shell", samples.shell, {"x": FromOutput("g.read", "Output")}),
        component_task(
            "types",
            samples.every_type,
            {
                "text": FromOutput("g.shell", "result"),
                "number": FromOutput("g.shell", "count"),
                "share": FromConstant("0.5"),
                "flag": FromConstant("true"),
                "items": FromConstant('[1, "a"]'),
                "table": FromConstant('{"k": {"l": 2}}'),
            },
        ),
        parameters={"n": "NUMBER_INTEGER"},
    )
    job = client.run(spec, parameters={"n": 1})
    assert {name: states(job)[name] for name in ("sum", "types")} == {
        "sum": "SUCCEEDED",
        "types": "SUCCEEDED",
    }
    # A default counts as given: hence "yes" below. 1 + 2, then twice + 2 + 10 in the pipeline.
    assert outputs(job, "sum")["Output"] == 27
    text = 'it\'s "quoted"'
    assert outputs(job, "shell") == {"result": f"{text}/n=/yes", "count": 3}
    got = [f"{text}/n=/yes", 3, 0.5, True, [1, "a"], {"k": {"l": 2}}, "none"]
    assert outputs(job, "types") == {"Output": {"got": got}}
