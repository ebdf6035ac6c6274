"""Evaluates a run against its data: samples, or reconstructions in the case of an autoencoder.

The results are written to a folder, by default RUN/evaluate:

    report.json           the table
    samples.png           the first samples, or pictures above their reconstructions
    nearest.png           the samples closest to training pictures, each beside its neighbour
    judge/, reference/    the feature network, and its features of the data
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.codecs.latent import load_autoencoder
from inkdrop.data.dataset import Dataset
from inkdrop.evaluate.features import Features, extract, reference
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.evaluate.matrix import matrices, neighbours
from inkdrop.evaluate.memorisation import memorisation, pairs
from inkdrop.evaluate.pretrained import open_pretrained
from inkdrop.evaluate.reconstruction import WINDOW, psnr, ssim
from inkdrop.evaluate.report import Measure, Report, frechet_notes, measure
from inkdrop.evaluate.samples import conditions_like, drawn
from inkdrop.events import Note
from inkdrop.files import check_folder
from inkdrop.find import open_model
from inkdrop.media.medium import Look
from inkdrop.media.sheet import save_image
from inkdrop.model import Model
from inkdrop.registry import medium
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import DEFAULT
from inkdrop.train.aims.judge import load_judge, train_judge
from inkdrop.train.evaluation import LEAST, Evaluation
from inkdrop.train.events import Event
from inkdrop.train.feed import split_rows
from inkdrop.train.measured import subject
from inkdrop.train.parallel import World
from inkdrop.train.source import report_folder
from inkdrop.weights import read_json

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 64
LATENTS = Path("latents", "latents.json")  # in a run of `train.latent`


@dataclass(frozen=True)
class Made:
    """Progress: `count` of `total` pictures have been sampled or reconstructed."""

    count: int
    total: int


@dataclass(frozen=True)
class Evaluated:
    """The results, and the folder they were written to."""

    report: Report
    folder: Path


Progress = Event | Made | Evaluated


def evaluate(
    run: str | Path,
    data: Dataset,
    asked: Evaluation,
    out: str | Path | None = None,
    *,
    device: torch.device,
) -> Iterator[Progress]:
    """Evaluates a run or a model folder against `data`; the last event is `Evaluated`.

    ValueError, before anything is computed, if the model does not match the data.
    """
    measured = subject(run)
    run = Path(run)
    home = report_folder(run, "evaluate") if out is None else Path(out)
    check_folder(home)
    yield from map(Note, (*data.notes, *measured.found.notes))
    if len(data) < LEAST:
        raise ValueError(f"{data.name} has {len(data)} samples; measuring takes at least {LEAST}")
    if data.medium != "picture":
        raise ValueError(
            f"{data.name} holds {medium(data.medium).many}; only pictures are measured"
        )
    own = _Own.of(run, data)
    if measured.coder:
        if asked.sampling != DEFAULT:
            raise ValueError(
                f"{run} is an autoencoder, which is measured by its reconstructions; leave out the"
                " options of sampling"
            )
        yield from _reconstructed(measured.found.path, data, own, asked, home, device)
    else:
        model = open_model(measured.found, device=device)
        yield from _sampled(model, data, own, asked, home, device)


@dataclass(frozen=True)
class _Own:
    """How a run split this data: the rows it was trained on, and the held-out rows.

    If the run was trained on other data, every row counts as `training` and none as `held`.
    """

    training: NDArray[np.int64]
    held: NDArray[np.int64]
    same: bool

    @staticmethod
    def of(run: Path, data: Dataset) -> _Own:
        """The split, from the run's run.json."""
        file = run / "run.json"
        about = read_json(file) if file.is_file() else {}
        codes = run / LATENTS
        learned = [about.get("asked", {}).get("data")]
        if about and codes.is_file():  # a latent model was trained on codes of the data
            learned.append(read_json(codes).get("data"))
        if data.fingerprint not in learned:
            return _Own(np.arange(len(data)), np.arange(0), False)
        return _Own(*split_rows(len(data), int(about["config"]["seed"])), True)


@dataclass(frozen=True)
class _By:
    """A feature network, and its name."""

    network: Features
    name: str


def _by(
    data: Dataset, own: _Own, asked: Evaluation, home: Path, device: torch.device
) -> Generator[Event, None, _By]:
    if asked.features is not None:
        return _By(open_pretrained(asked.features).to(device), asked.features.name)
    if asked.judge is not None:
        return _By(load_judge(asked.judge).to(device), f"the judge {asked.judge}")
    # A judge is specific to its data, so each data set gets a folder of its own.
    run = home / ("judge" if own.same else f"judge-{data.fingerprint[:8]}")
    yield from train_judge(data, run, request=asked.judging, world=World(device=device))
    judge = load_judge(run)
    told = ", ".join(judge.config.heads)
    return _By(judge.to(device), f"a judge of its own that learned {told}")


def _sampled(
    model: Model,
    data: Dataset,
    own: _Own,
    asked: Evaluation,
    home: Path,
    device: torch.device,
) -> Iterator[Progress]:
    if model.spec.shape != data.shape:
        raise ValueError(
            f"the model makes pictures of shape {list(model.spec.shape)}, but those of {data.name}"
            f" have {list(data.shape)}; name the data it was trained on with --data"
        )
    conditions = conditions_like(model, data, asked.count, seed=asked.seed)
    plan = chosen(model, asked.sampling)
    by = yield from _by(data, own, asked, home, device)
    real = reference(by.network, data, home / "reference", device=device)
    parts = list[Tensor]()
    for part in drawn(
        model, conditions, asked.count, seed=asked.seed, batch=asked.batch, sampling=asked.sampling
    ):
        parts.append(part)
        yield Made(sum(map(len, parts)), asked.count)
    pictures = torch.cat(parts)
    features = _features(by, pictures, device)
    report = measure(real, features, network=by.name, seed=asked.seed)
    found, note = _copies(features, real, own)
    guidance = asked.sampling.strength(model.spec.guidance)
    how = (
        f"Samples are numbers 0 to {asked.count - 1} of seed {asked.seed}, made in"
        f" {len(plan.times) - 1} steps of {plan.sampler} with guidance {guidance:g}."
    )
    report = dataclasses.replace(
        report, measures=(*report.measures, *found), notes=(how, *report.notes, note)
    )
    x, y = matrices(features, real[torch.from_numpy(own.training)])
    near = pairs(pictures, data.subset(own.training), neighbours(x, y))
    shown = model.medium.sheet(pictures[:SHOWN])
    yield from _kept(report, home, {"samples": shown, "nearest": near})


def _copies(features: Tensor, real: Tensor, own: _Own) -> tuple[tuple[Measure, ...], str]:
    """How close samples are to training pictures, compared with held-out pictures."""
    if not len(own.held):
        return (), (
            "No picture of this data is known to be held out, so copies cannot be told; see"
            " nearest.png."
        )
    training, held = (real[torch.from_numpy(rows)] for rows in (own.training, own.held))
    found = memorisation(features, training, held)
    ours, theirs = (float(n.distance.median()) for n in (found.samples, found.held_out))
    note = (
        f"The nearest training picture of a sample is at {ours:.3g}, of a held-out picture at"
        f" {theirs:.3g} (medians of features); 'closer than held-out' is 1/2 where both are as far,"
        " and 1 where samples are copies."
    )
    return (Measure("closer than held-out", found.closer),), note


def _reconstructed(
    folder: Path,
    data: Dataset,
    own: _Own,
    asked: Evaluation,
    home: Path,
    device: torch.device,
) -> Iterator[Progress]:
    autoencoder = load_autoencoder(folder).to(device)
    if autoencoder.config.channels != data.shape[0] or autoencoder.config.dims != 2:
        raise ValueError(
            f"the autoencoder takes {autoencoder.config.channels} channels, but those of"
            f" {data.name} are {data.shape[0]}; name its own data with --data"
        )
    # Held-out pictures come first, so that PSNR and SSIM can be computed on them alone.
    rows = np.concatenate([own.held, own.training])[: asked.count]
    unseen = min(len(own.held), len(rows)) if own.same else len(rows)
    by = yield from _by(data, own, asked, home, device)
    parts = list[Tensor]()
    for first in range(0, len(rows), asked.batch):
        x = data.take(rows[first : first + asked.batch]).to(device)
        parts.append(autoencoder(x).float().clamp(-1, 1).cpu())
        yield Made(min(first + asked.batch, len(rows)), len(rows))
    rebuilt, real = torch.cat(parts), data.take(rows)
    a, b = (fit(_features(by, pictures, device)) for pictures in (real, rebuilt))
    measures = _distances(rebuilt[:unseen], real[:unseen])
    distance = Measure("reconstruction Frechet distance", frechet_distance(a, b), better="lower")
    which = "held out" if own.same else "not all known to be unseen"
    notes = (
        f"PSNR and SSIM are means over {unseen} pictures, {which}; the Frechet distance is between"
        f" {len(rows)} pictures and their reconstructions.",
        *frechet_notes(len(rows), len(a.mean)),
    )
    report = Report(by.name, len(rows), len(rows), (*measures, distance), notes)
    both = torch.cat([real[:12], rebuilt[:12]])
    shown = medium(data.medium).sheet(both, Look(columns=min(12, len(rows))))
    yield from _kept(report, home, {"samples": shown})


def _distances(rebuilt: Tensor, real: Tensor) -> tuple[Measure, ...]:
    """Mean and standard error of PSNR and, if the pictures are large enough for it, of SSIM."""
    found = {"PSNR (dB)": psnr}
    if min(real.shape[2:]) >= WINDOW:
        found["SSIM"] = ssim
    measures = list[Measure]()
    for name, distance in found.items():
        values = distance(rebuilt, real)
        error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None
        measures.append(Measure(name, float(values.mean()), error, better="higher"))
    return tuple(measures)


def _features(by: _By, pictures: Tensor, device: torch.device) -> Tensor:
    return extract(by.network, (part.to(device) for part in torch.split(pictures, 256)))


def _kept(report: Report, home: Path, pictures: dict[str, Image]) -> Iterator[Evaluated]:
    for name, picture in pictures.items():
        save_image(picture, home / f"{name}.png")
    report.write(home / "report.json")
    yield Evaluated(report, home)
