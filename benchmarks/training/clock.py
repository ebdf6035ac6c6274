"""The clock for time to quality: process CPU time divided by the number of threads."""

from __future__ import annotations

import time
from typing import Self

THREADS = 2


class Clock:
    """Seconds of CPU time per thread and of wall time, spent inside `with clock:` blocks."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> Self:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu += (time.process_time() - self._cpu) / THREADS
        self.wall += time.perf_counter() - self._wall

    @property
    def minutes(self) -> float:
        """Minutes of CPU time per thread so far."""
        return self.cpu / 60
