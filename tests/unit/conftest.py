"""An emulator in this process, and the Airflow connection that leads to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexEmulator]:
    with VertexEmulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        yield emulator


@pytest.fixture
def hook(emulator: VertexEmulator) -> VertexPipelineHook:
    return VertexPipelineHook()
