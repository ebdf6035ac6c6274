"""Time to quality: Frechet distance on Fashion-MNIST against minutes of training on two cores.

    python -m benchmarks.training.time_to_quality all-peers   both of the next two
    python -m benchmarks.training.time_to_quality pilots      each peer, 5 minutes at three rates
    python -m benchmarks.training.time_to_quality peer        the better peer for 30 minutes
    python -m benchmarks.training.time_to_quality ours        inkdrop on the same clock
    python -m benchmarks.training.time_to_quality draw        the curves as a picture

The clock: minutes are process CPU time divided by two threads, and only training updates count, not
loading, evaluation or saving. On an idle machine that is close to wall time; on a shared machine it
excludes the other processes. Idle threads sleep instead of spinning (OMP_WAIT_POLICY=passive), so
waiting does not count as work. The wall time of the same updates is recorded too.

A stopped run resumes from its last checkpoint in --work.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read once, when torch loads its OpenMP

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import fashion_mnist, places
from benchmarks.quality.judge import load_judge, reference
from benchmarks.training import chart, our_run
from benchmarks.training.clock import THREADS
from benchmarks.training.peer_run import BATCH, Plan, Run, averaged, held_out, sample, train
from benchmarks.training.peers import PEERS
from inkdrop.evaluate.frechet import Gaussian, fit, frechet_distance
from inkdrop.model import Model

RATES = (1e-4, 3e-4, 1e-3)
PILOT = 5.0
SNAPSHOTS = (2.5, 5.0, 10.0, 15.0, 20.0, 30.0)
OUR_SNAPSHOTS = (2.5, 5.0, 10.0, 15.0)
RESULTS = places.RESULTS / "time_to_quality.json"


class Examiner:
    """Compares pictures with the real training set, using the judge."""

    def __init__(self, data: Path) -> None:
        self.judge = load_judge()
        self.real: Gaussian = reference("train", judge=self.judge, data=data)
        self.data = data

    def marks(self, x: Tensor, label: Tensor) -> dict[str, float]:
        """Frechet distance to the real pictures, and the share in the requested class."""
        distance = frechet_distance(fit(self.judge.features(x)), self.real)
        agreement = float((self.judge.classify(x) == label).float().mean())
        return {"frechet": round(distance, 4), "agreement": round(agreement, 4)}

    def floor(self, n: int) -> float:
        """Frechet distance of n real test pictures to the real training set."""
        real = reference("test", n, judge=self.judge, data=self.data)
        return round(frechet_distance(real, self.real), 4)


def load_results(path: Path) -> dict[str, Any]:
    """The results so far."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return results


def save_results(path: Path, results: dict[str, Any]) -> None:
    """Writes the results to a temporary file, and then replaces the old ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(results, indent=2) + "\n")
    beside.replace(path)


def pilots(args: argparse.Namespace) -> None:
    """Trains each peer for five minutes at each rate; picks the best rates, then the better peer.

    Losses are comparable between rates of one peer, but not between peers. The peers are therefore
    compared by the Frechet distance of their best pilots, each on the better of two usual grids.
    """
    results = load_results(args.results)
    done: dict[str, Any] = results.setdefault("pilots", {})
    for name in PEERS:
        for rate in RATES:
            if f"{name} {rate:g}" not in done:
                done[f"{name} {rate:g}"] = _pilot(args, name, rate)
                print(name, rate, done[f"{name} {rate:g}"], flush=True)
                save_results(args.results, results)
    examiner = Examiner(args.data)
    best: dict[str, Any] = results.setdefault("best_pilots", {})
    for name in PEERS:
        if name not in best:
            rate = min(RATES, key=lambda rate: done[f"{name} {rate:g}"]["held_out_loss"])
            best[name] = {"rate": rate, **_mark_pilot(args, examiner, name, rate)}
            print(name, best[name], flush=True)
            save_results(args.results, results)
    name = min(best, key=lambda name: min(best[name]["frechet"].values()))
    grids = best[name]["frechet"]
    chosen = {"peer": name, "rate": best[name]["rate"], "grid": min(grids, key=grids.get)}
    results["chosen"] = chosen
    save_results(args.results, results)
    print("chosen:", chosen, flush=True)


def _pilot_run(args: argparse.Namespace, name: str, rate: float) -> Run:
    plan = Plan(name, rate, PILOT * args.scale, ())
    return train(plan, args.work / f"pilot-{name}-{rate:g}", args.data)


def _pilot(args: argparse.Namespace, name: str, rate: float) -> dict[str, float]:
    run = _pilot_run(args, name, rate)
    cost = _cost(run.step, run.clock.minutes, run.clock.wall / 60)
    return {**cost, "held_out_loss": round(held_out(run, args.data), 5)}


def _mark_pilot(
    args: argparse.Namespace, examiner: Examiner, name: str, rate: float
) -> dict[str, dict[str, float]]:
    run = _pilot_run(args, name, rate)
    with averaged(run):
        marks = {
            kind: examiner.marks(*sample(run.peer, args.pilot_samples, kind))
            for kind in ("trailing", "linspace")
        }
    return {
        "frechet": {kind: mark["frechet"] for kind, mark in marks.items()},
        "agreement": {kind: mark["agreement"] for kind, mark in marks.items()},
    }


def _cost(step: int, minutes: float, wall: float, batch: int = BATCH) -> dict[str, float]:
    return {
        "minutes": round(minutes, 3),
        "wall_minutes": round(wall, 3),
        "updates": step,
        "images_per_second": round(step * batch / (60 * minutes), 1),
    }


def peer(args: argparse.Namespace) -> None:
    """Runs the long training of the better peer, and then evaluates its snapshots."""
    results = load_results(args.results)
    if "chosen" not in results:
        raise SystemExit(
            "no pilots yet; run `python -m benchmarks.training.time_to_quality pilots` first."
        )
    chosen = results["chosen"]
    moments = [m * args.scale for m in SNAPSHOTS]
    plan = Plan(chosen["peer"], chosen["rate"], moments[-1], moments)
    run = train(plan, args.work / f"long-{plan.peer}", args.data)
    parameters = sum(p.numel() for p in run.network.parameters())
    examiner = Examiner(args.data)
    results["setting"] = {
        "samples": args.samples, "sampler": "DDIM-50", "batch": BATCH, "threads": THREADS,
        "parameters": parameters, "floor": examiner.floor(args.samples),
    }  # fmt: skip
    curve: list[dict[str, float]] = results.setdefault("peer", [])
    for moment in moments[len(curve) :]:
        kept = torch.load(run.folder / f"{moment:g}.pt")
        with averaged(run, kept["ema"]):
            marks = examiner.marks(*sample(run.peer, args.samples, chosen["grid"]))
        cost = _cost(kept["step"], kept["minutes"], kept["wall_minutes"])
        curve.append({"asked_minutes": moment, **cost, **marks})
        print(curve[-1], flush=True)
        save_results(args.results, results)


def ours(args: argparse.Namespace) -> None:
    """Runs inkdrop with its default settings, for half the peer's minutes on the same clock."""
    moments = [m * args.scale for m in OUR_SNAPSHOTS]
    run = our_run.train(args.work / "ours", args.data, moments[-1], moments)
    results = load_results(args.results)
    examiner = Examiner(args.data)
    curve: list[dict[str, float]] = results.setdefault("ours", [])
    for moment in moments[len(curve) :]:
        kept = json.loads((run.folder / f"at-{moment:g}.json").read_text())
        model = Model.load(run.folder / f"at-{moment:g}")
        marks = examiner.marks(*our_run.sample(model, args.samples))
        cost = _cost(kept["step"], kept["minutes"], kept["wall_minutes"], run.config.batch)
        curve.append({"asked_minutes": moment, **cost, **marks})
        print(curve[-1], flush=True)
        save_results(args.results, results)


def all_peers(args: argparse.Namespace) -> None:
    """Runs the pilots, and then the long training."""
    pilots(args)
    peer(args)


def draw(args: argparse.Namespace) -> None:
    """Draws the curves next to the results."""
    results = load_results(args.results)
    curves = {}
    if results.get("peer"):
        curves[results["chosen"]["peer"]] = [(p["minutes"], p["frechet"]) for p in results["peer"]]
    if results.get("ours"):
        curves["inkdrop"] = [(p["minutes"], p["frechet"]) for p in results["ours"]]
    if not curves:
        raise SystemExit(f"{args.results} holds no curve yet; run `peer` or `ours` first.")
    chart.draw(curves, floor=results["setting"]["floor"], path=args.results.with_suffix(".png"))


COMMANDS = {"pilots": pilots, "peer": peer, "all-peers": all_peers, "ours": ours, "draw": draw}


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    fashion_mnist.add_data_option(parser)
    parser.add_argument("--work", type=Path, default=places.WORK, help="checkpoints, resumable")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--samples", type=int, default=500, help="pictures for a mark")
    parser.add_argument("--pilot-samples", type=int, default=300)
    parser.add_argument("--scale", type=float, default=1.0, help="of all minutes, for a trial")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
