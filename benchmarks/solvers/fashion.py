"""Samplers on the committed Fashion-MNIST model, in rounds that eliminate the worst early.

Class-conditional (label i % 10), guidance 1, float32, with x_0 clipped for all solvers. The error
is the root mean square distance, for pixels in [-1, 1], to the converged ODE solution of the same
clipped denoiser from the same noise. Only deterministic solvers take part. Equivalent solvers (by
their errors on a mixture) are run once, and tolerance-controlled ones are left out.

    all                         4 noises at 10 calls
    the best 30 of each library 16 noises at 10 calls
    the best 15 of each library 4 noises at every other number of calls
    the best 5 of each side     64 noises at every other number of calls, 256 at 10
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import places
from benchmarks.solvers.cases import PROCESSES, Solver, denoiser, distances, mixture, run
from benchmarks.solvers.ours import ours, walk
from benchmarks.solvers.peers import peers
from benchmarks.solvers.store import Store
from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.guidance import Denoiser, bind
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.samplers import best
from inkdrop.diffusion.times import grid
from inkdrop.model import Model

FOLDER = places.MODELS / "fashion"
STORE = Store(places.RESULTS / "solvers_fashion.json")
WORK = places.WORK / "solvers"
NOISES, CHUNK = 256, 64
# With 200 steps the solution is off by 0.011 (mean) with any method: they undersample the network's
# response to its fastest time feature, which has a period of 6.3 entries. 800 steps differ by
# only 0.0003.
FINE = 400
PROCESS = PROCESSES["cosine"]

Sides = dict[str, dict[str, Solver]]


def noises(seed: int = 0, n: int = NOISES) -> Tensor:
    """Unit noise [n, 1, 28, 28]; seed 0 is for measuring, others are for tuning."""
    return torch.randn(n, 1, 28, 28, generator=generator(seed, "solvers", "fashion"))


def fashion_denoiser(model: Model, start: int = 0) -> Denoiser:
    """The model with label i % 10 for noise i, clipped, in chunks small enough for the CPU cache.

    start: the index of the first row's noise
    """
    chunks: dict[tuple[int, int], Denoiser] = {}

    def part(first: int, rows: int) -> Denoiser:
        if (first, rows) not in chunks:
            numbers = range(start + first, start + first + rows)
            labels: list[str | int] = [i % 10 for i in numbers]
            chunks[first, rows] = clip(bind(model.denoise, model.condition(labels)))
        return chunks[first, rows]

    @torch.no_grad()
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat(
            [
                part(i * CHUNK, len(rows))(rows.float(), t[:1].expand(len(rows)))
                for i, rows in enumerate(torch.split(x, CHUNK))
            ]
        ).to(x.dtype)

    return denoise


def converged(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """The ODE's solution by a second-order method, uniform in log-SNR."""
    return walk("dpmpp_2m", grid(PROCESS, "logsnr", steps), {}, PROCESS, denoise, noise)


def reference(n: int) -> Tensor:
    """The converged solutions for the first n noises, cached in parts of CHUNK."""
    parts = []
    for first in range(0, n, CHUNK):
        path = WORK / f"reference-{FINE}-{first}.safetensors"
        if not path.exists():
            WORK.mkdir(parents=True, exist_ok=True)
            denoise = fashion_denoiser(Model.load(FOLDER), first)
            save_file({"x": converged(denoise, noises()[first : first + CHUNK], FINE)}, path)
        parts.append(load_file(path)["x"])
    return torch.cat(parts)[:n]


def check_reference(denoise: Denoiser, n: int = 8) -> None:
    """Compares the reference with half and twice the steps and with Heun's method, on n noises."""
    if STORE.get("reference"):
        return
    few, end = noises()[:n], reference(n)
    heun = walk("heun", grid(PROCESS, "logsnr", FINE), {}, PROCESS, denoise, few)
    others = {
        "half the steps": converged(denoise, few, FINE // 2),
        "twice the steps": converged(denoise, few, 2 * FINE),
        "heun": heun,
    }
    check = {name: distances(other, end) for name, other in others.items()}
    STORE.keep("reference", value={"noises": n, **check})


def distinct() -> Sides:
    """Deterministic solvers by library and name, without equivalent ones."""
    of = mixture(2)
    denoise = denoiser(of, PROCESS)
    noise = torch.randn(32, 2, generator=generator(1, "distinct"), dtype=torch.float64)
    sides: Sides = {"inkdrop": {}, "diffusers": {}, "k-diffusion": {}}
    seen: set[tuple[str, str]] = set()
    for solver in (*ours(PROCESS, fresh=False), *peers(PROCESS, fresh=False)):
        side = solver.family.split()[0] if " " in solver.family else "inkdrop"
        side = side if side in sides else "inkdrop"
        if solver.by_tolerance:
            continue
        try:
            x = run(solver, PROCESS, denoise, noise, 10)
        except Exception:  # fails at 10 calls, so it does not take part
            continue
        size = math.nan if x is None else float(x.double().square().mean())
        key = (side, f"{size:.8g}")
        if math.isfinite(size) and key not in seen:
            seen.add(key)
            sides[side][solver.name] = solver
    return sides


def group(n: int) -> str:
    """The results key of errors on n noises; it keeps those against different references apart."""
    return f"{n} noises, reference of {FINE} steps"


class Race:
    """Errors of solvers on the first n noises; each is measured once and stored."""

    def __init__(self) -> None:
        self.denoise = fashion_denoiser(Model.load(FOLDER))

    def errors(self, solvers: Iterable[Solver], n: int, budget: int) -> dict[str, float]:
        """Root mean square error of each solver by name, best first, without those that fail."""
        rows = (group(n), f"{budget} calls")
        known: dict[str, list[float] | None] = STORE.get(*rows) or {}
        names = []
        for solver in solvers:
            names.append(solver.name)
            if solver.name not in known:
                known[solver.name] = self._errors(solver, n, budget)
                STORE.keep(*rows, value=known)
        measured = {name: found[0] for name in names if (found := known[name])}
        return dict(sorted(measured.items(), key=lambda row: row[1]))

    def _errors(self, solver: Solver, n: int, budget: int) -> list[float] | None:
        try:
            x = run(solver, PROCESS, self.denoise, noises()[:n], budget)
        except Exception as error:  # third-party code
            print(f"{solver.name}: {type(error).__name__} {error}", flush=True)
            return None
        if x is None or not bool(x.isfinite().all()):
            return None
        return [float(f"{error:.4g}") for error in distances(x, reference(n))]


def best_of(named: dict[str, Solver], found: dict[str, float], most: int) -> dict[str, Solver]:
    """The few solvers with the smallest errors."""
    return {name: named[name] for name in list(found)[:most]}


def ahead(race: Race, sides: Sides, n: int, budget: int, most: int = 5) -> list[Solver]:
    """The best few of ours, the best few of both other libraries together, and our default."""
    mine = best_of(sides["inkdrop"], race.errors(sides["inkdrop"].values(), n, budget), most)
    others = sides["diffusers"] | sides["k-diffusion"]
    theirs = best_of(others, race.errors(others.values(), n, budget), most)
    default = " ".join(best(PROCESS))
    kept = {name: solver for name, solver in sides["inkdrop"].items() if name == default}
    return [*(mine | theirs | kept).values()]


def fashion() -> None:
    """Runs all rounds; resumes where it stopped."""
    began = time.time()

    def said(what: str) -> None:
        print(f"{what}: {(time.time() - began) / 60:.1f} min", flush=True)

    race, sides = Race(), distinct()
    said(", ".join(f"{len(named)} {side}" for side, named in sides.items()))
    for n, most in ((4, 30), (16, 15)):
        default = {
            name: s for name, s in sides["inkdrop"].items() if name == " ".join(best(PROCESS))
        }
        sides = {
            side: best_of(named, race.errors(named.values(), n, 10), most)
            for side, named in sides.items()
        }
        sides["inkdrop"] |= default
        said(f"{n} noises at 10 calls")
    check_reference(race.denoise)
    for budget in (10, 20, 5, 8, 15, 50):
        race.errors(ahead(race, sides, 16 if budget == 10 else 4, budget), 64, budget)
        said(f"64 noises at {budget} calls")
    race.errors(ahead(race, sides, 16, 10), NOISES, 10)
    said("256 noises at 10 calls")
