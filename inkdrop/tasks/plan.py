"""From a Sampling to a run: the sampler and the grid of times for a given model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.names import Called, grid_called
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import (
    ABOUT,
    Sampler,
    Step,
    best,
    canonical,
    sampler,
    understood,
)
from inkdrop.diffusion.samplers.adaptive import adaptive
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.diffusion.times import check_grid, grid
from inkdrop.model import Model
from inkdrop.networks.reuse import Deep
from inkdrop.tasks.sampling import DEFAULT, Sampling

# Noise levels sigma / alpha between which guidance matters: above them it reduces variety, below
# them it has hardly any visible effect (Kynkaanniemi et al. 2024, who found these for SDXL).
GUIDED = (0.28, 5.42)
TUNED = "tuned"  # the grid that was fitted to a model
OWN = "own"  # the sampler and grid of the scheduler that came with a model
# 12 steps come as close to real pictures as 50 of PNDM on two models (benchmarks/quality/equal.py).
FEW = 12


def faster(model: Model, sampling: Sampling = DEFAULT, *, weak: bool = False) -> Sampling:
    """The same sampling with fewer evaluations, at nearly equal quality (benchmarks/RESULTS.md).

    At most 12 steps; guidance only at the noise levels GUIDED, which saves its second evaluation
    elsewhere; a U-Net's deep features only every other call. Explicit settings are kept. Guidance
    is left alone if it is not plain classifier-free guidance.
    """
    spec, usual = model.spec, sampling.rule == "cfg"
    guided = usual and spec.condition_drop > 0 and not spec.told_guidance
    guided = guided and sampling.interval is None and not weak
    guided = guided and sampling.strength(spec.guidance) != 1
    reuse = 2 if sampling.reuse == 1 and isinstance(model.network, Deep) else sampling.reuse
    steps = min(spec.steps, FEW) if sampling.steps is None else sampling.steps
    between = GUIDED if guided else sampling.interval
    return replace(sampling, interval=between, reuse=reuse, steps=steps)


class Plan(NamedTuple):
    """A sampler's name, its grid of times [steps + 1], and its weights if it is "fitted"."""

    sampler: str
    times: Tensor
    weights: tuple[tuple[float, ...], ...] = ()

    @property
    def run(self) -> Sampler:
        """The sampler itself."""
        return fitted(self.weights) if self.weights else sampler(self.sampler)


def chosen(model: Model, sampling: Sampling = DEFAULT) -> Plan:
    """The sampler and grid: as requested, else tuned for this model, else the best measured.

    The sampler "own" is the scheduler that came with the model. ValueError for too few steps,
    unknown names, or a grid "tuned" that this model does not have.
    """
    spec = model.spec
    steps = spec.steps if sampling.steps is None else sampling.steps
    model.process.check_steps(steps)
    name, spacing = named(sampling)
    if name == OWN:
        return _own(model, spacing, steps)
    kept = [tuned for tuned in spec.tuned if tuned.steps == steps]
    if spacing == TUNED or (name is None and spacing is None):
        if kept:
            found = torch.tensor(kept[0].times, dtype=torch.float64)
            if name in (None, kept[0].sampler):
                return Plan(kept[0].sampler, found, kept[0].weights)
            assert name is not None
            return Plan(_enough(name, steps), found)
        if spacing == TUNED:
            known = ", ".join(str(t.steps) for t in spec.tuned) or "none yet"
            raise ValueError(
                f"this model has no grid tuned for {steps} steps (tuned: {known}); make one with"
                f" `inkdrop tune RUN --steps {steps}`"
            )
    default, even = best(model.process)
    name = canonical(name or spec.sampler or default)
    if ABOUT[name].calls > 1:
        even = "logsnr"  # a sampler that looks ahead fails if a step jumps far in log-SNR
    times = grid(model.process, spacing or spec.grid or even, steps)
    return Plan(_enough(name, steps), times)


def named(sampling: Sampling) -> Called:
    """The sampler and the grid that are asked for, in any program's words; "own" stays.

    A grid that is given by itself counts more than one in the sampler's name. ValueError for
    unknown names.
    """
    sampler = sampling.sampler
    found = Called(None)
    if sampler is not None:
        found = Called(OWN) if sampler.lower() == OWN else understood(sampler)
    given = found.grid if sampling.grid is None else grid_called(sampling.grid)
    if given is not None and given != TUNED:
        check_grid(given)
    return Called(found.sampler, given)


def _own(model: Model, spacing: str | None, steps: int) -> Plan:
    """The scheduler that came with a model, on its own grid unless another is asked for."""
    own = model.spec.own
    if own is None:
        raise ValueError(
            "this model came without a scheduler, so there is no sampler 'own'; leave --sampler"
            " out, or choose one of `inkdrop samplers`"
        )
    if own.sampler is None:
        raise ValueError(
            f"the sampler 'own' is {own.scheduler} for this model, which is not followed here:"
            f" {own.missing}; leave --sampler out, or choose one of `inkdrop samplers`"
        )
    name = _enough(own.sampler, steps)
    if spacing is not None:
        return Plan(name, grid(model.process, spacing, steps))
    assert isinstance(model.process, Discrete)  # `Spec.own` comes with a table
    return Plan(name, own.spacing.times(model.process, steps))


def _enough(name: str, steps: int) -> str:
    about = ABOUT[canonical(name)]
    if steps < about.least:
        raise ValueError(
            f"steps is {steps}: {name} needs at least {about.least}; use ddim for fewer"
        )
    return name


def times(model: Model, sampling: Sampling = DEFAULT) -> Tensor:
    """The grid for this sampling: float64 [steps + 1], falling to 0."""
    return chosen(model, sampling).times


def draws(model: Model, sampling: Sampling = DEFAULT) -> bool:
    """True if the run draws fresh noise during its steps."""
    plan = chosen(model, sampling)
    return bool(sampling.eta) or (not plan.weights and ABOUT[canonical(plan.sampler)].fresh)


def start(model: Model, noise: SeededNoise, on: Tensor) -> Tensor:
    """The initial state: noise scaled to the sigma of the grid's first time."""
    return noise.initial() * float(model.process.sigma(on[:1]))


def walk(
    model: Model, denoise: Denoiser, noise: SeededNoise, x: Tensor, on: Tensor, sampling: Sampling
) -> Iterator[Step]:
    """Runs the sampler of `sampling` from x at time on[0] and yields its Steps.

    on: a grid as `times` makes it. ValueError for a tolerance with another sampler than adaptive.
    """
    run = chosen(model, sampling).run
    if sampling.tolerance is not None:
        if run is not adaptive:
            raise ValueError(
                f"tolerance is {sampling.tolerance}, but only the sampler 'adaptive' takes one;"
                " leave it out"
            )
        run = partial(adaptive, tolerance=sampling.tolerance)
    if sampling.eta is None:
        return run(model.process, denoise, x, on, noise=noise)
    return run(model.process, denoise, x, on, eta=sampling.eta, noise=noise)


@torch.no_grad()
def ungraded(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps, computed without gradients in any calling context."""
    yield from steps
