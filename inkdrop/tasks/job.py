"""The interface of a task: a request with its files read, ready to run on a model."""

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
    """A request whose files are read; each task's file has `open_job(request)` to make one."""

    @property
    def request(self) -> Request: ...

    @property
    def size(self) -> int | tuple[int, int] | None:
        """The size of the samples, known before the model is read; None is the model's own."""
        ...

    @property
    def rows(self) -> Sequence[range]:
        """The sample numbers, one range per batch."""
        ...

    @property
    def look(self) -> Look:
        """How the samples are laid out on a sheet."""
        ...

    def fit(self, model: Model) -> Model:
        """The model for this size; ValueError if it cannot do the task."""
        ...

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        """The sampling steps of one batch; prompts are encoded before this returns."""
        ...

    def finish(self, model: Model, x: Tensor) -> Tensor:
        """The last Step's x as samples [B, C, *sizes] in [-1, 1], on the CPU."""
        ...


def batches(request: Request) -> list[range]:
    """The request's samples, first ... first + count - 1, `batch` at a time."""
    end, batch = request.first + request.count, request.batch
    return [range(i, min(i + batch, end)) for i in range(request.first, end, batch)]


def sampling_for(request: Request, model: Model) -> Sampling:
    """The request's sampling, with `fast` applied."""
    sampling = request.sampling
    return faster(model, sampling, weak=request.weak is not None) if request.fast else sampling


def conditions_for(request: Request, model: Model, rows: range) -> list[Condition] | None:
    """One condition for each of these samples; None for a model without conditions.

    Without a prompt or label, the classes take turns. ValueError for a prompt or label that the
    model cannot use.
    """
    names = tuple(_conditions(request, model))
    return [names[i % len(names)] for i in rows] if names else None


def _conditions(request: Request, model: Model) -> Sequence[Condition]:
    labels, prompt = request.labels, request.prompt
    if model.text is None:
        if prompt is not None:
            raise ValueError(
                "this model does not take a prompt: if it was trained without captions, leave the"
                " prompt out; if its folder lacks the text encoder, get the complete folder"
            )
        return labels or model.classes
    if labels and not model.spec.labels:
        raise ValueError(
            f"the label is {labels[0]!r}, but this model was trained without labels; leave it out"
        )
    if prompt is None and not labels and model.classes:
        return model.classes
    return [Prompt(prompt or "", label) for label in labels or (None,)]
