"""Engines: ways to compute a network. All keep its signature, so a `Model` works with any."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast, get_args

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
    "check_here",
    "example",
    "fastest",
    "prepare",
    "quick",
    "usual",
]

# The fastest first, as measured for large networks (benchmarks/RESULTS.md). "compiled" comes after
# eager, and so is never chosen automatically, because compiling takes minutes.
ENGINES: Mapping[str, Engine] = {
    "packed": PACKED,
    "openvino": OPENVINO,
    "eager": EAGER,
    "compiled": COMPILED,
}


def fastest(model: Model, precision: Precision = "float32") -> str:
    """The name of the fastest engine for this model on this machine; ValueError if none can."""
    for name, engine in ENGINES.items():
        if precision in engine.precisions and _can(engine, model, precision):
            return name
    raise ValueError(
        f"no engine on this machine computes this model in {precision}; use float32, which eager"
        " always supports"
    )


# From this many weights on, setting up an engine pays off within a few pictures.
LARGE = 200_000_000


def usual(model: Model, precision: Precision = "float32") -> str:
    """The default engine for a model: the fastest for a large network, eager for a small one.

    With eager everywhere, pictures of small models are the same to the bit on all machines. For a
    precision that eager lacks it is the fastest engine that has it.
    """
    large = sum(weight.numel() for weight in model.network.parameters()) >= LARGE
    plain = precision in ENGINES["eager"].precisions
    return "eager" if plain and not large else fastest(model, precision)


def quick(model: Model) -> Precision:
    """The precision for quick pictures: bfloat16 for a large network where that is fast."""
    name = usual(model)
    fast = name != "eager" and not ENGINES["eager"].lacks(model.network, model.device, "bfloat16")
    return "bfloat16" if fast else "float32"


def check_here(engine: str | None, precision: str, device: torch.device) -> None:
    """ValueError if this engine, or without a name every engine, lacks a precision on this machine.

    To be called before a model is opened.
    """
    exact = cast(Precision, choose("precision", precision, dict.fromkeys(get_args(Precision))))
    chosen = dict(ENGINES) if engine is None else {engine: check(engine, precision)}
    lacking = {
        name: each.lacks(torch.nn.Identity(), device, exact)
        for name, each in chosen.items()
        if precision in each.precisions
    }
    if all(why is not None for why in lacking.values()):
        name, why = next(iter(lacking.items()))
        raise ValueError(f"the engine {name} cannot compute in {precision} here: {why}")


def about(device: torch.device) -> dict[str, str]:
    """A description of each engine, or the reason why it cannot be used on this machine."""
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

    This may consume the network of the given model, so use only the returned model. ValueError if
    the engine does not exist or cannot compute this model on this machine.
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
    """The engine called `engine`; ValueError for a precision or control networks it lacks.

    controls: whether control networks will be used
    """
    chosen = choose("engine", engine, ENGINES)
    if precision not in chosen.precisions:
        raise ValueError(
            f"precision is {precision!r}, but the engine {engine} supports"
            f" {' or '.join(chosen.precisions)}"
        )
    if controls and not chosen.controls:
        able = " or ".join(name for name, other in ENGINES.items() if other.controls)
        raise ValueError(
            f"the engine {engine} does not support control networks; use the engine {able}, or"
            " leave out --control"
        )
    return chosen


def _can(engine: Engine, model: Model, precision: Precision) -> bool:
    beyond = isinstance(model.network, Controlled) and not engine.controls
    return not beyond and engine.lacks(model.network, model.device, precision) is None


def _prepare_decoder(model: Model, engine: Engine, precision: Precision) -> None:
    """Prepare the decoder, in place; float32 would gain no speed, and int8 degrade pictures."""
    if isinstance(model.codec, Latent) and isinstance(model.codec.autoencoder, Autoencoder):
        coder, z = model.codec.autoencoder, torch.zeros(1, *model.shape, device=model.device)
        coder.requires_grad_(False)
        coder.decoder = cast(Decoder, engine.prepare(coder.decoder, (z,), precision))


@torch.no_grad()
def example(model: Model, batch: int) -> Call:
    """An example call of `batch` samples, as in sampling with the null condition."""
    cond: Cond = model.null(batch)
    network = model.network.network if isinstance(model.network, Controlled) else model.network
    beside = getattr(getattr(network, "config", None), "concat_channels", 0)
    if beside and cond.concat is None:
        told = torch.zeros(batch, beside, *model.shape[1:], device=model.device)
        cond = dataclasses.replace(cond, concat=told)
    x = torch.zeros(batch, *model.shape, device=model.device)
    return Call(x, torch.ones(batch, device=model.device), cond)
