"""Likelihood: bits per dimension of data under a model, by the probability-flow ODE."""

from __future__ import annotations

from torch import Tensor

from inkdrop.conditions import per_sample
from inkdrop.diffusion.guidance import bind
from inkdrop.diffusion.ode_likelihood import Likelihood, ode_likelihood
from inkdrop.limits import check_seed
from inkdrop.model import Conditions, Model


def likelihood(
    model: Model,
    data: Tensor,
    *,
    conditions: Conditions | None = None,
    steps: int = 32,
    probes: int = 4,
    seed: int = 0,
) -> Likelihood:
    """Bits per dimension of 8-bit data [B, C, *spatial] in [-1, 1]; see `ode_likelihood`.

    The network runs as trained: without guidance, and without the clip, which is not smooth.
    conditions: one for all samples, or one for each; None is the null condition. ValueError for a
    latent model, or for data of another shape.
    """
    check_seed(seed)
    if tuple(data.shape[1:]) != tuple(model.spec.shape):
        raise ValueError(
            f"samples of the data are {tuple(data.shape[1:])}, but the model makes"
            f" {model.spec.shape}; resize them"
        )
    if model.codec.module is not None:
        raise ValueError("likelihood needs a model of pixels, and this one makes latents")
    asked = per_sample(conditions, len(data))
    cond = model.null(len(data)) if asked is None else model.condition(asked)
    return ode_likelihood(
        model.process,
        bind(model.denoise, cond),
        data.to(model.device),
        steps=steps,
        probes=probes,
        seed=seed,
    )
