"""Making a request's samples, as a generator of events.

for event in make(Request(prompt="a red heart")):
    ...                      # Notes, the sampler's Steps, and finally a Made
event.save("heart.png")
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkdrop import printable
from inkdrop.convert.inspect.estimate import available
from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.find import open_with_notes, still_there
from inkdrop.make.output import check_result, targets
from inkdrop.make.prepare import check_request, find_for, find_weak, fitted, prepare
from inkdrop.make.words import unheard
from inkdrop.media.medium import Look, Medium, Span, check_output
from inkdrop.media.numbered import is_numbered
from inkdrop.media.sheet import save_animation
from inkdrop.model import Model
from inkdrop.tasks.job import Job, sampling_for
from inkdrop.tasks.plan import OWN, chosen, named
from inkdrop.tasks.request import (
    DRAWN,
    LOADED,
    Request,
    alone,
    checked,
    numbers,
    settings_of,
    task_name,
)
from inkdrop.tasks.tags import with_tags
from inkdrop.unload import unload


@dataclass(frozen=True)
class Made:
    """The result of a request.

    samples: [N, C, *sizes] in [-1, 1], on the CPU
    request: with the model's defaults filled in, so that it reproduces the samples
    look: the layout of the samples on a sheet
    """

    samples: Tensor = field(repr=False)
    request: Request
    medium: Medium = field(repr=False)
    span: Span
    look: Look

    def save(self, path: str | Path) -> list[Path]:
        """Writes a file, with the settings if its format holds them, and returns its path.

        A name with a place for a number, such as pic_%d.png, is a file for each sample, named and
        repeated by its number. ValueError for a bad path.
        """
        path = Path(path)
        check_output(self.medium, path)
        if not is_numbered(path):
            self._write(self.samples, path, self.request)
            return [path]
        each = targets(path, numbers(self.request))
        for i, target in enumerate(each):
            self._write(self.samples[i : i + 1], target, alone(self.request, i))
        return each

    def save_animation(self, path: str | Path, fps: float = 12) -> None:
        """Writes a looping animation (.webp, .apng, .png or .gif), `fps` samples per second."""
        look = replace(self.look, columns=1, pad=0)
        frames = [self.medium.sheet(sample[None], look) for sample in self.samples]
        save_animation(frames, path, fps, self._settings(self.request))

    def _write(self, samples: Tensor, path: Path, request: Request) -> None:
        self.medium.write(samples, path, self._settings(request), self.look, self.span)

    def _settings(self, request: Request) -> dict[str, Any]:
        # Without a fingerprint it was made by a loaded model, and the name is nobody's choice.
        return settings_of(replace(request, weights=request.weights or LOADED))


Event = Note | Step | Made


def open_job(request: Request) -> Job:
    """Reads the files of a request, with the `open_job` of its task."""
    module = import_module(f"inkdrop.tasks.{task_name(request)}")
    job: Job = module.open_job(request)
    return job


def make(
    request: Request,
    *,
    model: Model | None = None,
    device: str | None = None,
    keep: bool = False,
    out: Path | None = None,
    fetch: bool = True,
) -> Iterator[Event]:
    """Finds the model, prepares it and samples: yields Notes and Steps, and finally a `Made`.

    model: a loaded model to use instead of the request's; it is not changed
    out: the file for the samples, checked before the first step
    device: None for a GPU if there is one
    keep: False to free each part of a model loaded here after its last use
    fetch: False uses no network, for a request from a stranger's file

    ValueError for a bad request, where possible before any weights are read.
    """
    request, found_loras = with_tags(checked(request))
    yield from map(Note, found_loras)
    if request.seed == DRAWN:
        request = replace(request, seed=secrets.randbelow(2**32))
        yield Note(f"the seed is {request.seed}, drawn at random")
    job = open_job(request)
    check_request(request)
    name = None if model is not None else request.model
    weaker = find_weak(request, fetch=fetch)
    if model is None:
        found = find_for(request, fetch=fetch)
        with still_there(found):
            model, request = yield from prepare(job, found, device)
            request = replace(request, weights=found.weights)
    else:
        _check_loaded(request)
        model, keep = (yield from fitted(model, job)), True
        if request.weights == LOADED:
            request = replace(request, weights="")
    if out is not None:
        alpha = job.look.alpha or (len(model.spec.shape) == 3 and model.spec.shape[0] == 4)
        check_result(out, model.medium, request, alpha=alpha)
    yield from unheard(model, request, name)
    weak = None
    if weaker is not None:
        request = replace(request, weak_weights=weaker.weights)
        weak, notes = open_with_notes(weaker, device=model.device)
        yield from map(Note, notes)
    yield from run(model, request, job, weak=weak, keep=keep)


def _check_loaded(request: Request) -> None:
    """ValueError for options that apply only while a model is being loaded."""
    if request.engine is not None or request.precision is not None or request.half:
        raise ValueError(
            "engine and half do not apply to a loaded model, and neither does precision; leave"
            " them out"
        )


@torch.no_grad()
def run(
    model: Model, request: Request, job: Job, *, weak: Model | None = None, keep: bool = True
) -> Iterator[Event]:
    """Samples a request with a prepared model; keep: False consumes the model. See `make`."""
    whole = _written_out(model, job, request)
    _check_room(model, job)
    parts = list[Tensor]()
    for rows in job.rows:
        last = rows.stop == job.rows[-1].stop
        x = yield from _ran(model, job, rows, weak, keep=keep or not last)
        parts.append(job.finish(model, x))
    yield Made(torch.cat(parts), whole, model.medium, model.spec.span, job.look)


def _check_room(model: Model, job: Job) -> None:
    """ValueError, before any step, if all samples together do not fit into memory."""
    count, free = job.rows[-1].stop - job.rows[0].start, available()
    channels, *own = model.spec.shape
    sides = (job.size, job.size) if isinstance(job.size, int) else job.size or own
    needs = 2 * 4 * count * channels * math.prod(sides)  # float32: in parts, then together
    if free is not None and needs > free:
        shape = "x".join(map(str, (channels, *sides)))
        raise ValueError(
            f"{count:,} samples of {shape} take {printable.size(needs)} of memory, but"
            f" {printable.size(free)} are free; make fewer at a time, with --count and --first"
        )


def _ran(
    model: Model, job: Job, rows: range, weak: Model | None, *, keep: bool
) -> Generator[Event, None, Tensor]:
    """Yields the Steps and returns the x of the last one; keep: False consumes the model."""
    steps = job.steps(model, rows, weak)
    if not keep and model.text is not None:
        unload(*model.text.networks)
    x: Tensor | None = None
    for event in steps:
        if isinstance(event, Step):
            x = event.x
        yield event
    assert x is not None, "a job has at least one step"
    if not keep:
        unload(model.network)
    return x


def _written_out(model: Model, job: Job, request: Request) -> Request:
    """The request with the model's defaults filled in, so that a saved file is reproducible."""
    asked = job.request.sampling
    guidance = model.spec.guidance if asked.guidance is None else asked.guidance
    whole = sampling_for(request, model)
    steps: int | None = len(chosen(model, whole).times) - 1
    if whole.sampler == OWN:  # whose grid may leave a step out that goes nowhere
        steps = model.spec.steps if whole.steps is None else whole.steps
    if named(asked).sampler == "adaptive":
        steps = None  # it chooses its own
    size = request.size
    if job.size not in (None, request.size):  # an input picture's, padded to whole latent cells
        height, width = model.spec.shape[1:]
        size = (height, width)
    sampling = replace(asked, steps=steps, guidance=guidance)
    return replace(request, size=size, sampling=sampling)
