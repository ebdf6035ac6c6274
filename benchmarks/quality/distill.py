"""Students of the Fashion-MNIST model with 4 calls and 1 call, compared with their teacher.

    python -m benchmarks.quality.distill train 4   the 4-call student; the same command resumes
    python -m benchmarks.quality.distill train 1   the 1-call student, distilled from the former
    python -m benchmarks.quality.distill keep      benchmarks/models/fashion_4, in half precision
    python -m benchmarks.quality.distill measure   Frechet distances of 500 samples at guidance 1
    python -m benchmarks.quality.distill draw      docs/pictures/distill.png

`measure` resumes where it stopped and skips students that do not exist yet.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from benchmarks import fashion_mnist, places
from benchmarks.quality.fashion import FOLDER, keep, pictures
from benchmarks.quality.judge import load_judge, reference
from inkdrop.data.open import open_data
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.files import replacing
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.distill import distill
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.config import DISTILL_TRAINING
from inkdrop.train.events import Validated
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

KEPT = places.MODELS / "fashion_4"
RESULTS = places.RESULTS / "distill.json"
PICTURE = places.PICTURES / "distill.png"

RUNS = {4: places.WORK / "distill-4", 1: places.WORK / "distill-1"}
# With one step, a few outliers dominate a squared error; pseudo-Huber did better in pilot runs.
PLANS = {4: DistillConfig(steps=4), 1: DistillConfig(steps=1, metric="huber")}
TRAININGS = {4: replace(DISTILL_TRAINING, updates=600), 1: replace(DISTILL_TRAINING, updates=400)}
TEACHER = {
    "teacher DDIM-50": Sampling(sampler="ddim", grid="uniform", steps=50, guidance=1.0),
    "teacher DDIM-4": Sampling(sampler="ddim", grid="uniform", steps=4, guidance=1.0),
    "teacher DPM-Solver++(2M)-4": Sampling(
        sampler="dpmpp_2m", grid="logsnr", steps=4, guidance=1.0
    ),
    "teacher DDIM-1": Sampling(sampler="ddim", grid="uniform", steps=1, guidance=1.0),
}


def train(calls: int, data: Path) -> None:
    """Trains one student, on one thread; a stopped run resumes."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    taught = own_folder(RUNS[4])[0] if RUNS[4].is_dir() else KEPT
    folder = FOLDER if calls == 4 else taught
    began = time.monotonic()
    events = distill(
        Model.load(folder), open_data(data), RUNS[calls], PLANS[calls],
        TrainRequest(TRAININGS[calls]), name="fashion", world=World(device=torch.device("cpu")),
    )  # fmt: skip
    for event in events:
        if isinstance(event, Validated):
            print(event, f"{time.monotonic() - began:.0f} s", flush=True)
        elif isinstance(event, Update) and event.index % 20 == 0:
            print(event.index, f"{event.loss:.5f}", flush=True)


def students() -> dict[int, Model]:
    """The students that exist, by number of calls: 4 (from its run or as kept) and 1."""
    found = {calls: Model.load(own_folder(run)[0]) for calls, run in RUNS.items() if run.is_dir()}
    if 4 not in found and KEPT.is_dir():
        found[4] = Model.load(KEPT)
    return found


def measure(data: Path, n: int) -> None:
    """Adds the missing rows of the results, one by one."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    judge, teacher = load_judge(), Model.load(FOLDER)
    real = reference("train", judge=judge, data=data)
    rows = {name: (teacher, sampling) for name, sampling in TEACHER.items()}
    for calls, model in students().items():
        rows[f"student {calls}"] = (model, Sampling())
    for name, (model, sampling) in rows.items():
        if name in results:
            continue
        x, label = pictures(model, n, sampling)
        results[name] = {
            "frechet": frechet_distance(fit(judge.features(x)), real),
            "agreement": float((judge.classify(x) == label).float().mean()),
        }
        print(name, results[name], flush=True)
        with replacing(RESULTS) as beside:
            beside.write_text(json.dumps({**results, "samples": n}, indent=2) + "\n")


def draw() -> None:
    """Draws a row of ten classes for the teacher and for each student, from the same noise."""
    teacher, there = Model.load(FOLDER), students()
    rows = {
        "teacher, 50 calls": (teacher, TEACHER["teacher DDIM-50"]),
        "teacher, 4 calls": (teacher, TEACHER["teacher DDIM-4"]),
        "student, 4 calls": (there[4], Sampling()),
    }
    if 1 in there:
        rows["student, 1 call"] = (there[1], Sampling())
    strips = [sheet(pictures(m, 20, how)[0], columns=20, scale=2) for m, how in rows.values()]
    width, height = strips[0].size
    sheet = Image.new("RGB", (width, len(rows) * (height + 20)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (name, strip) in enumerate(zip(rows, strips, strict=True)):
        pen.text((4, i * (height + 20) + 4), name, fill="#12355b")
        sheet.paste(strip, (0, i * (height + 20) + 20))
    save_image(sheet, PICTURE)
    print(PICTURE)


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("train")
    trained.add_argument("calls", type=int, choices=list(RUNS))
    fashion_mnist.add_data_option(trained)
    commands.add_parser("keep")
    measured = commands.add_parser("measure")
    fashion_mnist.add_data_option(measured)
    measured.add_argument("--samples", type=int, default=500)
    commands.add_parser("draw")
    args = parser.parse_args()
    if args.command == "train":
        train(args.calls, args.data)
    elif args.command == "keep":
        keep(RUNS[4], KEPT)
    elif args.command == "measure":
        measure(args.data, args.samples)
    else:
        draw()


if __name__ == "__main__":
    main()
