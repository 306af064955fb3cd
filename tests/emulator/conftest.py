"""Emulators for tests: one in the test's own process, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import Client


@pytest.fixture(scope="session")
def stopping() -> Iterator[Callable[[VertexEmulator], None]]:
    """Stop emulators in the background: each takes a while to close its connections."""
    with ThreadPoolExecutor(8) as pool:
        stops: list[Future[None]] = []
        yield lambda emulator: stops.append(pool.submit(emulator.stop))
        for stop in stops:
            stop.result()


@pytest.fixture
def start_emulator(
    stopping: Callable[[VertexEmulator], None],
) -> Iterator[Callable[..., VertexEmulator]]:
    """Start emulators with any switches; they end with the test."""
    started: list[VertexEmulator] = []

    def start(**options: Any) -> VertexEmulator:
        emulator = VertexEmulator(**options)
        emulator.start()
        started.append(emulator)
        return emulator

    yield start
    for emulator in started:
        stopping(emulator)


@pytest.fixture
def emulator(start_emulator: Callable[..., VertexEmulator]) -> VertexEmulator:
    """An emulator with every switch at its default."""
    return start_emulator()


@pytest.fixture
def client(emulator: VertexEmulator) -> Client:
    """A client of ``emulator``."""
    return Client(emulator.endpoint)
