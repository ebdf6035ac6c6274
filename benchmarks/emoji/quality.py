"""The quality of the model of recipes/emoji.py: does it follow prompts, and does it copy?

    python -m benchmarks.emoji.quality judge DATA/emoji64.parquet
    python -m benchmarks.emoji.quality measure runs/emoji/denoiser DATA/emoji64.parquet

`judge` trains a classifier of names, styles and skin tones on real pictures, including those held
out of all other training, and reports its accuracy. `measure` applies it to the model's samples.
Both resume where they stopped; samples are kept in --work.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import places
from benchmarks.emoji.judge import NAME, STYLE, TONE, Real, open_real, right, said, train
from benchmarks.emoji.nearest import Seen, copies, draw, nearest
from benchmarks.emoji.samples import Artist, Pairs, candidates, covered
from inkdrop.evaluate.alignment import r_precision
from inkdrop.evaluate.frechet import Gaussian, fit, frechet_distance
from inkdrop.evaluate.judge import Judge
from inkdrop.explain.style import ACCENT, GREY, INK, legend, plate, plot
from inkdrop.files import replacing
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.train.aims.judge import load_judge

RESULTS = places.RESULTS / "emoji_quality.json"
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0)


def keep(results: Path, part: str, found: Any) -> None:
    """Writes one part of the results to the file."""
    whole = json.loads(results.read_text()) if results.is_file() else {}
    whole[part] = found
    with replacing(results) as beside:
        beside.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def agreement(heads: Mapping[str, Tensor], asked: Pairs, known: Tensor) -> dict[str, float]:
    """How often the judge's prediction matches the prompt, among all names and the covered ones."""
    scores, own = heads[NAME], asked.labels(NAME)
    among = scores[:, known]
    place = torch.searchsorted(known, own)
    found: dict[str, float] = {"pictures": len(asked)}
    for k in (1, 5):
        found[f"all names, top {k}"] = r_precision(scores, own, k=k)
        found[f"covered names, top {k}"] = r_precision(among, place, k=k)
    for head in (STYLE, TONE):
        found[head] = float((heads[head].argmax(1) == asked.labels(head)).double().mean())
    return {name: round(value, 4) for name, value in found.items()}


def chance(real: Real, known: Tensor) -> dict[str, float]:
    """The agreement that random guessing would reach."""
    names = len(real.heads[NAME].names)
    return {"all names": names, "covered names": len(known)}


def measured(
    judge: Judge, artist: Artist, real: Real, asked: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Computes all parts of the results and draws both figures."""
    known, training, new = candidates(real), covered(real, seen=True), covered(real, seen=False)
    seen, left = training.first(asked.seen), new.first(asked.left_out)
    spoken, swept = seen.first(asked.korean), seen.first(asked.guided)
    made = {
        "seen": (seen, artist.draw("seen", seen.prompts())),
        "left out": (left, artist.draw("left out", left.prompts())),
        "seen, Korean": (spoken, artist.draw("Korean", spoken.prompts(korean=True))),
        "left out, Korean": (left, artist.draw("Korean", left.prompts(korean=True))),
    }
    made["seen, the same in English"] = (spoken, made["seen"][1][: len(spoken)])
    for name, pairs in (("seen", seen), ("left out", left)):
        pictures = pairs.pictures()
        made[f"{name}, real"] = (pairs, pictures)
        made[f"{name}, real through the autoencoder"] = (pairs, artist.rebuilt(pictures))
    features, agreed = dict[str, Tensor](), dict[str, Any]()
    for name, (pairs, pictures) in made.items():
        features[name], heads = said(judge, pictures)
        agreed[name] = agreement(heads, pairs, known)
    whole, _ = said(judge, training.pictures())
    target = fit(whole)
    frechet = {n: round(frechet_distance(fit(f), target), 3) for n, f in features.items()}
    curve = sweep(judge, artist, swept, known, target)
    floor = round(frechet_distance(fit(features["seen, real"][: len(swept)]), target), 3)
    sweep_figure(curve, floor, len(swept), asked.pictures / "emoji_guidance.png")
    pictures = training.pictures()
    rows = {name: Seen.of(features[name], made[name][1]) for name in features}
    learned, fresh = Seen.of(whole, pictures), rows["left out, real"]
    near, shown = dict[str, Any](), list[Any]()
    for name in ("seen", "left out"):
        pairs, x = made[name]
        own = rows[f"{name}, real"]
        near[name] = copies(rows[name], pairs, learned, training, fresh, own)
        title = {"seen": "Pairs it learned from", "left out": "Pairs it never saw"}[name]
        shown.append((title, x, pairs.pictures(), nearest(rows[name], learned)))
    near["left out, real"] = copies(fresh, left, learned, training, fresh, fresh)
    name = "seen, real through the autoencoder"
    near[name] = copies(rows[name], seen, learned, training, fresh, rows["seen, real"])
    draw(shown, pictures, asked.pictures / "emoji_nearest.png")
    return {
        "model": {
            "weights": artist.fingerprint,
            "steps": artist.model.spec.steps,
            "guidance": artist.model.spec.guidance,
            "judge": judge.fingerprint,
        },
        "names to choose from": chance(real, known),
        "agreement": agreed,
        "Frechet distance to all training pictures": frechet,
        "guidance": {f"{g:g}": found for g, found in curve.items()},
        "Frechet distance of as many real pictures": {str(len(swept)): floor},
        "nearest training picture": near,
    }


def sweep(
    judge: Judge, artist: Artist, asked: Pairs, known: Tensor, target: Gaussian
) -> dict[float, dict[str, float]]:
    """Agreement and Frechet distance at each guidance scale, with the same pairs and noise."""
    found = {}
    for scale in GUIDANCE:
        pictures = artist.draw(f"guidance {scale:g}", asked.prompts(), scale)
        features, heads = said(judge, pictures)
        found[scale] = agreement(heads, asked, known)
        found[scale]["Frechet distance"] = round(frechet_distance(fit(features), target), 3)
    return found


def sweep_figure(
    curve: Mapping[float, Mapping[str, float]], floor: float, count: int, path: Path
) -> None:
    """Plots agreement and Frechet distance against the guidance scale."""
    figure = plate("Guidance: what was asked against what is real", 3.4)
    left, right_ = figure.subplots(1, 2)
    x = list(curve)
    for name, colour in (("covered names, top 1", INK), ("covered names, top 5", ACCENT),
                         (STYLE, GREY)):  # fmt: skip
        values = [curve[scale][name] for scale in x]
        left.plot(x, values, marker="o", markersize=4, color=colour, label=name)
    plot(left, f"The judge agrees ({count} pairs)", "scale of guidance", "share")
    left.set_ylim(0, 1.02)
    legend(left, "lower right")
    values = [curve[scale]["Frechet distance"] for scale in x]
    right_.plot(x, values, marker="o", markersize=4, color=INK, label="samples")
    right_.axhline(floor, color=GREY, linestyle="--", label="as many real pictures")
    plot(right_, "Frechet distance in the judge's features", "scale of guidance", "")
    right_.set_ylim(0, None)
    legend(right_, "lower right")
    for axes in (left, right_):
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{scale:g}" for scale in x])
        axes.minorticks_off()
    with replacing(path) as beside:
        figure.savefig(beside)


def measure(asked: argparse.Namespace) -> None:
    """Runs the stage `measure`."""
    real = open_real(asked.data, asked.judge)
    model = Model.load(own_folder(asked.model)[0])
    if model.text is None or model.spec.shape != real.data.shape:
        raise SystemExit(f"{asked.model} was not made by recipes/emoji.py")
    artist = Artist(model, asked.work)
    for part, found in measured(load_judge(asked.judge), artist, real, asked).items():
        keep(asked.results, part, found)
    print(json.dumps(json.loads(asked.results.read_text()), indent=2, ensure_ascii=False))


def main() -> None:
    """Runs one stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    judge, measuring = stages.add_parser("judge"), stages.add_parser("measure")
    measuring.add_argument("model", type=Path, help="A run of the recipe, or a model folder.")
    for stage in (judge, measuring):
        stage.add_argument("data", type=Path, help="emoji64.parquet")
        stage.add_argument("--judge", type=Path, default=Path("runs/emoji_judge"))
        stage.add_argument("--results", type=Path, default=RESULTS)
    judge.add_argument("--updates", type=int, default=12_000)
    measuring.add_argument("--work", type=Path, default=Path("runs/emoji_quality"))
    measuring.add_argument("--pictures", type=Path, default=places.PICTURES, help="Of the figures.")
    for name, count in (("seen", 400), ("left-out", 200), ("korean", 200), ("guided", 150)):
        measuring.add_argument(f"--{name}", type=int, default=count, help="Pictures.")
    asked = parser.parse_args()
    if asked.stage == "measure":
        measure(asked)
        return
    real = open_real(asked.data, asked.judge)
    train(real, asked.judge, asked.updates)
    keep(asked.results, "judge", right(real, asked.judge))


if __name__ == "__main__":
    main()
