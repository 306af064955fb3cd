"""How often the service may be read: a wish to read in, leave to do so out, so many a minute at most.

The service counts reads for each project and region (L21: 600 a minute). One :class:`ReadBudget` per
endpoint, project and region serves everything that waits in a triggerer process.
"""

from __future__ import annotations

import asyncio

from airflow_vertex_provider.configuration import positive

#: What part of a minute's reads may come at once; the others are spread over the minute.
BURST_SHARE = 0.1


class ReadBudget:
    """A bucket of reads that fills up steadily. First come, first served.

    However the reads are spread, no minute holds more than ``per_minute`` of them: a full bucket and what
    fills up within a minute make just that.

    :param per_minute: reads a minute; the option ``reads_per_minute`` if ``None``.
    """

    _shared: dict[tuple[int, str, str], ReadBudget] = {}  # noqa: RUF012 - one registry for the process

    def __init__(self, per_minute: int | None = None) -> None:
        self.per_minute = positive("reads_per_minute") if per_minute is None else per_minute
        self._capacity = max(1.0, self.per_minute * BURST_SHARE)
        #: Seconds until one more read is allowed.
        self._spacing = 60.0 / max(self.per_minute - self._capacity, self.per_minute / 2)
        self._left = self._capacity
        self._filled = -1.0
        self._turn = asyncio.Lock()

    @classmethod
    def shared(cls, endpoint: str, parent: str) -> ReadBudget:
        """Return the one of a project and region behind an endpoint. Runs in the triggerer's event loop."""
        # A process has one event loop in the triggerer, but several in turn in dag.test().
        loop = id(asyncio.get_running_loop())
        for key in [key for key in cls._shared if key[0] != loop]:
            del cls._shared[key]
        return cls._shared.setdefault((loop, endpoint, parent), cls())

    async def take(self) -> None:
        """Wait for leave to read once."""
        async with self._turn:
            self._fill()
            while self._left < 1 - 1e-6:  # short of a whole one by rounding only
                await asyncio.sleep((1 - self._left) * self._spacing)
                self._fill()
            self._left -= 1

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._filled >= 0:
            self._left = min(self._capacity, self._left + (now - self._filled) / self._spacing)
        self._filled = now
