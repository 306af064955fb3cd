"""Emulators for tests: one in the test's own process, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import Client


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., VertexEmulator]]:
    """Start emulators with any switches; they end with the test, all at the same time."""
    started: list[VertexEmulator] = []

    def start(**options: Any) -> VertexEmulator:
        emulator = VertexEmulator(**options)
        emulator.start()
        started.append(emulator)
        return emulator

    yield start
    if started:
        with ThreadPoolExecutor(len(started)) as pool:
            list(pool.map(VertexEmulator.stop, started))


@pytest.fixture
def emulator(start_emulator: Callable[..., VertexEmulator]) -> VertexEmulator:
    """An emulator with every switch at its default."""
    return start_emulator()


@pytest.fixture
def client(emulator: VertexEmulator) -> Client:
    """A client of ``emulator``."""
    return Client(emulator.endpoint)
