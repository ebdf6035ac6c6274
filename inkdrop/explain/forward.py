"""The forward process: samples dissolve like ink in water."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from inkdrop.diffusion.process import VE, Process
from inkdrop.explain.section import BAR, EPS, SIGMA, X0, XT, Section, equation, p
from inkdrop.explain.style import (
    ACCENT,
    GAP,
    GREY,
    INK,
    beside,
    plate,
    plot,
    stacked,
)
from inkdrop.explain.subject import Subject
from inkdrop.explain.tiles import Labels, tiles, tiles_height

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec
    from PIL.Image import Image

COLUMNS, ROWS, MOMENTS, FRAMES = 9, 3, 5, 48


def moments(process: Process, count: int) -> Tensor:
    """`count` times from data (0) to noise, float64 [count]: even in t, or for VE in log sigma."""
    if isinstance(process, VE):
        ends = [math.log(process.t_min), math.log(process.t_max)]
        late = torch.linspace(ends[0], ends[1], count - 1, dtype=torch.float64).exp()
        return torch.cat([late.new_zeros(1), late])
    return torch.linspace(0, process.t_max, count, dtype=torch.float64)


def dissolved(subject: Subject, x0: Tensor, on: Tensor) -> list[Tensor]:
    """Each sample of x0 at all times `on`, as [T, C, *sizes]; its noise is the same throughout."""
    eps = subject.noise(range(len(x0))).initial()
    rows = []
    for one, noise in zip(x0, eps, strict=True):
        many, same = one.expand(len(on), *one.shape), noise.expand(len(on), *one.shape)
        rows.append(subject.shown(subject.model.process.add_noise(many, same, on), on))
    return rows


def forward_figure(subject: Subject) -> Figure:
    """Samples along the forward process, and below them the histograms of their values."""
    process, x0 = subject.model.process, subject.real(ROWS)
    on = moments(process, COLUMNS)
    high = tiles_height(len(x0), COLUMNS, subject.height)
    figure = plate("The forward process: a drop of ink in water", high + 3.0)
    above, below = stacked(figure, (high, 1.7))
    names = [f"t = {float(t):.3g}" for t in on]
    axes = figure.add_subplot(above)
    tiles(axes, subject.cell, dissolved(subject, x0, on), Labels(above=names, size=8.5))
    foot = len(x0) * (subject.height + GAP)
    for i, text in enumerate(_left(process, on)):
        at = i * (1 + GAP) + 0.5
        axes.text(at, foot + 0.08, text, ha="center", va="top", size=8.5, color=INK)
    _histograms(figure, below, subject)
    return figure


def _left(process: Process, on: Tensor) -> list[str]:
    """A label for each time: alpha-bar, or log-SNR for VE, whose alpha is always 1."""
    if isinstance(process, VE):
        levels = [float(v) for v in process.logsnr(on)]
        return [f"logSNR {v:.1f}" if math.isfinite(v) else "data" for v in levels]
    shares = [float(v) for v in process.alpha(on) ** 2]
    return [r"$\bar\alpha$ " + (f"= {v:.2g}" if v > 1e-3 else "< 0.001") for v in shares]


def _histograms(figure: Figure, place: SubplotSpec, subject: Subject) -> None:
    """Histograms of many samples' values at a few times, with the standard Gaussian."""
    x0 = subject.real(256)
    eps = subject.noise(range(len(x0))).initial()
    on = moments(subject.model.process, COLUMNS)[:: (COLUMNS - 1) // (MOMENTS - 1)]
    line = torch.linspace(-3.5, 3.5, 141)
    bell = (-(line**2) / 2).exp() / math.sqrt(2 * math.pi)
    for cell, t in zip(beside(place, (1,) * MOMENTS), on, strict=True):
        axes = figure.add_subplot(cell)
        values = subject.shown(subject.model.process.add_noise(x0, eps, t), t).flatten().numpy()
        axes.hist(values, bins=56, range=(-3.5, 3.5), density=True, color=INK, alpha=0.8)
        axes.plot(line, bell, color=ACCENT, linewidth=1.6)
        plot(axes, f"values at t = {float(t):.3g}", "", "")
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=8.5, color=GREY)
        axes.set_yticks([])
        axes.set_ylim(0, 1.1)
        axes.grid(visible=False)


def forward_film(subject: Subject) -> tuple[Image, ...]:
    """The same samples side by side, dissolving frame by frame."""
    from PIL import Image

    rows = dissolved(subject, subject.real(ROWS), moments(subject.model.process, FRAMES))
    cell = subject.cell.fitted(torch.cat(rows))
    side_by_side = np.concatenate([cell.frames(row) for row in rows], axis=2)
    frames = [Image.fromarray(frame) for frame in side_by_side]
    return (frames[0],) * 8 + tuple(frames) + (frames[-1],) * 8


def forward_section(subject: Subject) -> Section:
    """The forward process: text, figure and film."""
    process, one = subject.model.process, subject.one
    words = p(
        f"Nothing is learned here. A {one} is mixed with Gaussian noise, a little more at every",
        "moment, until only noise can be seen. A sum of Gaussians is Gaussian, so any time",
        f"<i>t</i> can be reached in a single step from the {one} {X0}:",
    )
    unit = ""
    if isinstance(process, VE):
        unit = f"This process only adds noise and never shrinks the {one}; it is drawn rescaled."
    mixed = f"{XT} = √{BAR} {X0} + {sigma_text(process)} {EPS}"
    words += equation(f"{mixed}, &ensp; {EPS} ~ 𝒩(0, 1)")
    words += p(
        f"<i>ᾱ</i> is the remaining share of the {one}, in terms of variance. The",
        f"{subject.many} are your own; each has the same noise from left to right. The histograms",
        "below show how often each value occurs. Whatever their first shape, they end as the bell",
        "curve in red, so sampling can start from there.",
        unit,
        subject.cell.note,
    )
    return Section(
        "forward", "A drop of ink dissolves", words, forward_figure(subject),
        forward_film(subject), alt=f"{subject.many} dissolve into noise from left to right",
    )  # fmt: skip


def sigma_text(process: Process) -> str:
    """sigma as an HTML formula: in terms of alpha-bar if the process preserves variance."""
    on = torch.tensor([0.3 * process.t_max], dtype=torch.float64)
    preserving = bool(((process.alpha(on) ** 2 + process.sigma(on) ** 2 - 1).abs() < 1e-9).all())
    return f"√(1 − {BAR})" if preserving else SIGMA
