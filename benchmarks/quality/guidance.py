"""The effect of guidance on the Fashion-MNIST model; time saved and quality lost by reuse.

    python -m benchmarks.quality.guidance measure    benchmarks/results/guidance.json, row by row
    python -m benchmarks.quality.guidance draw       the curves

`measure` resumes where it stopped. Each row is based on 300 samples from 12 steps of unipc on
share:0.7: their Frechet distance to the training set in the judge's features, and how often the
judge agrees with the requested class. For feature reuse, 20 steps of DDIM are timed with and
without it, alternately.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks import fashion_mnist, places
from benchmarks.quality.fashion import FOLDER, pictures
from benchmarks.quality.judge import load_judge, reference
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.explain.style import ACCENT, INK, TEAL, beside, legend, plate, plot
from inkdrop.files import replacing
from inkdrop.model import Model
from inkdrop.tasks.sampling import Sampling

RESULTS = places.RESULTS / "guidance.json"
SAMPLES, STEPS = 300, 12
SCALES = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0)
# The middle half of the noise levels, on a logarithmic scale of sigma / alpha.
INTERVAL = (0.3, 5.0)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "interval": {"interval": INTERVAL},
    "rescale": {"rescale": 0.7},
}
REUSES = (1, 2, 3, 5)


def measure(data: Path) -> None:
    """Adds the missing rows of the results, one by one."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    judge, model = load_judge(), Model.load(FOLDER)
    real = reference("train", judge=judge, data=data)
    for way, options in WAYS.items():
        for scale in SCALES:
            name = f"{way} {scale:g}"
            if name in found or (scale == 1 and way != "plain"):
                continue
            asked = Sampling("unipc", "share:0.7", STEPS, guidance=scale, **options)
            x, label = pictures(model, SAMPLES, asked)
            agreement = float((judge.classify(x) == label).float().mean())
            distance = frechet_distance(fit(judge.features(x)), real)
            found[name] = {"frechet": distance, "agreement": agreement}
            _write(found)
    seconds: dict[int, list[float]] = {every: [] for every in REUSES}
    for every in REUSES:
        name = f"reuse {every}"
        if name in found:
            continue
        asked = Sampling(sampler="ddim", grid="uniform", steps=20, guidance=1.0, reuse=every)
        x, _ = pictures(model, SAMPLES, asked)
        found[name] = {"frechet": frechet_distance(fit(judge.features(x)), real)}
        _write(found)
    if "seconds" not in found:
        for _ in range(5):  # alternately, because the speed of a machine drifts
            for every in REUSES:
                asked = Sampling(
                    sampler="ddim", grid="uniform", steps=20, guidance=1.0, reuse=every
                )
                began = time.perf_counter()
                pictures(model, 20, asked)
                seconds[every].append(time.perf_counter() - began)
        found["seconds"] = {str(e): statistics.median(s) for e, s in seconds.items()}
        _write(found)


def _write(found: dict[str, Any]) -> None:
    with replacing(RESULTS) as part:
        part.write_text(json.dumps(found, indent=2) + "\n")
    print(list(found.items())[-1], flush=True)


def draw() -> None:
    """Plots Frechet distance and agreement against the guidance scale."""
    found = json.loads(RESULTS.read_text())
    figure = plate("Guidance on the Fashion-MNIST model", 3.4)
    left, right = beside(figure.add_gridspec(1, 1)[0], (1, 1))
    charts = {"frechet": figure.add_subplot(left), "agreement": figure.add_subplot(right)}
    plot(charts["frechet"], "", "guidance scale", "Frechet distance", log=True)
    plot(charts["agreement"], "", "guidance scale", "agreement of the judge")
    for (way, _), colour in zip(WAYS.items(), (INK, ACCENT, TEAL), strict=True):
        names = [f"{way if s > 1 else 'plain'} {s:g}" for s in SCALES]
        for key, axes in charts.items():
            values = [found[name][key] for name in names]
            axes.plot(SCALES, values, "o-", color=colour, label=way, markersize=4)
    legend(charts["frechet"], "upper left")
    with replacing(RESULTS.with_suffix(".png")) as part:
        figure.savefig(part)


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fashion_mnist.add_data_option(commands.add_parser("measure"))
    commands.add_parser("draw")
    args = parser.parse_args()
    if args.command == "measure":
        measure(args.data)
    else:
        draw()


if __name__ == "__main__":
    main()
