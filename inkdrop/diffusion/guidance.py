"""Guidance: from a predictor (x, t, cond) -> x_0 to a denoiser (x, t) -> x_0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inkdrop.cond import Cond, cat
from inkdrop.diffusion.process import shared

Predictor = Callable[[Tensor, Tensor, Cond], Tensor]
Denoiser = Callable[[Tensor, Tensor], Tensor]
# (x, t) -> (x_0, fraction of the log variance between its bounds): a network that says its variance
VarianceDenoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def bind(predict: Predictor, cond: Cond) -> Denoiser:
    """The plain conditional denoiser: one network call a step."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return predict(x, t, cond)

    return denoise


def cfg(
    predict: Predictor, cond: Cond, uncond: Cond, scale: float, *, batched: bool = True
) -> Denoiser:
    """Classifier-free guidance, eps = eps_null + scale (eps_cond - eps_null). Ho & Salimans 2022.

    Written in x_0, which is affine in eps at a given x_t, so the same combination. `batched` makes
    one call of twice the batch; two calls need less memory. A scale of 1 is the plain conditional
    model and costs one evaluation.
    """
    if scale == 1:
        return bind(predict, cond)

    both = cat([cond, uncond])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if batched:
            one = shared(t) is not None
            times = t[:1].expand(2 * len(t)) if one else torch.cat([t, t])
            x0, null = predict(torch.cat([x, x]), times, both).chunk(2)
        else:
            x0, null = predict(x, t, cond), predict(x, t, uncond)
        return torch.lerp(null, x0, scale)

    return denoise
