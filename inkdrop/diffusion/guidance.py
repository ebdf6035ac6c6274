"""Guidance: from a predictor (x, t, cond) -> x_0 to a denoiser (x, t) -> x_0.

All formulas are written in x_0. For a given x_t, eps is an affine function of x_0, so a combination
whose weights sum to 1 is the same in either.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inkdrop.cond import Cond, cat
from inkdrop.diffusion.process import Process, lambdas, like, shared

# (x_t [B, ...], t [B], condition) -> x_0 [B, ...]
Predictor = Callable[[Tensor, Tensor, Cond], Tensor]
# (x_t [B, ...], t [B]) -> x_0 [B, ...]: a predictor with condition, guidance and constraints bound
Denoiser = Callable[[Tensor, Tensor], Tensor]
# (x, t) -> (x_0, fraction of the log variance between its bounds): a network with learned variance
VarianceDenoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# (x_0 with the condition, x_0 without, t [B]) -> the guided x_0
Combine = Callable[[Tensor, Tensor, Tensor], Tensor]


def bind(predict: Predictor, cond: Cond) -> Denoiser:
    """The plain conditional denoiser: one network call per step."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return predict(x, t, cond)

    return denoise


def many(
    predict: Predictor, conds: Sequence[Cond], *, batched: bool = True
) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """(x, t) -> a prediction [B, ...] for each condition.

    batched: one call with all conditions stacked, or one call after another, which takes less
    memory. ValueError for conditions of different batches.
    """
    sizes = {cond.batch for cond in conds if cond.batch is not None}
    if len(sizes) > 1:
        raise ValueError(
            f"the conditions are for {' and '.join(map(str, sorted(sizes)))} samples; give equally"
            " many"
        )
    if not batched:
        return lambda x, t: [predict(x, t, cond) for cond in conds]
    count, joined = len(conds), cat(list(conds))

    def ask(x: Tensor, t: Tensor) -> list[Tensor]:
        # expand, not cat: `shared` then still sees one time for the whole batch.
        times = t[:1].expand(count * len(t)) if shared(t) is not None else torch.cat([t] * count)
        return list(predict(torch.cat([x] * count), times, joined).chunk(count))

    return ask


def guide(
    predict: Predictor, cond: Cond, uncond: Cond, combine: Combine, *, batched: bool = True
) -> Denoiser:
    """Both predictions, combined; batched: in one call of twice the batch, not two calls.

    A negative prompt takes the place of the null condition as `uncond`.
    """
    pair = many(predict, [cond, uncond], batched=batched)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        x0, null = pair(x, t)
        return combine(x0, null, t)

    return denoise


def cfg(
    predict: Predictor, cond: Cond, uncond: Cond, scale: float, *, batched: bool = True
) -> Denoiser:
    """Classifier-free guidance, eps = eps_null + scale (eps_cond - eps_null). Ho & Salimans 2022.

    A scale of 1 is the plain conditional model and costs one evaluation; 0 is the unconditional
    one, whereas a `Sampling` takes 0 for no guidance, as other programs do.
    """
    if scale == 1:
        return bind(predict, cond)
    return guide(predict, cond, uncond, scaled(scale), batched=batched)


def scaled(scale: float) -> Combine:
    """null + scale (x_0 - null)."""
    return lambda x0, null, t: torch.lerp(null, x0, scale)


def rescaled(scale: float, share: float = 0.7) -> Combine:
    """Guidance rescaled to the conditional x_0's standard deviation. Lin et al. 2023, eq. 15-16.

    share: weight of the rescaled x_0 in the result (phi), 0 (plain guidance) to 1. The paper
    rescales v, whose mean is near 0. The mean of x_0 is not, so the rescaling is about the mean.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"rescale is {share}: it must be from 0 to 1")

    def combine(x0: Tensor, null: Tensor, t: Tensor) -> Tensor:
        guided = torch.lerp(null, x0, scale)
        flat = guided.flatten(1)
        ratio = x0.flatten(1).std(1) / flat.std(1).clamp(min=1e-8)
        mean = like(flat.mean(1), x0)
        return mean + (guided - mean) * like(1 + share * (ratio - 1), x0)

    return combine


def projected(
    scale: float, *, parallel: float = 0.0, longest: float = 0.0, momentum: float = 0.0
) -> Combine:
    """Adaptive projected guidance: the update without its component along x_0. Sadat et al. 2024.

    parallel: share of that component that is kept (eta, eq. 10); longest: upper bound on the norm
    of the update (r, eq. 8; 0: none); momentum: over the steps (beta, eq. 9; -0.75 in the paper).
    With momentum the result has state, so make a new one for every run.
    """
    last: list[Tensor] = []

    def combine(x0: Tensor, null: Tensor, t: Tensor) -> Tensor:
        update = x0 - null
        if momentum:
            if last and last[0].shape == update.shape:
                update = update + momentum * last[0]
            last[:] = [update]
        flat = update.flatten(1)
        if longest:
            norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
            flat = flat * (longest / norm.clamp(min=longest))
        towards = torch.nn.functional.normalize(x0.flatten(1), dim=1)
        along = (flat * towards).sum(1, keepdim=True) * towards
        flat = flat + (parallel - 1) * along
        return x0 + (scale - 1) * flat.view_as(x0)

    return combine


def cfgpp(process: Process, times: Tensor, scale: float) -> Combine:
    """CFG++: the guided x_0 with the eps of the null prediction. Chung et al. 2024, algorithm 2.

    scale: 0 to 1. A DDIM step from t to s with that eps equals an ordinary DDIM step with the
    guidance scale * alpha_s / (alpha_s - alpha_t sigma_s / sigma_t). That factor depends on both
    ends of a step, so the result is only valid on the grid `times`.
    """
    if not 0 <= scale <= 1:
        raise ValueError(f"guidance is {scale}: CFG++ takes a scale from 0 to 1")
    grid = times.detach().double().cpu()
    alpha = process.alpha(grid[1:])
    # coefficients(...)[1] is c_x0 = alpha_s - alpha_t sigma_s / sigma_t of a DDIM step.
    strength = (scale * alpha / process.coefficients(grid[:-1], grid[1:])[1]).tolist()
    ends = grid[1:].flip(0).tolist()

    def combine(x0: Tensor, null: Tensor, t: Tensor) -> Tensor:
        # The step that contains t: samplers also evaluate between the times of the grid.
        place = bisect_left(ends, float(t.flatten()[0]))
        return torch.lerp(null, x0, strength[len(strength) - max(place, 1)])

    return combine


def compose(
    predict: Predictor,
    conds: Sequence[Cond],
    weights: Sequence[float],
    uncond: Cond,
    *,
    batched: bool = True,
) -> Denoiser:
    """Several weighted conditions: null + sum of weight (x_0 - null). Liu et al. 2022, eq. 11.

    A negative weight steers away from a condition. ValueError unless there is one weight each.
    """
    if len(conds) != len(weights) or not conds:
        raise ValueError(
            f"there are {len(conds)} conditions and {len(weights)} weights; give at least one"
            " condition, and one weight for each"
        )

    ask = many(predict, [uncond, *conds], batched=batched)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        null, *each = ask(x, t)
        guided = null * (1 - sum(weights))
        for weight, x0 in zip(weights, each, strict=True):
            guided = guided + weight * x0
        return guided

    return denoise


def pictured(
    predict: Predictor,
    cond: Cond,
    wordless: Cond,
    null: Cond,
    scale: float,
    picture_scale: float,
    *,
    batched: bool = True,
) -> Denoiser:
    """Guidance by text and by a picture, each with its own scale. Brooks et al. 2023, eq. 3.

    cond: both; wordless: the picture alone; null: neither. One call of three times the batch.
    """
    ask = many(predict, [cond, wordless, null], batched=batched)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        both, picture, nothing = ask(x, t)
        return nothing + picture_scale * (picture - nothing) + scale * (both - picture)

    return denoise


def autoguidance(strong: Denoiser, weak: Denoiser, scale: float) -> Denoiser:
    """Guidance away from a weaker model of the same kind: weak + scale (strong - weak).

    Karras et al. 2024 (Guiding a diffusion model with a bad version of itself), eq. 3.
    """
    if scale == 1:
        return strong

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(weak(x, t), strong(x, t), scale)

    return denoise


def interval(
    process: Process, guided: Denoiser, plain: Denoiser, low: float, high: float
) -> Denoiser:
    """`guided` where low < sigma / alpha <= high, elsewhere `plain`, which needs one call only.

    Kynkaanniemi et al. 2024. In a batch of mixed times each sample is decided by its own time.
    ValueError unless 0 <= low < high.
    """
    if not 0 <= low < high:
        raise ValueError(f"the guidance interval runs from {low} to {high}: low must be below high")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        now = shared(t)
        if now is not None:
            inside = low < noise_level(process, now) <= high
            return guided(x, t) if inside else plain(x, t)
        level = (-process.logsnr(t) / 2).exp()
        within = like((low < level) & (level <= high), x) > 0
        return torch.where(within, guided(x, t), plain(x, t))

    return denoise


def noise_level(process: Process, t: float) -> float:
    """sigma / alpha at time t; infinite where alpha is 0."""
    return math.exp(-lambdas(process, (t,))[0])


def classifier(
    process: Process, denoise: Denoiser, log_probability: Denoiser, scale: float
) -> Denoiser:
    """Classifier guidance, eps - scale sigma grad log p(y | x_t). Dhariwal & Nichol 2021, eq. 14.

    log_probability: (x, t) -> log p(y | x_t) [B], differentiable in x. In terms of x_0 the gradient
    is added with the factor scale sigma^2 / alpha.
    """

    def guided(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            seen = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_probability(seen, t).sum(), seen)
        size = scale * process.sigma(t) ** 2 / process.alpha(t)
        return denoise(x, t) + like(size, x) * gradient

    return guided
