"""Time of the emulator: nominal durations of the real service in, scaled waits and timestamps out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """The emulator's clock.

    ``time_scale`` multiplies every duration that imitates the service (queueing, machine start, polling,
    back-off): 0 waits for nothing, 1 takes as long as the real service. Work done by the tasks' own
    processes is never scaled.

    :param time_scale: factor, 0 or more.
    :param offset: seconds by which the clock is ahead of this machine's, or behind it.
    """

    def __init__(self, time_scale: float = 0.0, offset: float = 0.0) -> None:
        if time_scale < 0:
            raise ValueError(f"time_scale: found {time_scale!r}; allowed: 0 (no waiting) or more")
        self.time_scale = time_scale
        self._offset = timedelta(seconds=offset)
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the present time in UTC, never the same instant twice, never going back."""
        with self._lock:
            current = datetime.now(UTC) + self._offset
            if current <= self._last:
                current = self._last + timedelta(microseconds=1)
            self._last = current
            return current

    def stamp(self) -> str:
        """Return the present time as RFC 3339 text with microseconds."""
        return format_time(self.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward; what was to happen after a delay happens that much earlier."""
        if seconds < 0:
            raise ValueError(f"seconds: found {seconds!r}; allowed: 0 or more, time does not go back")
        with self._lock:
            self._offset += timedelta(seconds=seconds)

    def wait(self, nominal: float, interrupted: Callable[[], bool]) -> bool:
        """Wait as long as ``nominal`` seconds of the service take here.

        :param interrupted: asked about ten times a second; true ends the wait.
        :return: whether the wait was interrupted.
        """
        start = time.monotonic()
        with self._lock:
            offset = self._offset
        while not interrupted():
            with self._lock:
                jumped = (self._offset - offset).total_seconds()
            left = nominal * self.time_scale - (time.monotonic() - start) - jumped
            if left <= 0:
                return False
            time.sleep(min(left, 0.1))
        return True


def format_time(moment: datetime) -> str:
    """Write a moment as the API does: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read RFC 3339 text; up to nine digits of a second are accepted, six are kept.

    :raises ValueError: the text is not a time.
    """
    head, dot, rest = text.strip().replace("z", "Z").replace("Z", "+00:00").partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    else:
        text = head
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
