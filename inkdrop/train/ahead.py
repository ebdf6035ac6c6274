"""`Ahead`: batches are read in a thread while earlier ones are computed with.

A batch is a function of its update and rows, so reading it early changes nothing about it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from inkdrop.train.objective import Batch, Batches

DEPTH = 2  # batches that are ready or being read, besides the one in use


class Ahead:
    """`Batches` that will be asked for in the order of `turns`, in a `with` block.

    turns: (update, rows) of every call to come
    An error in the thread is raised by the call for its batch. The block ends once the batch that
    is being read is done.
    """

    def __init__(self, batches: Batches, turns: Iterator[tuple[int, range]]) -> None:
        self.batches, self.turns = batches, turns
        self.due = deque[tuple[tuple[int, range], Future[Batch]]]()
        self.thread = ThreadPoolExecutor(1, "reading")

    def __call__(self, update: int, rows: range) -> Batch:
        """The next batch; ValueError if it is not the one that `turns` names."""
        self._ask()
        turn, batch = self.due.popleft() if self.due else (None, None)
        if turn != (update, rows) or batch is None:
            raise ValueError(f"the batch of update {update}, {rows} was not due, but {turn}")
        self._ask()
        return batch.result()

    def _ask(self) -> None:
        while len(self.due) < DEPTH and (turn := next(self.turns, None)) is not None:
            self.due.append((turn, self.thread.submit(self.batches, *turn)))

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.thread.shutdown(wait=True, cancel_futures=True)
