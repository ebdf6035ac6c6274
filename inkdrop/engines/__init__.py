"""Engines: who computes a network. All have its signature, so a `Model` never knows which it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

import torch

from inkdrop.codecs.latent import Latent
from inkdrop.cond import Cond
from inkdrop.config import choose
from inkdrop.engines.compiled import COMPILED
from inkdrop.engines.eager import EAGER
from inkdrop.engines.engine import Call, Engine, Precision
from inkdrop.engines.openvino import OPENVINO
from inkdrop.engines.packed import PACKED
from inkdrop.model import Model
from inkdrop.networks.autoencoder import Autoencoder, Decoder
from inkdrop.networks.control import Controlled

__all__ = [
    "ENGINES",
    "Call",
    "Engine",
    "Precision",
    "about",
    "check",
    "example",
    "fastest",
    "prepare",
    "quick",
    "usual",
]

# The fastest first, as measured for large networks (benchmarks/RESULTS.md).
# Compiling takes minutes, so it is for those who ask for it.
ENGINES: Mapping[str, Engine] = {
    "packed": PACKED,
    "openvino": OPENVINO,
    "eager": EAGER,
    "compiled": COMPILED,
}


def fastest(model: Model, precision: Precision = "float32") -> str:
    """The name of the fastest engine that can compute this model here."""
    for name, engine in ENGINES.items():
        if precision in engine.precisions and _can(engine, model, precision):
            return name
    raise ValueError(
        f"no engine here computes this model in {precision}; use float32, which eager always does"
    )


# From so many weights on it pays to set an engine up for a few pictures.
LARGE = 200_000_000


def usual(model: Model, precision: Precision = "float32") -> str:
    """The engine for a model of which nobody says one: the fastest for large networks.

    Small ones are left as they are, so that pictures are the same to the bit on all machines alike.
    """
    large = sum(weight.numel() for weight in model.network.parameters()) >= LARGE
    return fastest(model, precision) if large else "eager"


def quick(model: Model) -> Precision:
    """The precision of a quick picture: bfloat16 for a large network where that is fast."""
    name = usual(model)
    fast = name != "eager" and not ENGINES["eager"].lacks(model.network, model.device, "bfloat16")
    return "bfloat16" if fast else "float32"


def about(device: torch.device) -> dict[str, str]:
    """What each engine is for, with why it cannot be used here where that is so."""
    found = dict[str, str]()
    for name, engine in ENGINES.items():
        why = engine.lacks(torch.nn.Identity(), device, engine.precisions[0])
        precisions = ", ".join(
            p for p in engine.precisions if not engine.lacks(torch.nn.Identity(), device, p)
        )
        found[name] = f"{engine.about} ({precisions})" if why is None else f"not here: {why}"
    return found


def prepare(
    model: Model, engine: str, *, precision: Precision = "float32", batch: int = 2
) -> Model:
    """The model with its network computed by an engine, for calls of about `batch` samples.

    The network of the given model may be used up: only the returned one is to be used.
    ValueError if the engine does not exist or cannot compute this model here.
    """
    chosen = check(engine, precision, controls=isinstance(model.network, Controlled))
    why = chosen.lacks(model.network, model.device, precision)
    if why is not None:
        raise ValueError(f"the engine {engine} cannot compute this model: {why}")
    network = chosen.prepare(model.network, example(model, batch), precision)
    if chosen.decodes and precision == "bfloat16":
        _prepare_decoder(model, chosen, precision)
    return dataclasses.replace(model, network=network)


def check(engine: str, precision: str, *, controls: bool = False) -> Engine:
    """The engine of a name; ValueError for what it computes for no model.

    controls: there are to be control networks beside the model's own
    """
    chosen = choose("engine", engine, ENGINES)
    if precision not in chosen.precisions:
        raise ValueError(
            f"precision is {precision!r}, but the engine {engine} computes in"
            f" {' or '.join(chosen.precisions)}"
        )
    if controls and not chosen.controls:
        able = " or ".join(name for name, other in ENGINES.items() if other.controls)
        raise ValueError(
            f"the engine {engine} computes no control networks yet; use the engine {able}, or leave"
            " out --control"
        )
    return chosen


def _can(engine: Engine, model: Model, precision: Precision) -> bool:
    beyond = isinstance(model.network, Controlled) and not engine.controls
    return not beyond and engine.lacks(model.network, model.device, precision) is None


def _prepare_decoder(model: Model, engine: Engine, precision: Precision) -> None:
    """The decoder too; in float32 it is as fast without, and in int8 its pictures would suffer."""
    if isinstance(model.codec, Latent) and isinstance(model.codec.autoencoder, Autoencoder):
        coder, z = model.codec.autoencoder, torch.zeros(1, *model.shape, device=model.device)
        coder.requires_grad_(False)
        coder.decoder = cast(Decoder, engine.prepare(coder.decoder, (z,), precision))


@torch.no_grad()
def example(model: Model, batch: int) -> Call:
    """A call of `batch` samples, as sampling with the empty condition makes it."""
    cond: Cond = model.null(batch)
    network = model.network.network if isinstance(model.network, Controlled) else model.network
    beside = getattr(getattr(network, "config", None), "concat_channels", 0)
    if beside and cond.concat is None:
        told = torch.zeros(batch, beside, *model.shape[1:], device=model.device)
        cond = dataclasses.replace(cond, concat=told)
    x = torch.zeros(batch, *model.shape, device=model.device)
    return Call(x, torch.ones(batch, device=model.device), cond)
