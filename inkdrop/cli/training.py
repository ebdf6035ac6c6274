"""The display of training and evaluation on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from inkdrop.cli.screen import Screen, words
from inkdrop.cli.stopping import Output, Stopping
from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import Encoding
from inkdrop.events import Note
from inkdrop.printable import shell
from inkdrop.registry import medium
from inkdrop.train.evaluate import Evaluated, Made
from inkdrop.train.evaluate import Progress as Evaluating
from inkdrop.train.events import Event, Pictured, Validated
from inkdrop.train.parallel import World
from inkdrop.train.updates import Update

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def _clock() -> tuple[ProgressColumn, ...]:
    return TimeElapsedColumn(), words("left"), TimeRemainingColumn()


def show_training(
    events: Iterable[Event | Encoding],
    data: Dataset,
    more: Sequence[str],
    stop: Stopping,
    *,
    here: World,
    tensorboard: Path | None = None,
) -> None:
    """Runs a training to its end and shows its events.

    more: the words of the command that samples from the trained model, without `inkdrop`
    stop: what may ask for a stop; here: only the main process shows anything
    tensorboard: a folder to log to
    """
    screen, quiet = Screen(quiet=not here.main), not here.main
    if sys.stdout is not None:
        screen.file = cast(TextIO, Output(sys.stdout, stop))
    screen.say(data.describe())
    log = None if tensorboard is None or quiet else _Tensorboard(tensorboard)
    columns = (
        words("update {task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        words("loss {task.fields[loss]:.4f}"),
        *_clock(),
    )
    with Progress(*columns, console=screen) as bar:
        line = _Line(bar, screen, medium(data.medium).many)
        for event in stop.following(events, alone=here.size == 1):
            line.take(event)
            if log is not None:
                log.take(event)
    if line.picture is not None:
        screen.say(f"pictures: {line.picture}")
        screen.say(f"more: {shell(*more, '-o', 'more.png')}")


class _Line:
    """The progress bar of a training, with a smoothed loss, and messages above it.

    many: the plural noun for samples, such as "pictures"
    """

    def __init__(self, bar: Progress, screen: Screen, many: str) -> None:
        self.bar, self.screen, self.many = bar, screen, many
        self.task = bar.add_task("train", total=None, loss=float("nan"), visible=False)
        self.loss: float | None = None
        self.picture: Path | None = None

    def take(self, event: Event | Encoding) -> None:
        """Shows one event."""
        say = self.screen.say
        if isinstance(event, Update):
            self._update(event)
        elif isinstance(event, Note):
            say(event.text)
        elif isinstance(event, Validated):
            say(f"update {event.update:,}: loss on held-out {self.many} {event.loss:.4f}")
        elif isinstance(event, Pictured):
            self.picture = event.path
            say(f"samples: {event.path}")
        elif isinstance(event, Encoding) and event.done == event.total:
            say(f"latents: {event.total:,} {self.many} encoded")

    def _update(self, update: Update) -> None:
        if not update.applied:
            self.screen.say(f"update {update.index:,} was skipped: {update.culprits}")
            return
        self.loss = update.loss if self.loss is None else 0.98 * self.loss + 0.02 * update.loss
        self.bar.update(
            self.task,
            completed=update.index + 1,
            total=update.total,
            loss=self.loss,
            visible=True,
        )


class _Tensorboard:
    """A log in a folder, which is made at the first update: what cannot start leaves no trace."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "--tensorboard needs an extra: pip install 'inkdrop[tensorboard]'"
            ) from None
        self.open: Callable[[], SummaryWriter] = partial(SummaryWriter, str(folder))
        self.writer: SummaryWriter | None = None

    def take(self, event: Event | Encoding) -> None:
        """Logs one event."""
        if isinstance(event, Update):
            self.writer = self.writer or self.open()
            self.writer.add_scalar("loss", event.loss, event.index)
            self.writer.add_scalar("grad_norm", event.grad_norm, event.index)
            self.writer.add_scalar("lr", event.lr, event.index)
        elif isinstance(event, Validated) and self.writer is not None:
            self.writer.add_scalar("validation", event.loss, event.update)


def show_evaluation(events: Iterable[Evaluating]) -> None:
    """Runs an evaluation to its end, and shows its progress and its table."""
    screen = Screen()
    columns = (
        words("{task.description} {task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        *_clock(),
    )
    found: Evaluated | None = None
    with Progress(*columns, console=screen) as bar:
        judge, made = (
            bar.add_task(what, total=None, visible=False)
            for what in ("judge: update", "measured: sample")
        )
        for event in events:
            if isinstance(event, Note):
                screen.say(event.text)
            elif isinstance(event, Update):
                bar.update(judge, completed=event.index + 1, total=event.total, visible=True)
            elif isinstance(event, Made):
                bar.update(made, completed=event.count, total=event.total, visible=True)
            elif isinstance(event, Evaluated):
                found = event
    assert found is not None, "an evaluation ends with an Evaluated"
    for line in (*str(found.report).split("\n"), "", f"report and pictures: {found.folder}"):
        screen.say(line)
