"""What a task file offers: a request with its files read, ready to be made by a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor

from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Condition, Model, Prompt
from inkdrop.tasks.plan import faster
from inkdrop.tasks.request import Request
from inkdrop.tasks.sampling import Sampling


class Job(Protocol):
    """A request whose files are read; `open_job(request)` of a task's file makes one."""

    @property
    def request(self) -> Request: ...

    @property
    def size(self) -> int | tuple[int, int] | None:
        """The size of what is made, known before a model is read; None is the model's own."""
        ...

    @property
    def rows(self) -> Sequence[range]:
        """The numbers of the samples, in the batches in which they are computed."""
        ...

    @property
    def look(self) -> Look:
        """How the result stands on a sheet."""
        ...

    def fit(self, model: Model) -> Model:
        """The model for this size; ValueError for one that cannot do the task."""
        ...

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        """The way to these samples; words are encoded before it returns."""
        ...

    def finish(self, model: Model, x: Tensor) -> Tensor:
        """Samples [B, C, *sizes] in [-1, 1], on the CPU, of the last Step's x."""
        ...


def batches(request: Request) -> list[range]:
    """Samples 0 ... count - 1, `batch` at a time."""
    count, batch = request.count, request.batch
    return [range(first, min(first + batch, count)) for first in range(0, count, batch)]


def sampling_for(request: Request, model: Model) -> Sampling:
    """How to sample, with `fast` worked in."""
    sampling = request.sampling
    return faster(model, sampling, weak=request.weak is not None) if request.fast else sampling


def conditions_for(request: Request, model: Model, rows: range) -> list[Condition] | None:
    """What each of these samples is asked to be; None for a model without conditions.

    Without a prompt and a label, all classes take turns.
    """
    names = tuple(_conditions(request, model))
    return [names[i % len(names)] for i in rows] if names else None


def _conditions(request: Request, model: Model) -> Sequence[Condition]:
    labels, prompt = request.labels, request.prompt
    if model.text is None:
        if prompt is not None:
            raise ValueError(
                "this model reads no words: if it was trained without captions, `inkdrop sample`"
                " draws from its classes; if its folder lacks the text encoder, get it whole"
            )
        return labels or model.classes
    if labels and not model.spec.labels:
        raise ValueError(f"style is {labels[0]!r}, but this model knows only one")
    if prompt is None and not labels and model.classes:
        return model.classes
    return [Prompt(prompt or "", label) for label in labels or (None,)]
