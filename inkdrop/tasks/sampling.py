"""How to sample: what was asked, and the sampler, grid and denoiser that it comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.config import choose
from inkdrop.diffusion.constraints import clip, threshold
from inkdrop.diffusion.guidance import (
    Combine,
    Denoiser,
    Predictor,
    VarianceDenoiser,
    autoguidance,
    bind,
    cfgpp,
    compose,
    guide,
    interval,
    pictured,
    projected,
    rescaled,
    scaled,
)
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import ABOUT, Sampler, Step, best, canonical, sampler
from inkdrop.diffusion.samplers.adaptive import adaptive
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.diffusion.times import grid
from inkdrop.model import Condition, Model
from inkdrop.networks.reuse import Deep, Reused

RULES = ("cfg", "apg", "cfg++")


@dataclass(frozen=True)
class Sampling:
    """How to sample; None means the model's own default, or what was measured best.

    sampler, grid, steps: with none of the first two, a grid tuned for these steps is used if the
        model has one; grid "tuned" asks for it
    eta: None is the sampler's own; tolerance: of the adaptive sampler
    guidance: its scale; 1 is the plain conditional model, unless the network is told it
    rule: how the two predictions combine: cfg, apg (adaptive projected) or cfg++ (scale from 0 to
        1)
    rescale: share of the spread's correction, 0 to 1; interval: the noise levels sigma / alpha
        (low, high] within which to guide, plain elsewhere
    negative: a label to guide away from instead of from null; also: more labels, each with its
        weight, for every sample; weak: a worse model to guide away from instead (autoguidance)
    beside: what the network is told beside x [samples, C, *spatial], of a model that is told a
        picture; picture_guidance: its scale, where training left the picture out at times
    threshold: clip x_0 at this quantile of each sample instead of at 1
    batched: guidance in one call of twice the batch (two calls need less memory)
    reuse: compute the network's deep features every so many calls only; 1 is always
    """

    sampler: str | None = None
    grid: str | None = None
    steps: int | None = None
    eta: float | None = None
    tolerance: float | None = None
    guidance: float | None = None
    rule: str = "cfg"
    rescale: float = 0.0
    interval: tuple[float, float] | None = None
    negative: Condition | None = None
    also: tuple[tuple[Condition, float], ...] = ()
    weak: Model | None = None
    beside: Tensor | None = None
    picture_guidance: float | None = None
    threshold: float | None = None
    batched: bool = True
    reuse: int = 1

    def __post_init__(self) -> None:
        choose("guidance rule", self.rule, dict.fromkeys(RULES))
        if self.reuse < 1:
            raise ValueError(f"reuse is {self.reuse}: features are computed every 1 or more calls")
        for name in ("guidance", "picture_guidance"):
            scale = getattr(self, name)
            if scale is not None and not math.isfinite(scale):
                raise ValueError(f"{name} is {scale}: it must be a number, such as 3")
        ways = {
            f"rule {self.rule!r}": self.rule != "cfg",
            "rescale": bool(self.rescale),
            "weak": self.weak is not None,
            "also": bool(self.also),
            "picture_guidance": self.picture_guidance is not None,
        }
        chosen = [name for name, used in ways.items() if used]
        if len(chosen) > 1:
            raise ValueError(
                f"{chosen[0]} and {chosen[1]} are two ways to guide; choose one of them"
            )


DEFAULT = Sampling()

# The noise levels sigma / alpha within which guidance matters: above it takes variety away, below
# it changes what is hardly seen (Kynkaanniemi et al. 2024, who found these for SDXL).
GUIDED = (0.28, 5.42)
# As near to real pictures as 50 steps of PNDM on two models (benchmarks/quality/equal.py).
FEW = 12


def faster(model: Model, sampling: Sampling = DEFAULT) -> Sampling:
    """The same with fewer evaluations, hardly to be told in quality (benchmarks/RESULTS.md).

    Guidance, and its second evaluation, at the noise levels where it matters; of a U-Net the deep
    features are computed every other call; at most 12 steps. What was asked for by itself stays as
    it is, and where guidance costs nothing or is another's nothing of it changes.
    """
    spec, usual = model.spec, sampling.rule == "cfg" and sampling.weak is None
    guided = usual and spec.condition_drop > 0 and not spec.told_guidance
    guided = guided and sampling.interval is None
    reuse = 2 if sampling.reuse == 1 and isinstance(model.network, Deep) else sampling.reuse
    steps = min(spec.steps, FEW) if sampling.steps is None else sampling.steps
    between = GUIDED if guided else sampling.interval
    return replace(sampling, interval=between, reuse=reuse, steps=steps)


class Plan(NamedTuple):
    """What a sampling comes to: a sampler's name, its grid [steps + 1], and weights if fitted."""

    sampler: str
    times: Tensor
    weights: tuple[tuple[float, ...], ...] = ()

    @property
    def run(self) -> Sampler:
        """The sampler itself."""
        return fitted(self.weights) if self.weights else sampler(self.sampler)


def chosen(model: Model, sampling: Sampling = DEFAULT) -> Plan:
    """The sampler and the grid: asked for, tuned for this model, or measured best."""
    spec = model.spec
    steps = spec.steps if sampling.steps is None else sampling.steps
    model.process.check_steps(steps)
    name, spacing = sampling.sampler, sampling.grid
    if name is not None:
        name = canonical(name)
    kept = [tuned for tuned in spec.tuned if tuned.steps == steps]
    if spacing == "tuned" or (name is None and spacing is None):
        if kept:
            found = torch.tensor(kept[0].times, dtype=torch.float64)
            if name in (None, kept[0].sampler):
                return Plan(kept[0].sampler, found, kept[0].weights)
            assert name is not None
            return Plan(_enough(name, steps), found)
        if spacing == "tuned":
            known = ", ".join(str(t.steps) for t in spec.tuned) or "none yet"
            raise ValueError(
                f"this model has no grid tuned for {steps} steps (tuned: {known}); make one with"
                f" `inkdrop tune RUN --steps {steps}`"
            )
    default, even = best(model.process)
    name = canonical(name or spec.sampler or default)
    if ABOUT[name].calls > 1:
        even = "logsnr"  # what looks ahead in a step breaks where the step leaps in log-SNR
    times = grid(model.process, spacing or spec.grid or even, steps)
    return Plan(_enough(name, steps), times)


def _enough(name: str, steps: int) -> str:
    about = ABOUT[canonical(name)]
    if steps < about.least:
        raise ValueError(
            f"steps is {steps}: {name} needs at least {about.least}; use ddim for fewer"
        )
    return name


def times(model: Model, sampling: Sampling = DEFAULT) -> Tensor:
    """The grid that `sampling` comes to: float64 [steps + 1]."""
    return chosen(model, sampling).times


def draws(model: Model, sampling: Sampling = DEFAULT) -> bool:
    """True if the run draws fresh noise on the way."""
    plan = chosen(model, sampling)
    return bool(sampling.eta) or (not plan.weights and ABOUT[canonical(plan.sampler)].fresh)


def start(model: Model, noise: SeededNoise, on: Tensor) -> Tensor:
    """The state at the grid's first time when no data is known: noise of its spread."""
    return noise.initial() * float(model.process.sigma(on[:1]))


def walk(
    model: Model, denoise: Denoiser, noise: SeededNoise, x: Tensor, on: Tensor, sampling: Sampling
) -> Iterator[Step]:
    """Runs the sampler that `sampling` comes to from x at times on[0]; the steps as they come."""
    run = chosen(model, sampling).run
    if sampling.tolerance is not None:
        if run is not adaptive:
            raise ValueError(
                f"tolerance is {sampling.tolerance}, which only the sampler 'adaptive' takes"
            )
        run = partial(adaptive, tolerance=sampling.tolerance)
    if sampling.eta is None:
        return run(model.process, denoise, x, on, noise=noise)
    return run(model.process, denoise, x, on, eta=sampling.eta, noise=noise)


def denoiser(
    model: Model, conditions: Sequence[Condition] | None, batch: int, sampling: Sampling = DEFAULT
) -> Denoiser:
    """(x, t) -> x_0 with the condition, its guidance and the limits of pixels bound, for one run.

    For the sampler ddpm_learned it also says the variance.
    """
    if sampling.reuse > 1:
        network = Reused(model.network, sampling.reuse)
        model = replace(model, network=network)
    if chosen(model, sampling).sampler == "ddpm_learned":
        return _with_variance(model, conditions, batch, sampling)
    return _limited(model, _guided(model, model.denoise, conditions, batch, sampling), sampling)


def _limited(model: Model, denoise: Denoiser, sampling: Sampling) -> Denoiser:
    if sampling.threshold is not None:
        return threshold(denoise, sampling.threshold)
    return clip(denoise) if model.spec.clip else denoise


def _with_variance(
    model: Model, conditions: Sequence[Condition] | None, batch: int, sampling: Sampling
) -> Denoiser:
    if not model.spec.learned_variance:
        raise ValueError(
            "the sampler 'ddpm_learned' needs a network that says its variance, and this one was"
            " trained without; use ddpm, or train with --loss hybrid"
        )
    said: list[Tensor] = []

    def predict(x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        x0, fraction = model.predict(x, t, cond)
        assert fraction is not None
        said.append(fraction)
        return x0

    denoise = _limited(model, _guided(model, predict, conditions, batch, sampling), sampling)

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        said.clear()
        x0 = denoise(x, t)
        return x0, said[0][: len(x)]  # the conditional one comes first in every rule

    learned: VarianceDenoiser = both
    return cast(Denoiser, learned)


def _guided(
    model: Model,
    predict: Predictor,
    conditions: Sequence[Condition] | None,
    batch: int,
    sampling: Sampling,
) -> Denoiser:
    if model.spec.told_guidance:
        return _told_guidance(model, predict, conditions, batch, sampling)
    if conditions is None:
        _nothing_to_guide(model, sampling)
        return bind(predict, _told(model, None, batch, sampling))
    scale = model.spec.guidance if sampling.guidance is None else sampling.guidance
    if sampling.rule == "cfg++" and sampling.guidance is None:
        scale = 0.6
    cond = _told(model, conditions, batch, sampling)
    plain = bind(predict, cond)
    if sampling.weak is not None:
        guided = _away_from(model, plain, conditions, scale, sampling)
    elif sampling.picture_guidance is not None:
        guided = _by_picture(model, predict, cond, batch, scale, sampling)
    elif scale == 1 and sampling.rule != "cfg++" and not sampling.also:
        return plain
    else:
        guided = _classifier_free(model, predict, cond, batch, scale, sampling)
    if sampling.interval is None:
        return guided
    return interval(model.process, guided, plain, *sampling.interval)


def _told_guidance(
    model: Model,
    predict: Predictor,
    conditions: Sequence[Condition] | None,
    batch: int,
    sampling: Sampling,
) -> Denoiser:
    """The plain denoiser of a network that is told its guidance: one call a step. Meng et al. 2023.

    ValueError for what has to be computed from two.
    """
    for name, value in _ways(sampling).items():
        if value is not None:
            raise ValueError(
                f"{name} is {value}, but this model is told its guidance and has none computed;"
                " leave it out"
            )
    scale = model.spec.guidance if sampling.guidance is None else sampling.guidance
    cond = _told(model, conditions, batch, sampling)
    strength = torch.full((batch,), scale, device=model.device)
    return bind(predict, replace(cond, guidance=strength))


def _classifier_free(
    model: Model, predict: Predictor, cond: Cond, batch: int, scale: float, sampling: Sampling
) -> Denoiser:
    uncond = _uncond(model, batch, sampling)
    if model.spec.condition_drop == 0 and (sampling.negative is None or sampling.also):
        raise ValueError(
            f"guidance is {scale}, but this model was trained with condition drop 0 and knows"
            " no null condition; use guidance 1 or train with --condition-drop 0.1"
        )
    if sampling.also:
        others = (_told(model, [name] * batch, batch, sampling) for name, _ in sampling.also)
        conds = [cond, *others]
        weights = [scale, *(weight for _, weight in sampling.also)]
        return compose(predict, conds, weights, uncond, batched=sampling.batched)
    return guide(predict, cond, uncond, _combine(model, scale, sampling), batched=sampling.batched)


def _told(model: Model, names: Sequence[Condition] | None, batch: int, sampling: Sampling) -> Cond:
    """What the network is told: these conditions or none, and what stands beside x."""
    cond = model.null(batch) if names is None else model.condition(list(names))
    return cond if sampling.beside is None else replace(cond, concat=sampling.beside)


def _uncond(model: Model, batch: int, sampling: Sampling) -> Cond:
    negative = sampling.negative
    return _told(model, None if negative is None else [negative] * batch, batch, sampling)


def _by_picture(
    model: Model, predict: Predictor, cond: Cond, batch: int, scale: float, sampling: Sampling
) -> Denoiser:
    wordless = _uncond(model, batch, sampling)
    if wordless.concat is None or sampling.picture_guidance is None:
        raise ValueError("picture guidance needs a model that is told a picture, and the picture")
    null = replace(wordless, concat=torch.zeros_like(wordless.concat))
    return pictured(
        predict, cond, wordless, null, scale, sampling.picture_guidance, batched=sampling.batched
    )


def _combine(model: Model, scale: float, sampling: Sampling) -> Combine:
    if sampling.rule == "apg":
        return projected(scale)
    if sampling.rule == "cfg++":
        return cfgpp(model.process, times(model, sampling), scale)
    return rescaled(scale, sampling.rescale) if sampling.rescale else scaled(scale)


def _away_from(
    model: Model,
    plain: Denoiser,
    conditions: Sequence[Condition],
    scale: float,
    sampling: Sampling,
) -> Denoiser:
    weak = sampling.weak
    assert weak is not None
    if weak.process != model.process or weak.shape != model.shape:
        raise ValueError(
            "the weak model has another process or makes another shape; autoguidance needs a"
            " worse model of the same kind, such as an earlier checkpoint"
        )
    cond = _told(weak, conditions, len(conditions), sampling)
    return autoguidance(plain, bind(weak.denoise, cond), scale)


def _ways(sampling: Sampling) -> dict[str, object]:
    """What is asked of a guidance that is computed, beside its scale; None where nothing is."""
    return {
        "negative": sampling.negative,
        "also": sampling.also or None,
        "weak": sampling.weak and "given",
        "rescale": sampling.rescale or None,
        "picture guidance": sampling.picture_guidance,
        "rule": None if sampling.rule == "cfg" else sampling.rule,
        "interval": sampling.interval,
    }


def _nothing_to_guide(model: Model, sampling: Sampling) -> None:
    scale = None if sampling.guidance in (None, 1.0) else sampling.guidance
    for name, value in {"guidance": scale, **_ways(sampling)}.items():
        if value is not None:
            reason = "give it a label" if model.spec.labels else "this model has no condition"
            raise ValueError(f"{name} is {value}, but there is nothing to guide towards: {reason}")
    if model.spec.labels and model.spec.condition_drop == 0:
        raise ValueError(
            "this model was trained with every condition given (condition drop 0) and cannot"
            " sample without a label; give one"
        )
