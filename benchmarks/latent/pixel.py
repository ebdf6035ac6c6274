"""Latent against pixel diffusion, with the same photographs and the same compute.

    python recipes/flowers.py DATA/flowers --out runs/flowers
    python -m benchmarks.latent.pixel DATA/flowers --autoencoder runs/flowers/autoencoder

    latent                a diffusion transformer on 16x16x8 codes, 64 places of 2x2
    pixels, same network  the same transformer on 64x64x3 pixels, 64 places of 8x8

Each model is class-conditional and trains for --minutes of CPU time on one thread; a few timed
updates determine how many that is. The autoencoder's training is reported but not counted. Then
`inkdrop evaluate` compares samples of each with the training pictures, using the same judge. A
stopped training resumes, and finished parts are skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import places
from inkdrop.codecs.latent import load_autoencoder
from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import codec, encode, open_latents
from inkdrop.data.open import open_data
from inkdrop.files import replacing
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import defaults
from inkdrop.train.aim import Aim
from inkdrop.train.aims.latent_aim import latent_aim
from inkdrop.train.config import LATENT_TRAINING, TrainConfig
from inkdrop.train.evaluate import Evaluated, evaluate
from inkdrop.train.evaluation import Evaluation
from inkdrop.train.events import Validated
from inkdrop.train.feed import split
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.updates import start, updates

RESULTS = places.RESULTS / "latent_pixel.json"
PICTURE = places.PICTURES / "latent_pixel.png"
CPU = torch.device("cpu")
TRIAL, WARM = 10, 3


@dataclass(frozen=True)
class Contestant:
    """A network and the data it is trained on."""

    data: Dataset
    ask: TrainRequest
    aim: Aim


def contestants(data: Dataset, coded: Path, out: Path) -> dict[str, Contestant]:
    """Both contestants, by name."""
    coder = load_autoencoder(own_folder(coded)[0])
    folder = out / "latent" / "latents"
    for _ in encode(data, coder, folder):
        pass
    shown, latents = codec(folder, coder), open_latents(folder, data, coder)
    same = defaults.latent_network(latents.shape, len(data.label_names), None)
    same = {**same, "in_channels": data.shape[0], "patch": 2 * coder.config.factor}
    return {
        "latent": Contestant(latents, TrainRequest(LATENT_TRAINING), latent_aim(data.shape, shown)),
        "pixels, same network": Contestant(data, TrainRequest(model={"network": same}), Aim()),
    }


def seconds(one: Contestant) -> tuple[float, float]:
    """CPU seconds per update, and millions of parameters."""
    config = replace(one.ask.config, updates=TRIAL)
    training, _ = split(one.data, config.seed)
    model = one.aim.build(one.aim.describe(one.data, one.ask), "the model's description")
    feed, ticks = one.aim.feed(training, config, CPU), []
    for _ in updates(model, feed, config, start(model, config), objective=one.aim.objective):
        ticks.append(time.process_time())
    weights = sum(p.numel() for p in model.network.parameters()) / 1e6
    return (ticks[-1] - ticks[WARM - 1]) / (TRIAL - WARM), round(weights, 2)


def once(path: Path, make: Callable[[], Any]) -> Any:
    """The result of `make`, cached in a file."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def trained(name: str, one: Contestant, run: Path, minutes: float) -> dict[str, float]:
    """Trains a contestant for `minutes`; returns its speed."""
    each, weights = once(run.with_suffix(".json"), lambda: seconds(one))
    config: TrainConfig = replace(one.ask.config, updates=round(minutes * 60 / each))
    for event in train(
        one.data, run, replace(one.ask, config=config), aim=one.aim, world=World(device=CPU)
    ):
        if isinstance(event, Validated):
            print(f"{name}: update {event.update} of {config.updates}", flush=True)
    speed = round(config.batch / each, 1)
    return {"M weights": weights, "updates": config.updates, "images/s": speed}


def measured(run: Path, data: Dataset, judge: Path | None, count: int) -> dict[str, float]:
    """The results of `inkdrop evaluate` for a run."""
    asked = Evaluation(count=count, judge=judge, sampling=Sampling(guidance=1.0))
    *_, last = evaluate(run, data, asked, device=CPU)
    assert isinstance(last, Evaluated)
    return {m.name: float(f"{m.value:.5g}") for m in last.report.measures}


def drawn(run: Path) -> torch.Tensor:
    """Two samples per class at the model's default guidance, with the same noise for every run."""
    model = Model.load(own_folder(run)[0])
    conditions = [label for label in model.spec.labels for _ in range(2)]
    return generate_many(model, count=len(conditions), conditions=conditions)


def main() -> None:
    """Trains and evaluates both, and writes the results and the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--autoencoder", type=Path, required=True, help="its run")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--count", type=int, default=500, help="samples to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/latent_pixel"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    data = open_data(asked.data, split="train", size=64, channels=3)
    whole: dict[str, Any] = {"minutes": asked.minutes, "samples": asked.count}
    judge, pictures = None, []
    for name, one in contestants(data, asked.autoencoder, asked.out).items():
        run = asked.out / name.replace(", ", "_").replace(" ", "_")
        whole[name] = trained(name, one, run, asked.minutes)
        whole[name] |= measured(run, data, judge, asked.count)
        judge = judge or run / "evaluate" / "judge"
        pictures.append(drawn(run))
        print(name, whole[name], flush=True)
    with replacing(asked.results) as beside:
        beside.write_text(json.dumps(whole, indent=2) + "\n")
    save_image(sheet(torch.cat(pictures), columns=len(pictures[0]), scale=2), asked.picture)


if __name__ == "__main__":
    main()
