"""The report: each section's figure as a PNG, and all sections as one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from inkdrop.data.dataset import Dataset
from inkdrop.explain.derivation import derivation_section
from inkdrop.explain.errors import errors_section
from inkdrop.explain.forward import forward_section
from inkdrop.explain.page import page
from inkdrop.explain.reverse import reverse_section, solvers_section
from inkdrop.explain.schedules import name_of, schedules_section
from inkdrop.explain.section import Section
from inkdrop.explain.style import needs_matplotlib
from inkdrop.explain.subject import Subject
from inkdrop.explain.targets import Plan, targets_section
from inkdrop.files import check_folder, replacing
from inkdrop.limits import check_seed
from inkdrop.media.sheet import save_animation
from inkdrop.model import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FPS = 16


def explain(
    model: Model,
    data: Dataset,
    out: str | Path,
    *,
    seed: int = 0,
    quick: bool = False,
    plan: Plan | None = None,
) -> Iterator[tuple[str, Path]]:
    """Draws the report on a model into the folder `out`; yields (title, path) for each file.

    The last file is report.html, which contains everything. model: in evaluation mode; data: what
    it was trained on; plan: how to train the three small networks; quick: train them half as long,
    and sample in at most 100 steps. ValueError if the data do not fit the model, or without
    matplotlib.
    """
    check_seed(seed)
    needs_matplotlib()
    out = Path(out)
    check_folder(out)
    subject = Subject(model, data, seed)
    parts: list[tuple[Section, bytes | None, bytes | None]] = []
    plan = plan or Plan(updates=150 if quick else 300, seed=seed)
    for make in makers(subject, quick, plan):
        section, png, webp = make(), None, None
        if section.figure is not None:
            png = encoded(section.figure)
            path = out / f"{section.name}.png"
            with replacing(path) as beside:
                beside.write_bytes(png)
            yield section.title, path
        if section.film:
            path = out / f"{section.name}.webp"
            save_animation(section.film, path, FPS)
            webp = path.read_bytes()
            yield f"{section.title}, moving", path
        parts.append((section, png, webp))
    path = out / "report.html"
    with replacing(path) as beside:
        beside.write_text(written(subject, parts), encoding="utf-8")
    yield "The report", path


def makers(subject: Subject, quick: bool, plan: Plan) -> list[Callable[[], Section]]:
    """The sections in the order of a lecture."""
    return [
        lambda: forward_section(subject),
        lambda: schedules_section(subject),
        lambda: derivation_section(subject),
        lambda: targets_section(subject, plan),
        lambda: errors_section(subject),
        lambda: reverse_section(subject),
        lambda: solvers_section(subject, quick=quick),
    ]


def encoded(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    memory = BytesIO()
    figure.savefig(memory, format="png", metadata={"Software": None})
    return memory.getvalue()


def written(subject: Subject, parts: list[tuple[Section, bytes | None, bytes | None]]) -> str:
    """The HTML of the report."""
    model = subject.model
    count = sum(weight.numel() for weight in model.network.parameters())
    makes = model.medium.describe(model.spec.shape)
    if subject.cell.channels(torch.zeros(1, *model.spec.shape)).shape[1] < model.spec.shape[0]:
        makes += ", only the first of them drawn"
    facts = [
        (subject.many.capitalize(), subject.data.describe()),
        ("Model", f"{type(model.network).__name__}, {count:,} weights, {makes}"),
        ("Process", name_of(model.process)),
        ("Predicts", type(model.parameterization).__name__),
        ("Seed", str(subject.seed)),
    ]
    many = subject.many
    lead = f"How {many} dissolve into noise and return, drawn from your own model and {many}."
    foot = (
        "Made by inkdrop explain. Ho et al. 2020 (DDPM), Song et al. 2021 (DDIM), Nichol and"
        " Dhariwal 2021 (cosine schedule), Karras et al. 2022 (EDM). Times and steps are on the"
        " model's own clock; values are in [-1, 1]."
    )
    return page(f"From a drop of ink to a {subject.one}", lead, facts, parts, foot)
