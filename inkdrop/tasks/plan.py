"""What a Sampling comes to for a model: a sampler, its grid of times, and the run of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import ABOUT, Sampler, Step, best, canonical, sampler
from inkdrop.diffusion.samplers.adaptive import adaptive
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.diffusion.times import grid
from inkdrop.model import Model
from inkdrop.networks.reuse import Deep
from inkdrop.tasks.sampling import DEFAULT, Sampling

# The noise levels sigma / alpha within which guidance matters: above it takes variety away, below
# it changes what is hardly seen (Kynkaanniemi et al. 2024, who found these for SDXL).
GUIDED = (0.28, 5.42)
# As near to real pictures as 50 steps of PNDM on two models (benchmarks/quality/equal.py).
FEW = 12


def faster(model: Model, sampling: Sampling = DEFAULT, *, weak: bool = False) -> Sampling:
    """The same with fewer evaluations, hardly to be told in quality (benchmarks/RESULTS.md).

    Guidance, and its second evaluation, at the noise levels where it matters; of a U-Net the deep
    features are computed every other call; at most 12 steps. What was asked for by itself stays as
    it is, and where guidance costs nothing or is another's nothing of it changes.
    """
    spec, usual = model.spec, sampling.rule == "cfg"
    guided = usual and spec.condition_drop > 0 and not spec.told_guidance
    guided = guided and sampling.interval is None and not weak
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


@torch.no_grad()
def ungraded(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps, computed without gradients whoever asks for them."""
    yield from steps
