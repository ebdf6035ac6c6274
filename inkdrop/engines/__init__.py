"""Engines: who computes a network. All have its signature, so a `Model` never knows which it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from inkdrop.cond import Cond
from inkdrop.config import choose
from inkdrop.engines.eager import EAGER
from inkdrop.engines.engine import Call, Engine, Precision
from inkdrop.model import Model

__all__ = ["ENGINES", "Call", "Engine", "Precision", "example", "fastest", "prepare"]

# The fastest first, as measured for large networks (benchmarks/RESULTS.md).
ENGINES: Mapping[str, Engine] = {"eager": EAGER}


def fastest(model: Model, precision: Precision = "float32") -> str:
    """The name of the fastest engine that can compute this model here."""
    for name, engine in ENGINES.items():
        if precision in engine.precisions and not engine.lacks(
            model.network, model.device, precision
        ):
            return name
    raise ValueError(
        f"no engine here computes this model in {precision}; use float32, which eager always does"
    )


def prepare(
    model: Model, engine: str, *, precision: Precision = "float32", batch: int = 2
) -> Model:
    """The model with its network computed by an engine, for calls of about `batch` samples.

    The network of the given model may be used up: only the returned one is to be used.
    ValueError if the engine does not exist or cannot compute this model here.
    """
    chosen = choose("engine", engine, ENGINES)
    if precision not in chosen.precisions:
        raise ValueError(
            f"precision is {precision!r}, but the engine {engine} computes in"
            f" {' or '.join(chosen.precisions)}"
        )
    why = chosen.lacks(model.network, model.device, precision)
    if why is not None:
        raise ValueError(f"the engine {engine} cannot compute this model: {why}")
    network = chosen.prepare(model.network, example(model, batch), precision)
    return dataclasses.replace(model, network=network)


def example(model: Model, batch: int) -> Call:
    """A call of `batch` samples, as sampling with the empty condition makes it."""
    cond: Cond = model.null(batch)
    x = torch.zeros(batch, *model.shape, device=model.device)
    return Call(x, torch.ones(batch, device=model.device), cond)
