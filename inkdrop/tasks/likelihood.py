"""Likelihood: how many bits a model needs for data, by its probability-flow ODE."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from inkdrop.diffusion.guidance import bind
from inkdrop.diffusion.ode_likelihood import Likelihood, ode_likelihood
from inkdrop.model import Condition, Model


def likelihood(
    model: Model,
    data: Tensor,
    *,
    conditions: Sequence[Condition] | None = None,
    steps: int = 32,
    probes: int = 4,
    seed: int = 0,
) -> Likelihood:
    """Bits per dimension of 8-bit data [B, C, *spatial] in [-1, 1]: `ode_likelihood`.

    The network is asked as it was trained, without guidance and without the clip, whose kinks have
    no derivative. conditions: of each sample; None is the null condition.
    """
    if tuple(data.shape[1:]) != tuple(model.spec.shape):
        raise ValueError(
            f"the data are {tuple(data.shape[1:])} each and the model makes {model.spec.shape}"
        )
    if model.codec.module is not None:
        raise ValueError("bits of pixels need a model of pixels; this one makes latents")
    cond = model.null(len(data)) if conditions is None else model.condition(list(conditions))
    return ode_likelihood(
        model.process,
        bind(model.denoise, cond),
        data.to(model.device),
        steps=steps,
        probes=probes,
        seed=seed,
    )
