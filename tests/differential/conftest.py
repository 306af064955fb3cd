"""One laboratory a session: the emulator of the session and one process that runs DAGs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.laboratory import Laboratory
from tests.support.emulator import EmulatorProcess


@pytest.fixture(scope="session")
def laboratory(vertex_emulator_process: EmulatorProcess) -> Iterator[Laboratory]:
    """Both sides of the comparison, started by the first test that runs a DAG."""
    with Laboratory(vertex_emulator_process.connection_json()) as started:
        yield started
