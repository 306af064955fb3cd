"""``airflow-vertex emulator``: options in, an emulator in the foreground out.

Prints one line when it is ready, with the endpoint and the page's address, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from airflow_vertex_provider.emulator.guesses import GUESSES
from airflow_vertex_provider.emulator.server import VertexEmulator


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; every guess is an option."""
    result = argparse.ArgumentParser(
        prog="airflow-vertex emulator",
        description="Vertex AI Pipelines on loopback, for local development and tests. Never for production.",
    )
    result.add_argument("--port", type=int, default=8990, help="port of 127.0.0.1; 0 takes a free one")
    result.add_argument(
        "--state-dir", help="folder that keeps jobs and buckets; a temporary one if not given"
    )
    result.add_argument(
        "--time-scale", type=float, default=0.0, help="0 waits for nothing, 1 is as slow as Vertex"
    )
    result.add_argument(
        "--clock-offset", type=float, default=0.0, help="seconds by which its clock is ahead, or behind"
    )
    result.add_argument("--max-processes", type=int, default=8, help="task processes at the same time")
    result.add_argument("--term-grace", type=float, default=10.0, help="seconds from SIGTERM to SIGKILL")
    result.add_argument(
        "--only-created-buckets", action="store_true", help="know only buckets that were created"
    )
    result.add_argument("--seed", type=int, help="make ids and draws repeatable")
    group = result.add_argument_group("guesses", "answers that no public record shows; see docs/emulator.md")
    for guess in GUESSES:
        group.add_argument(
            f"--{guess.switch.replace('_', '-')}",
            dest=guess.switch,
            type=guess.parse,
            default=argparse.SUPPRESS,
            metavar=guess.allowed().replace("'", "").replace(", ", "|") if guess.others else "N",
            help=f"{guess.question} (default: {guess.default})".replace("%", "%%"),
        )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until it is told to end; return the exit status."""
    options = vars(parser().parse_args(argv))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        emulator = VertexEmulator(**options)
        emulator.start()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the emulator cannot start: {error}\n")
        return 1
    sys.stdout.write(
        f"Vertex emulator ready: {emulator.endpoint} (page: {emulator.page_url}, pid {os.getpid()})\n"
    )
    sys.stdout.flush()
    ended.wait()
    emulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
