"""The section [vertex_pipelines]: read by Airflow, checked by name, and what its limits do at submit."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from airflow.sdk import DAG, task, task_group

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.compiler.limits import limit_warnings, nesting_depth
from airflow_vertex_provider.configuration import OPTIONS, SECTION, extra_locations, limit, option
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.get_provider_info import get_provider_info
from tests.unit.emulated import LOCATION, ROOT
from tests.unit.submitting import submit

LIMITS = [name for name in OPTIONS if name.startswith("warn_")]


def variable(name: str) -> str:
    return f"AIRFLOW__{SECTION.upper()}__{name.upper()}"


@task
def member(x: Any) -> Any:
    return x


@task
def several() -> list[list[int]]:
    return [[1], [2]]


@task_group
def each(x: Any) -> None:
    member(x)


def group() -> DAG:
    with DAG("d") as dag:
        with VertexTaskGroup("g", location=LOCATION, pipeline_root=ROOT):
            each.expand(x=several())
            member.override(task_id="shout", trigger_rule="one_success")(2)
    return dag


def test_airflow_reads_the_metadata() -> None:
    section = get_provider_info()["config"][SECTION]
    assert set(section["options"]) == set(OPTIONS)
    for name, said in section["options"].items():
        assert said["default"] == option(name)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("text", ["-1", "many", "", "1.5"])
def test_a_limit_is_a_whole_number(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(VertexConfigurationError, match=rf"\[{SECTION}\] {name}: found {text!r}; allowed"):
        limit(name)


def test_regions_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extra_locations() == frozenset()
    monkeypatch.setenv(variable("extra_locations"), " mars-east1 ,moon-west1,")
    assert extra_locations() == {"mars-east1", "moon-west1"}


def test_limits_warn_where_they_are_passed_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = compile_group(group().task_group.children["g"])
    size = len(json.dumps(spec, ensure_ascii=False, separators=(",", ":")).encode())
    measured = {
        "warn_tasks": len(spec["deploymentSpec"]["executors"]),
        "warn_spec_bytes": size,
        "warn_nesting_depth": nesting_depth(spec),
        "warn_parameter_characters": 50,
    }
    assert set(measured) == set(LIMITS)
    assert measured["warn_nesting_depth"] >= 1
    assert measured["warn_tasks"] >= 2
    values = {"p": "y" * 50, "q": 1}
    for name, number in measured.items():
        for each in LIMITS:
            monkeypatch.setenv(variable(each), "0")
        monkeypatch.setenv(variable(name), str(number))
        assert list(limit_warnings(spec, values)) == []
        monkeypatch.setenv(variable(name), str(number - 1) if number > 1 else "0")
        found = list(limit_warnings(spec, values))
        if number > 1:
            (text,) = found
            assert text.startswith(f"{number} ")
            assert name in text


def test_submit_tells_what_it_inherits_and_what_is_overridden(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with VertexEmulator() as emulator:
        said = json.loads(emulator.connection_json())
        said["extra"] |= {
            "network": "projects/1/global/networks/n",
            "labels": {"team": "ml", "own": "theirs"},
            "custom_job": {
                "timeout": 60,
                "env": {"TOKEN": "canary-7"},
                "additional_training_job_args": {
                    "worker_pool_specs": [
                        {"container_spec": {"env": [{"name": "OTHER", "value": "canary-7"}]}}
                    ]
                },
            },
        }
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(said))
        monkeypatch.setenv(variable("warn_tasks"), "1")
        with DAG("d") as dag:
            with VertexTaskGroup(
                "g",
                location=LOCATION,
                pipeline_root=ROOT,
                labels={"own": "mine"},
                display_name="said",
                job_overrides={"displayName": "raw"},
            ):
                several() >> member(1)
                member.override(
                    task_id="big",
                    executor_config={
                        "vertex": {
                            "custom_job": {
                                "timeout": 90,
                                "additional_training_job_args": {"timeout": "30s"},
                            }
                        }
                    },
                )(2)
        with caplog.at_level(logging.INFO):
            submit(dag)
    text = caplog.text + "".join(capsys.readouterr())
    assert "From connection 'google_cloud_default':" in text
    assert "network='projects/1/global/networks/n'" in text
    assert "of labels {'team': 'ml'}" in text
    assert "'TOKEN': '***'" in text
    assert "canary-7" not in text
    overridden = "custom_job.additional_training_job_args.timeout '30s' overrides custom_job.timeout '90s'"
    assert f"g.big: {overridden}" in text
    assert "job_overrides.display_name 'raw' overrides display_name 'said'" in text
    assert "pipeline tasks, more than 1 ([vertex_pipelines] warn_tasks)" in text
