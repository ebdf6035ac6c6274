"""Samplers on the committed Fashion-MNIST model, in rounds that drop the hopeless early.

Class-conditional (label i % 10), guidance 1, float32, x_0 clipped for everyone alike. The error is
the root mean square distance, in the pictures' range of [-1, 1], to the end of the converged ODE of
that clipped denoiser from the same noise. Only deterministic solvers; those that do the same as
another (by their errors on a mixture) are asked once, and those steered by a tolerance not at all.

    all                 8 noises at 10 calls
    the best 50         of each library, 32 noises at 10 calls, and 8 noises at every other number
    the best 12         of each side, 256 noises at 10 calls
    the best 5          of each side, 64 noises at every other number of calls
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from solver_cases import BUDGETS, PROCESSES, Solver, denoiser, distance, mixture, run
from solver_ours import ours, walk
from solver_peers import peers
from solver_store import Store
from torch import Tensor

from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.guidance import Denoiser, bind
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.times import grid
from inkdrop.model import Model

HERE = Path(__file__).parent
FOLDER = HERE / "models" / "fashion"
STORE = Store(HERE / "results" / "solvers_fashion.json")
WORK = HERE / "work" / "solvers"
NOISES, CHUNK, FINE = 256, 64, 200
PROCESS = PROCESSES["cosine"]

Sides = dict[str, dict[str, Solver]]


def noises(seed: int = 0, n: int = NOISES) -> Tensor:
    """Unit noise [n, 1, 28, 28]; seed 0 is measured, others are for tuning."""
    return torch.randn(n, 1, 28, 28, generator=generator(seed, "solvers", "fashion"))


def fashion_denoiser(model: Model) -> Denoiser:
    """The model with label i % 10 for row i, clipped, in chunks that stay in the cache."""
    chunks: dict[tuple[int, int], Denoiser] = {}

    def part(first: int, rows: int) -> Denoiser:
        if (first, rows) not in chunks:
            labels: list[str | int] = [i % 10 for i in range(first, first + rows)]
            chunks[first, rows] = clip(bind(model.denoise, model.label(labels)))
        return chunks[first, rows]

    @torch.no_grad()
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat(
            [
                part(i * CHUNK, len(rows))(rows.float(), t[:1].expand(len(rows)))
                for i, rows in enumerate(x.split(CHUNK))
            ]
        ).to(x.dtype)

    return denoise


def converged(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """The end of the ODE by a second-order method, even in log-SNR."""
    return walk("dpmpp_2m", grid(PROCESS, "logsnr", steps), {}, PROCESS, denoise, noise)


def reference(denoise: Denoiser) -> Tensor:
    """The converged ends of all noises; how far half the steps and Heun's are is kept."""
    path = WORK / "reference.safetensors"
    if not path.exists():
        few = noises()[:16]
        end = converged(denoise, few, FINE)
        half = distance(converged(denoise, few, FINE // 2), end)
        other = walk("heun", grid(PROCESS, "logsnr", FINE), {}, PROCESS, denoise, few)
        check = {"half the steps": half, "heun": distance(other, end), "noises": len(few)}
        STORE.keep("reference", value=check)
        print(check, flush=True)
        WORK.mkdir(parents=True, exist_ok=True)
        save_file({"x": converged(denoise, noises(), FINE)}, path)
    return load_file(path)["x"]


def distinct() -> Sides:
    """Deterministic solvers by library and name, without those that do the same as another."""
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
        except Exception:  # breaks at 10 calls: not in the race
            continue
        size = math.nan if x is None else float(x.double().square().mean())
        key = (side, f"{size:.8g}")
        if math.isfinite(size) and key not in seen:
            seen.add(key)
            sides[side][solver.name] = solver
    return sides


class Race:
    """Errors of solvers on the first n noises, each measured once and kept."""

    def __init__(self) -> None:
        self.denoise = fashion_denoiser(Model.load(FOLDER))
        self.noise, self.truth = noises(), reference(self.denoise)

    def errors(self, solvers: Iterable[Solver], n: int, budget: int) -> dict[str, float]:
        """Error of each solver by name, the best first; those that break are left out."""
        known = STORE.get(f"{n} noises", f"{budget} calls") or {}
        names = []
        for solver in solvers:
            names.append(solver.name)
            if solver.name in known:
                continue
            known[solver.name] = self._error(solver, n, budget)
            STORE.keep(f"{n} noises", f"{budget} calls", value=known)
        measured = {name: known[name] for name in names if known[name] is not None}
        return dict(sorted(measured.items(), key=lambda row: row[1]))

    def _error(self, solver: Solver, n: int, budget: int) -> float | None:
        try:
            x = run(solver, PROCESS, self.denoise, self.noise[:n], budget)
        except Exception as error:  # other people's code
            print(f"{solver.name}: {type(error).__name__} {error}", flush=True)
            return None
        found = math.nan if x is None else distance(x, self.truth[:n])
        return float(f"{found:.4g}") if math.isfinite(found) else None


def best_of(named: dict[str, Solver], found: dict[str, float], most: int) -> dict[str, Solver]:
    """The best few by their errors."""
    return {name: named[name] for name in list(found)[:most] if name in named}


def fashion() -> None:
    """All rounds; goes on where it stopped."""
    began = time.time()

    def said(what: str) -> None:
        print(f"{what}: {(time.time() - began) / 60:.1f} min", flush=True)

    race, sides = Race(), distinct()
    said("reference, and " + ", ".join(f"{len(named)} {side}" for side, named in sides.items()))
    sides = {
        side: best_of(named, race.errors(named.values(), 8, 10), 50)
        for side, named in sides.items()
    }
    said("all, 8 noises at 10 calls")
    first: dict[str, dict[str, float]] = {
        side: race.errors(named.values(), 32, 10) for side, named in sides.items()
    }
    said("32 noises at 10 calls")
    best = {side: best_of(sides[side], found, 12) for side, found in first.items()}
    theirs = sorted(
        (error, name)
        for side in ("diffusers", "k-diffusion")
        for name, error in first[side].items()
    )[:12]
    peers_of = sides["diffusers"] | sides["k-diffusion"]
    ahead = [*best["inkdrop"].values(), *(peers_of[name] for _, name in theirs)]
    race.errors(ahead, NOISES, 10)
    said("256 noises at 10 calls")
    for budget in BUDGETS:
        if budget == 10:
            continue
        few = {side: race.errors(named.values(), 8, budget) for side, named in sides.items()}
        said(f"8 noises at {budget} calls")
        peers_few = dict(
            sorted((few["diffusers"] | few["k-diffusion"]).items(), key=lambda row: row[1])
        )
        mine, other = list(few["inkdrop"])[:5], list(peers_few)[:5]
        race.errors([(sides["inkdrop"] | peers_of)[name] for name in (*mine, *other)], 64, budget)
        said(f"64 noises at {budget} calls")
