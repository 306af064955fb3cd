"""Emulators for tests: one in the test's own process, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import Client
from tests.emulator.starting import Launch, start_command


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


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start the emulator's command on the test's state directory; it ends with the test."""
    started: list[Popen[str]] = []

    def start(*options: str) -> tuple[Popen[str], Client]:
        process, client = start_command(tmp_path / "state", *options)
        started.append(process)
        return process, client

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
