"""The quality of the committed Fashion-MNIST model, measured with the judge.

    python -m benchmarks.training.time_to_quality ours    15 minutes of default settings
    python -m benchmarks.quality.fashion keep benchmarks/work/ours/at-15    in half precision
    python -m benchmarks.quality.fashion measure    agreement and Frechet distances
    python -m benchmarks.quality.fashion draw       docs/pictures/fashion.png

`measure` computes the class agreement of 1,000 samples at guidance 3 (DDIM-50). It also computes
the Frechet distance of as many samples at guidance 1, for DDIM at 10, 20, 50 and 100 steps and DDPM
at 1000, and of as many real test pictures for comparison. It resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import fashion_mnist, places
from benchmarks.quality.judge import floor, load_judge, reference
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import TrainConfig
from inkdrop.train.precision import autocast

FOLDER = places.MODELS / "fashion"
RESULTS = places.RESULTS / "fashion_quality.json"
ROWS = {
    "DDIM-10": Sampling(sampler="ddim", grid="uniform", steps=10, guidance=1.0),
    "DDIM-20": Sampling(sampler="ddim", grid="uniform", steps=20, guidance=1.0),
    "DDIM-50": Sampling(sampler="ddim", grid="uniform", steps=50, guidance=1.0),
    "DDIM-100": Sampling(sampler="ddim", grid="uniform", steps=100, guidance=1.0),
    "DDPM-1000": Sampling(sampler="ddpm", grid="uniform", steps=1000, guidance=1.0),
}


def keep(run: Path, folder: Path = FOLDER) -> None:
    """Copies the model of a run or folder, in half precision and with full class names."""
    model, _ = own_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    description = json.loads((model / "model.json").read_text())
    description["spec"]["labels"] = list(fashion_mnist.NAMES)
    (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    weights = {
        name: value.half() for name, value in load_file(model / "network.safetensors").items()
    }
    save_file(weights, folder / "network.safetensors")
    print(folder, sum(f.stat().st_size for f in folder.iterdir()) / 1e6, "MB")


def pictures(model: Model, n: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """n samples with balanced classes, and the requested classes."""
    label = torch.arange(n) % 10
    # bfloat16 in the network if the CPU supports it: all rows are comparable, at half the time
    with autocast(TrainConfig(), torch.device("cpu")):
        x = generate_many(
            model, seed=0, count=n, conditions=label.tolist(), batch=100, sampling=sampling
        )
    return x, label


def measure(data: Path, n: int) -> None:
    """Adds the missing rows of the results, one by one."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    judge, model = load_judge(), Model.load(FOLDER)
    real = reference("train", judge=judge, data=data)
    if "agreement" not in results:
        x, label = pictures(
            model, 1000, Sampling(sampler="ddim", grid="uniform", steps=50, guidance=3.0)
        )
        results["agreement"] = float((judge.classify(x) == label).float().mean())
        _write(results)
    if "floor" not in results:
        results["samples"], results["floor"] = n, floor(n, judge=judge, data=data)
        _write(results)
    for name, sampling in ROWS.items():
        if name not in results:
            x, _ = pictures(model, n, sampling)
            results[name] = frechet_distance(fit(judge.features(x)), real)
            _write(results)


def _write(results: dict[str, float]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(list(results.items())[-1], flush=True)


def draw() -> None:
    """Draws eight samples of every class at guidance 2."""
    ask = Sampling(steps=50, guidance=2.0)
    x, _ = pictures(Model.load(FOLDER), 80, ask)
    target = places.PICTURES / "fashion.png"
    save_image(sheet(x, columns=10, scale=2), target)
    print(target)


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("keep").add_argument("run", type=Path)
    measured = commands.add_parser("measure")
    fashion_mnist.add_data_option(measured)
    measured.add_argument("--samples", type=int, default=500)
    commands.add_parser("draw")
    args = parser.parse_args()
    if args.command == "keep":
        keep(args.run)
    elif args.command == "measure":
        measure(args.data, args.samples)
    else:
        draw()


if __name__ == "__main__":
    main()
