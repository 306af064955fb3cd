"""What an import costs: declaring a group must load neither Google's nor Kubeflow's packages.

Each check runs in a fresh process, for this one has loaded everything already.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import airflow_vertex_provider
from tests.support.processes import EXAMPLE_DAGS, REPOSITORY

#: Packages that must not be loaded, nor anything in them.
BANNED = ("airflow.providers.google", "google.cloud", "google_cloud_pipeline_components", "kfp", "kubernetes")

#: What is there without us: Airflow reads every installed provider's description when `task` is used, and
#: an installed package's .pth file makes an empty google.cloud at every start of Python.
NOT_OURS = ("airflow.providers.google", "airflow.providers.google.get_provider_info", "google.cloud")

#: A subclass of Google's own hook: it cannot exist without Google's provider, and no DAG file needs it.
HOOK_MODULE = "airflow_vertex_provider.hooks.pipeline"
HOOK_NAME = "VertexPipelineHook"

PUBLIC_NAMES = sorted(set(airflow_vertex_provider.__all__) - {HOOK_NAME})
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(airflow_vertex_provider.__path__, "airflow_vertex_provider.")
    if module.name != HOOK_MODULE and not module.name.endswith(".__main__")
)
EXAMPLES = sorted(EXAMPLE_DAGS.glob("example_*.py"))


def banned_after(code: str, home: Path) -> list[str]:
    """Run ``code`` in a fresh process and return the banned modules it has loaded."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])
    return [
        name
        for name in loaded
        if name not in NOT_OURS and any(f"{name}.".startswith(f"{banned}.") for banned in BANNED)
    ]


def test_the_check_sees_a_banned_module(tmp_path: Path) -> None:
    assert "kubernetes" in banned_after("import kubernetes", tmp_path)
    assert "google.cloud.storage" in banned_after("from google.cloud import storage", tmp_path)
    hook = f"from airflow_vertex_provider import {HOOK_NAME}"
    assert "airflow.providers.google.common.hooks.base_google" in banned_after(hook, tmp_path)


def test_package_and_every_public_name_load_nothing_banned(tmp_path: Path) -> None:
    lines = [f"from airflow_vertex_provider import {name}" for name in PUBLIC_NAMES]
    assert banned_after("\n".join(lines), tmp_path) == []


def test_every_module_but_the_hook_loads_nothing_banned(tmp_path: Path) -> None:
    assert "airflow_vertex_provider.triggers.pipeline_job" in MODULES
    assert banned_after("\n".join(f"import {name}" for name in MODULES), tmp_path) == []


def test_there_are_example_dags() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_parsing_an_example_loads_nothing_banned(example: Path, tmp_path: Path) -> None:
    # Not with Airflow's DagBag: that loads every provider's information, Google's among it.
    code = f"""
import gc, runpy, sys
from airflow.sdk import DAG
sys.path.insert(0, {str(example.parent)!r})
names = runpy.run_path({str(example)!r}, run_name="example")
assert any(isinstance(thing, DAG) for thing in gc.get_objects()), "no DAG in the file"
"""
    assert banned_after(code, tmp_path) == []


@pytest.mark.parametrize("name", [*PUBLIC_NAMES, HOOK_NAME])
def test_public_name_is_the_one_of_its_module_and_says_what_it_is(name: str) -> None:
    value = getattr(airflow_vertex_provider, name)
    if typing.get_origin(value) is typing.Annotated:
        value = value.__metadata__[0]  # Input and Output are what their mark is
    home = importlib.import_module(value.__module__)
    assert getattr(home, value.__name__) is value
    own = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    assert (own or "").strip(), f"{name} has no docstring of its own"
    assert name in dir(airflow_vertex_provider)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        airflow_vertex_provider.NoSuchName  # noqa: B018
