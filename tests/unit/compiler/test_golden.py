"""Golden specs: tests/golden holds groups and their specs; its README says how to renew them."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.compiler import compile_graph, dump_spec
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.runtime.protocol import embedded_source
from airflow_vertex_provider.settings import PipelineSettings, merge_task_settings

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/graph.json"))


def marked(text: str) -> str:
    """Replace what installed packages alone decide."""
    kfp = importlib.metadata.version("kfp")
    gcpc = importlib.metadata.version("google-cloud-pipeline-components")
    # A string of the spec, or a string in a payload that is a string of the spec.
    once = json.dumps(embedded_source())[1:-1]
    twice = json.dumps(once)[1:-1]
    text = text.replace(twice, "<entry point>").replace(once, "<entry point>")
    return text.replace(f'"kfp-{kfp}"', '"kfp-<kfp>"').replace(f"components:{gcpc}", "components:<gcpc>")


@pytest.mark.parametrize("case", CASES)
def test_a_group_compiles_to_its_golden_spec(case: str) -> None:
    folder = GOLDEN / case
    graph = Graph.from_dict(json.loads((folder / "graph.json").read_text()))
    said: dict[str, Any] = json.loads((folder / "settings.json").read_text())
    pipeline = PipelineSettings.from_dict(said["pipeline"])
    settings = {task_id: merge_task_settings(levels, pipeline) for task_id, levels in said["tasks"].items()}
    text = marked(dump_spec(compile_graph(graph, settings, pipeline)))
    if os.environ.get("RENEW_GOLDEN"):
        (folder / "spec.json").write_text(text)
    assert text == (folder / "spec.json").read_text()


def test_there_are_cases() -> None:
    assert {"custom_jobs", "every_kind"} <= set(CASES)
