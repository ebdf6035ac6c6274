"""How many calls match 50 steps of PNDM, the usual sampler for Stable Diffusion elsewhere.

    python -m benchmarks.quality.equal fashion
    python -m benchmarks.quality.equal emoji DATA/emoji64.parquet --judge runs/emoji_judge
    python -m benchmarks.quality.equal show

Frechet distance to the training pictures in the judge's features, always from the same noise:
benchmarks/models/fashion at guidance 3, and the bundled model at its default. `fast` is what
`inkdrop generate --fast` does: guidance at some noise levels only and, in a U-Net, deep features
computed on every other call. `packed` is the engine of that name in each of its precisions. Rows
already in benchmarks/results/equal_quality.json are not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import fashion_mnist, places
from inkdrop.engines import Precision, prepare
from inkdrop.evaluate.frechet import Gaussian, fit, frechet_distance
from inkdrop.files import replacing
from inkdrop.model import Model
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.plan import faster
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import TrainConfig
from inkdrop.train.precision import autocast

RESULTS = places.RESULTS / "equal_quality.json"
PNDM = Sampling(sampler="plms", grid="leading", steps=50)
STEPS = (10, 12, 15, 20)
# The sampling that is repeated with the engine packed, in each of these precisions.
FAST = "fast, 12 steps"
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


def rows(model: Model) -> dict[str, Sampling]:
    """The settings to compare, by name."""
    found = {"PNDM, 50 steps": PNDM}
    for steps in STEPS:
        own = Sampling(steps=steps)
        found |= {f"own, {steps} steps": own, f"fast, {steps} steps": faster(model, own)}
    return found


def measured(
    what: str, asked: Mapping[str, Sampling], guidance: float, draw: Callable[[Sampling], Tensor],
    features: Callable[[Tensor], Tensor], real: Gaussian,
) -> None:  # fmt: skip
    """Adds the missing rows of one model's results, one by one."""
    for name, sampling in asked.items():
        results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        known = results.setdefault(what, {})
        if name in known:
            continue
        x = draw(replace(sampling, guidance=guidance))
        known[name] = round(frechet_distance(fit(features(x)), real), 4)
        with replacing(RESULTS) as beside:
            beside.write_text(json.dumps(results, indent=2) + "\n")
        print(what, name, known[name], flush=True)


def of_fashion(data: Path, count: int) -> None:
    """Measures the committed Fashion-MNIST model."""
    from benchmarks.quality.fashion import FOLDER, pictures
    from benchmarks.quality.judge import load_judge, reference

    judge, model = load_judge(), Model.load(FOLDER)
    real = reference("train", judge=judge, data=data)
    features = judge.features
    draw = partial(drawn, pictures, model, count)
    measured("fashion", rows(model), 3.0, draw, features, real)
    labels = [number % 10 for number in range(count)]
    for precision in PRECISIONS:
        packed = prepare(copy.deepcopy(model), "packed", precision=precision, batch=200)
        draw = partial(by_engine, packed, labels)
        asked = {f"{FAST}, packed {precision}": rows(model)[FAST]}
        measured("fashion", asked, 3.0, draw, features, real)


def drawn(pictures: Callable[..., Any], model: Model, count: int, asked: Sampling) -> Tensor:
    """The samples, without their labels."""
    found: Tensor = pictures(model, count, asked)[0]
    return found


def by_engine(model: Model, labels: list[int], asked: Sampling) -> Tensor:
    """The same samples, computed by an engine in its own precision."""
    return generate_many(model, count=len(labels), conditions=labels, batch=100, sampling=asked)


def of_emoji(data: Path, judge: Path, count: int) -> None:
    """Measures the bundled emoji model."""
    from benchmarks.emoji.judge import open_real, said
    from benchmarks.emoji.samples import covered
    from inkdrop import box
    from inkdrop.train.aims.judge import load_judge

    folder = box.find("emoji")
    assert folder is not None
    model, real, critic = Model.load(folder), open_real(data, judge), load_judge(judge)
    pairs = covered(real, seen=True)
    prompts = pairs.first(count).prompts()

    def draw(asked: Sampling) -> Tensor:
        with autocast(TrainConfig(), torch.device("cpu")):
            x = generate_many(model, count=count, conditions=prompts, batch=50, sampling=asked)
        return x.float().clamp(-1, 1)

    features: Callable[[Tensor], Tensor] = lambda x: said(critic, x)[0]  # noqa: E731
    target = fit(features(pairs.pictures()))
    measured("emoji", rows(model), model.spec.guidance, draw, features, target)


def show() -> None:
    """Prints each row beside PNDM's distance."""
    for what, known in json.loads(RESULTS.read_text()).items():
        for name, distance in known.items():
            print(f"{what:8} {name:32} {distance:8.3f} {distance / known['PNDM, 50 steps']:6.2f}")


def main() -> None:
    """Measures one model, or prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    clothes, emoji = what.add_parser("fashion"), what.add_parser("emoji")
    what.add_parser("show")
    fashion_mnist.add_data_option(clothes)
    emoji.add_argument("data", type=Path, help="emoji64.parquet")
    emoji.add_argument("--judge", type=Path, default=Path("runs/emoji_judge"))
    clothes.add_argument("--count", type=int, default=1000)
    emoji.add_argument("--count", type=int, default=300)
    asked = parser.parse_args()
    if asked.what == "fashion":
        of_fashion(asked.data, asked.count)
    elif asked.what == "emoji":
        of_emoji(asked.data, asked.judge, asked.count)
    else:
        show()


if __name__ == "__main__":
    main()
