"""inkdrop's samplers and grids behind the interface of `cases.Solver`."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from benchmarks.solvers.cases import BrownianPath, Solver
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ABOUT, SAMPLERS
from inkdrop.diffusion.times import GRIDS, grid

NUMBERED = (
    *("karras:3", "karras:5", "karras:10", "beta:0.8", "share:0.6", "share:0.7", "share:0.85"),
    *("shift:0.5", "shift:2", "shift:5"),
)
# Left out: other names of ddim and ddpm, the sampler for learned variances (these models have
# none), and the adaptive one, which has its own entry below.
ASIDE = ("euler", "euler_a", "ddpm_learned", "adaptive")


def grids_for(process: Process) -> list[str]:
    """Our grids that work with the process."""
    found = []
    for name in (*GRIDS, *NUMBERED):
        try:
            grid(process, name, 5)
        except ValueError:
            continue
        found.append(name)
    return found


def our_sample(
    name: str,
    on: str,
    options: dict[str, float],
    process: Process,
    denoise: Denoiser,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """Samples with one of our samplers on one of our grids."""
    times = grid(process, on, steps)
    return walk(name, times, options, process, denoise, noise)


def walk(
    name: str,
    times: Tensor,
    options: dict[str, float],
    process: Process,
    denoise: Denoiser,
    noise: Tensor,
) -> Tensor:
    """Samples from unit noise with one of our samplers, over the given times."""
    x = noise * float(process.sigma(times[:1]))
    path = BrownianPath(process, tuple(noise.shape)) if ABOUT[name].fresh else None
    for step in SAMPLERS[name](process, denoise, x, times, noise=path, **options):
        x = step.x
    return x


def our_adaptive(process: Process, denoise: Denoiser, noise: Tensor, fine: int) -> Tensor:
    """The adaptive sampler; its tolerance falls as `fine` rises. Only the grid's ends matter."""
    times = grid(process, "logsnr", 20)
    return walk("adaptive", times, {"tolerance": 10 ** (-fine / 4)}, process, denoise, noise)


def ours(process: Process, *, fresh: bool) -> list[Solver]:
    """Every one of our samplers on every grid."""
    asked: list[tuple[str, str, dict[str, float]]] = [
        (name, name, {}) for name in SAMPLERS if name not in ASIDE and ABOUT[name].fresh == fresh
    ]
    if not fresh:
        asked.append(("sa_solver eta=0", "sa_solver", {"eta": 0.0}))
    solvers = [
        Solver(family, f"{family} {on}", fresh, partial(our_sample, name, on, options))
        for family, name, options in asked
        for on in grids_for(process)
    ]
    if not fresh:
        solvers.append(Solver("adaptive", "adaptive", fresh, our_adaptive, by_tolerance=True))
    return solvers
