"""Emulators for tests: one in the test's own process, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import Client


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., VertexEmulator]]:
    """Start emulators with any switches; they end with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> VertexEmulator:
            return stack.enter_context(VertexEmulator(**options))

        yield start


@pytest.fixture
def emulator(start_emulator: Callable[..., VertexEmulator]) -> VertexEmulator:
    """An emulator with every switch at its default."""
    return start_emulator()


@pytest.fixture
def client(emulator: VertexEmulator) -> Client:
    """A client of ``emulator``."""
    return Client(emulator.endpoint)
