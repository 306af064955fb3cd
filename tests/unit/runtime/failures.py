"""Functions of an imagined author that fail, each in its own way; a module as an image has it."""

import asyncio
import logging
import sys
from typing import Any


class OddError(Exception):
    def __str__(self) -> str:
        raise OddError("again")

    def __repr__(self) -> str:
        raise ValueError("no text either")


def divide(number: int) -> float:
    return 1 / number  # the helper's line


class OddNotesError(Exception):
    __notes__ = property(divide)


def helper() -> float:
    return divide(0)  # the caller's line


def context() -> None:
    try:
        divide(0)
    except ZeroDivisionError:
        raise RuntimeError("on the way out")  # noqa: B904 - the context is what is tested


def cause() -> None:
    try:
        divide(0)
    except ZeroDivisionError as error:
        raise RuntimeError("because of it") from error


async def fail(number: int) -> None:
    await asyncio.sleep(0)
    divide(0 * number)


async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(1))
        group.create_task(fail(2))


def group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])


def odd() -> None:
    raise OddError


def odd_notes() -> None:
    raise OddNotesError("what went wrong")


def odd_cause() -> None:
    raise RuntimeError("visible") from OddError()


def huge() -> None:
    raise ValueError("begin " + "x" * 3_000_000 + " end")


def endless(depth: int = 0) -> int:
    return other(depth + 1)


def other(depth: int) -> int:
    return endless(depth + 1)


def strange_text() -> None:
    raise ValueError("half \ud83d, null \0, {{$}}")


def in_a_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(divide, 0).result()


def in_a_library() -> None:
    import json

    json.loads("{")


def generator() -> Any:
    yield 1
    divide(0)


def interrupt() -> None:
    raise KeyboardInterrupt


def logs() -> None:
    logging.getLogger("mine").info("an info line")
    logging.getLogger("mine").debug("a debug line")
    print("printed", file=sys.stderr)
    raise ValueError("after the logs")
