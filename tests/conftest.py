"""Fixtures that several folders of tests share: one running Airflow and one emulator a session.

Both cost seconds to start, so nothing starts before a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.airflow import AirflowDeployment
from tests.support.emulator import EmulatorProcess, connection_json
from tests.support.processes import EXAMPLE_DAGS, INTEGRATION_DAGS, free_port

# The same examples on every run, so that a red run is red again; HYPOTHESIS_PROFILE=default draws new ones.
# How long an example takes depends on what else the machine does, and is no property of the code.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def vertex_emulator_port() -> int:
    """The port the session's emulator has, whether or not a test has started it yet."""
    return free_port()


@pytest.fixture(scope="session")
def vertex_emulator_process(
    vertex_emulator_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatorProcess]:
    """The emulator as a process of its own; ``.endpoint`` and ``.connection_json()`` lead to it."""
    state_dir = tmp_path_factory.mktemp("emulator") / "state"
    with EmulatorProcess(state_dir, port=vertex_emulator_port) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def vertex_connections(vertex_emulator_port: int) -> dict[str, str]:
    """The connection of every DAG of the tests, ``google_cloud_default``, to the session's emulator."""
    return {"google_cloud_default": connection_json(f"http://127.0.0.1:{vertex_emulator_port}")}


@pytest.fixture(scope="session")
def airflow_deployment(
    vertex_connections: dict[str, str], vertex_emulator_port: int
) -> Iterator[AirflowDeployment]:
    """One real Airflow for all integration tests, with the DAGs of tests/integration/dags and example_dags.

    Tests share it: they look only at runs of their own, and do not stop its components for long. Triggers
    of the tests lie beside their DAGs, and Airflow's triggerer does not look there by itself.
    """
    python_path = os.pathsep.join(filter(None, [str(INTEGRATION_DAGS), os.environ.get("PYTHONPATH")]))
    env = {
        "PYTHONPATH": python_path,
        "EXAMPLE_POLL_INTERVAL": "0.5",
        "VERTEX_EMULATOR_ENDPOINT": f"http://127.0.0.1:{vertex_emulator_port}",
    }
    with AirflowDeployment([INTEGRATION_DAGS, EXAMPLE_DAGS], vertex_connections, env=env) as airflow:
        yield airflow


@pytest.fixture
def dags_folder(tmp_path: Path) -> Path:
    """An empty folder for the DAG files of a test that starts an Airflow of its own."""
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder
