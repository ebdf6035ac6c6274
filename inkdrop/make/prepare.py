"""Preparing a request: finds the model, checks memory, applies adapters and chooses an engine."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from inkdrop import engines
from inkdrop.codecs.latent import Latent
from inkdrop.conditioning.skip import skipped
from inkdrop.config import choose
from inkdrop.convert.adapters.open import with_adapters
from inkdrop.convert.autoencoder import doubts, with_autoencoder
from inkdrop.convert.control import open_control, read_control
from inkdrop.convert.files.parts import Part, part
from inkdrop.convert.inspect.estimate import COMPUTED, Kept, Load, available, check_memory
from inkdrop.convert.inspect.headers import headers
from inkdrop.device import pick_device
from inkdrop.engines.halved import halved
from inkdrop.events import Note
from inkdrop.find import Found, find, open_with_notes
from inkdrop.folder import read_description
from inkdrop.model import Model
from inkdrop.tasks.control import controlled, read_hint
from inkdrop.tasks.job import Job
from inkdrop.tasks.plan import named
from inkdrop.tasks.request import LOADED, Request, prompts_of

MEASURED = {"network": "unet", "codec": "latent"}  # the kind of model the memory estimate is for


def check_request(request: Request) -> None:
    """ValueError, before the model is opened, for an unusable engine or a modified file."""
    if request.engine is not None:
        precision = request.precision or "float32"
        engines.check(request.engine, precision, controls=bool(request.controls))
    sampler = named(request.sampling).sampler
    if sampler == "adaptive" and request.sampling.steps is not None:
        raise ValueError(
            f"steps is {request.sampling.steps}, but the sampler 'adaptive' chooses its own; leave"
            " out --steps, or set its accuracy with --tolerance"
        )
    if request.sampling.tolerance is not None and sampler not in (None, "adaptive", "own"):
        raise ValueError(
            f"tolerance is {request.sampling.tolerance}, but only the sampler 'adaptive' takes one;"
            " leave it out"
        )
    for guide in request.controls:
        guide.check()
    for lora in request.loras:
        lora.check("LoRA", "--lora")
    for embedding in request.embeddings:
        embedding.check("embedding", "--embedding")
    if request.vae is not None:
        request.vae.check("autoencoder", "--vae")


def find_for(request: Request, *, fetch: bool = True) -> Found:
    """The request's model; ValueError if it is missing or has changed since the file was made.

    fetch: whether a model of the Hub may be fetched
    """
    if request.weights == LOADED:
        raise ValueError(
            "the file was made in Python by a loaded model, whose name it does not hold; give one"
            " with --model"
        )
    return _unchanged(request.model, request.weights, "model", "--model", fetch)


def find_weak(request: Request, *, fetch: bool = True) -> Found | None:
    """The request's weaker model, if it has one; ValueError as for the model itself."""
    if request.weak is None:
        return None
    return _unchanged(request.weak, request.weak_weights, "weaker model", "--weak", fetch)


def _unchanged(name: str, weights: str, what: str, option: str, fetch: bool) -> Found:
    """The model of this name; ValueError if it is missing or lacks this fingerprint ("": any)."""
    try:
        found = find(name, fetch=fetch)
        same = weights in ("", found.weights)
    except ValueError as error:
        if not weights:
            raise
        raise ValueError(
            f"the file was made by the {what} {name}, which was not found ({error}); give its new"
            f" path, or another model, with {option}"
        ) from None
    if not same:
        raise ValueError(
            f"the {what} {name} has changed since the file was made (weights {weights}, now"
            f" {found.weights}); to use it anyway, add {option} {name}"
        )
    return found


def prepare(
    job: Job, found: Found, device: str | None = None
) -> Generator[Note, None, tuple[Model, Request]]:
    """The model, ready for the job, and the request with the chosen engine.

    ValueError, before any weights are read, if the model does not fit into memory.
    """
    request, where = job.request, pick_device(device)
    engines.check_here(request.engine, request.precision or "float32", where)
    if where.type == "cpu" and _has_estimate(found):
        _check_memory(job, found)
    dtype = None if request.half else torch.float32
    coder = None if request.vae is None else request.vae.path
    model, notes = open_with_notes(found, device=where, dtype=dtype, autoencoder=coder)
    yield from map(Note, notes)
    model = yield from fitted(model, job)
    return (yield from _engined(model, request, _most(job)))


def fitted(model: Model, job: Job) -> Generator[Note, None, Model]:
    """A loaded model with the request's autoencoder, adapters and controls, at the job's size.

    The given model is not changed. ValueError if the model cannot do the job.
    """
    request = job.request
    if request.vae is not None:
        model = yield from _recoded(model, request.vae.path, half=request.half)
    if request.loras or request.embeddings:
        loras = [(lora.path, lora.weight) for lora in request.loras]
        embeddings = [(each.path, each.word) for each in request.embeddings]
        model = yield from with_adapters(model, loras, embeddings, prompts_of(request))
    if request.clip_skip is not None:
        text, said = skipped(model.text, request.clip_skip)
        model = replace(model, text=text)
        yield from map(Note, [said] if said else [])
    return (yield from _controlled(job.fit(model), request))


def _recoded(model: Model, path: str, *, half: bool) -> Generator[Note, None, Model]:
    """The model with the request's autoencoder."""
    own = model.codec
    model = with_autoencoder(model, path, dtype=None if half else torch.float32)
    assert isinstance(own, Latent) and isinstance(model.codec, Latent)
    said = doubts(path, model.codec, own)
    yield from map(Note, [said] if said else [])
    return model


def _most(job: Job) -> int:
    """The size of the job's largest batch."""
    return max(len(rows) for rows in job.rows)


def _has_estimate(found: Found) -> bool:
    """Whether the memory estimate applies to this model; it was fitted to latent U-Nets only."""
    if not found.own:
        return True
    parts = read_description(found.path, "model")
    kinds = [parts[name].get("kind") for name in MEASURED if isinstance(parts[name], dict)]
    return kinds == list(MEASURED.values())


def _check_memory(job: Job, found: Found) -> None:
    request = job.request
    own = request.size == job.size  # otherwise an input picture determines the size
    load = Load(
        size=job.size,
        samples=_most(job),
        kept=_kept(request),
        controls=_branches(request),
    )
    smaller = "a smaller --size" if own else "a smaller picture"
    check_memory(headers(found.path), available(), load, smaller=smaller)


def _branches(request: Request) -> list[Part]:
    """The request's control networks, read from the headers of their files."""
    paths = [guide.control.path for guide in request.controls]
    return [part("control", read_control(path).weights) for path in paths]


def _kept(request: Request) -> Kept:
    """The precision in which weights stay in memory during sampling."""
    if request.half:
        return "half"
    precision = request.precision or "float32"
    choose("precision", precision, COMPUTED)
    # OpenVINO and torch.compile work on their own copy; the original weights stay in float32.
    known = request.engine in (None, "eager", "packed")
    return cast("Kept", precision) if known else "float32"


def _controlled(model: Model, request: Request) -> Generator[Note, None, Model]:
    """The model with the request's control networks."""
    for guide in request.controls:
        network, report = open_control(guide.control.path, model)
        sizes, channels = model.spec.shape[1:], network.control.hint_channels
        hint, said = read_hint(Path(guide.hint.path), sizes, channels)
        yield from map(Note, (*report.notes, *said))
        model = controlled(model, network.to(model.device), hint, guide.control.weight)
    return model


def _engined(
    model: Model, request: Request, batch: int
) -> Generator[Note, None, tuple[Model, Request]]:
    """The model on the requested or default engine, and the request with that engine's name.

    batch: the largest number of samples computed at a time
    """
    if request.half:
        return halved(model), request
    precision = request.precision or (engines.quick(model) if request.fast else "float32")
    exact = cast(engines.Precision, precision)
    name = request.engine or engines.usual(model, exact)
    if name == "eager" and precision == "float32":
        return model, request
    # Guidance computes the conditional and the unconditional call in one batch of twice the size.
    model = engines.prepare(model, name, precision=exact, batch=2 * batch)
    yield Note(f"engine: {name}, {precision}")
    return model, replace(request, engine=name, precision=precision)
