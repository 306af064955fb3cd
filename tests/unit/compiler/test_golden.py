"""Golden specs: tests/golden holds groups and their specs; its README says how to renew them."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.compiler import compile_graph, dump_spec
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.runtime.protocol import embedded_source
from airflow_vertex_provider.settings import Level, PipelineSettings, TaskSettings, merge_task_settings

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/graph.json"))


def marked(text: str) -> str:
    """Replace what installed packages alone decide, and the entry point's text, which configurations cut."""
    kfp = importlib.metadata.version("kfp")
    gcpc = importlib.metadata.version("google-cloud-pipeline-components")
    for source in entry_points(json.loads(text)):
        # A string of the spec, or a string in a payload that is a string of the spec.
        once = json.dumps(source)[1:-1]
        twice = json.dumps(once)[1:-1]
        text = text.replace(twice, "<entry point>").replace(once, "<entry point>")
    return text.replace(f'"kfp-{kfp}"', '"kfp-<kfp>"').replace(f"components:{gcpc}", "components:<gcpc>")


def entry_points(data: Any) -> set[str]:
    """Return every text that stands between ``-c`` and a configuration which it is made for."""
    if isinstance(data, dict):
        return set().union(*(entry_points(item) for item in data.values()))
    if isinstance(data, str):
        return (
            entry_points(json.loads(data)) if data.startswith('{"') and "worker_pool_specs" in data else set()
        )
    if not isinstance(data, list):
        return set()
    if len(data) > 4 and data[2] == "-c":
        assert data[3] == embedded_source(json.loads(data[4]))
        return {data[3]}
    return set().union(*(entry_points(item) for item in data))


def merged_settings(said: dict[str, Any]) -> dict[str, TaskSettings]:
    job = Level(job=said["pipeline"])
    return {task_id: merge_task_settings([*levels, job]) for task_id, levels in said["tasks"].items()}


@pytest.mark.parametrize("case", CASES)
def test_a_group_compiles_to_its_golden_spec(case: str) -> None:
    folder = GOLDEN / case
    graph = Graph.from_dict(json.loads((folder / "graph.json").read_text()))
    said: dict[str, Any] = json.loads((folder / "settings.json").read_text())
    pipeline = PipelineSettings.from_dict(said["pipeline"])
    settings = {
        task_id: merge_task_settings([*levels, Level(job=said["pipeline"])])
        for task_id, levels in said["tasks"].items()
    }
    text = marked(dump_spec(compile_graph(graph, settings, pipeline)))
    if os.environ.get("RENEW_GOLDEN"):
        (folder / "spec.json").write_text(text)
    assert text == (folder / "spec.json").read_text()


@pytest.mark.parametrize("case", CASES)
def test_nothing_calls_pip_unless_it_is_asked_to(case: str) -> None:
    folder = GOLDEN / case
    levels = json.loads((folder / "settings.json").read_text())["tasks"].values()
    asked = any(level.get("packages") for level in itertools.chain(*levels))
    graph = Graph.from_dict(json.loads((folder / "graph.json").read_text()))
    said = json.loads((folder / "settings.json").read_text())
    pipeline = PipelineSettings.from_dict(said["pipeline"])
    settings = {
        task_id: merge_task_settings([*given, Level(job=said["pipeline"])])
        for task_id, given in said["tasks"].items()
    }
    text = dump_spec(compile_graph(graph, settings, pipeline))
    assert bool(re.search(r"\bpip\b", text)) == asked


def test_there_are_cases() -> None:
    assert {"custom_jobs", "every_kind"} <= set(CASES)
