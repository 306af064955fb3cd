"""Airflow finds the package by itself, as it finds every provider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.airflow import airflow_environment, make_home, run_airflow

pytestmark = pytest.mark.integration


def test_providers_list(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    make_home(home)
    printed = run_airflow(
        ["providers", "list", "--output", "json"], airflow_environment(home, [tmp_path], {})
    )
    providers = json.loads(printed[printed.index("[{") :])
    ours = [item for item in providers if item["package_name"] == "airflow-vertex-provider"]
    assert len(ours) == 1
    assert ours[0]["version"] == "0.1.0"


def test_links_are_registered(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    make_home(home)
    printed = run_airflow(
        ["providers", "links", "--output", "json"], airflow_environment(home, [tmp_path], {})
    )
    assert "airflow_vertex_provider.links.pipeline_job.VertexPipelineLink" in printed
