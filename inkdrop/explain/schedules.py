"""Noise schedules side by side: how fast a sample disappears."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import SCHEDULES, Discrete
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.explain.section import BAR, Section, equation, frac, p
from inkdrop.explain.style import (
    ACCENT,
    GREY,
    INK,
    TEAL,
    beside,
    legend,
    plate,
    plot,
    stacked,
)
from inkdrop.explain.subject import Subject
from inkdrop.explain.tiles import Labels, tiles, tiles_height

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

COLUMNS = 10
LINES = (INK, TEAL, "#e9a03b", "#8f6bb3", "#5b8fc7", GREY, "#a0a8b2")


def known() -> dict[str, Process]:
    """The processes to compare, by their common names."""
    named: dict[str, Process] = {name: Discrete(name) for name in SCHEDULES}
    return {**named, "flow": Flow(), "VE": VE()}


def name_of(process: Process) -> str:
    """The name of a process in the figures."""
    for name, other in known().items():
        if other == process:
            return name
    if isinstance(process, Discrete):
        end = ", zero terminal SNR" if process.zero_terminal_snr else ""
        return f"{process.schedule}, T = {process.steps}{end}"
    return "continuous VP" if isinstance(process, VP) else type(process).__name__


def clock(process: Process, u: Tensor) -> Tensor:
    """Times at fractions u in [0, 1] of the way from data to noise; for VE even in log sigma."""
    if isinstance(process, VE):
        low, high = math.log(process.t_min), math.log(process.t_max)
        return (low + u * (high - low)).exp()
    return process.t_min + u * (process.t_start - process.t_min)


def schedules_figure(subject: Subject) -> Figure:
    """alpha-bar and log-SNR of every schedule, and one sample dissolving along each."""
    own = name_of(subject.model.process)
    all_of_them = known() | {own: subject.model.process}
    shown = {name: process for name, process in all_of_them.items() if not isinstance(process, VE)}
    high = tiles_height(len(shown), COLUMNS, subject.height, 6.4)
    figure = plate(f"Noise schedules: how fast a {subject.one} disappears", high + 4.1)
    above, below = stacked(figure, (3.3, high))
    _curves(figure, above, all_of_them, subject)
    axes = figure.add_subplot(below)
    x0 = subject.real(1)
    eps = subject.noise([0]).initial()
    on = torch.linspace(0, 1, COLUMNS, dtype=torch.float64)
    rows, shape = [], (COLUMNS, *x0.shape[1:])
    for process in shown.values():
        noisy = process.add_noise(x0.expand(shape), eps.expand(shape), clock(process, on))
        rows.append(subject.model.codec.decode(noisy).cpu())
    names = [f"{name}\n(this model)" if name == own else name for name in shown]
    labels = Labels(left=names, above=["data", *[""] * (COLUMNS - 2), "noise"])
    tiles(axes, subject.cell, rows, labels)
    return figure


def _curves(
    figure: Figure, place: SubplotSpec, processes: dict[str, Process], subject: Subject
) -> None:
    left, right = beside(place, (1, 1))
    share, level = figure.add_subplot(left), figure.add_subplot(right)
    own = name_of(subject.model.process)
    u = torch.linspace(0, 1, 400, dtype=torch.float64)
    for (name, process), colour in zip(processes.items(), LINES, strict=False):
        mine = name == own
        style = "--" if isinstance(process, Flow | VE) and not mine else "-"
        label = f"{name} (this model)" if mine else name
        if isinstance(process, VE):
            label += ", even in log σ"
        colour, width = (ACCENT, 3.2) if mine else (colour, 1.5)
        on, above = clock(process, u), 3 if mine else 2
        if not isinstance(process, VE):  # its alpha is 1 throughout
            share.plot(u, process.alpha(on) ** 2, style, color=colour, lw=width, zorder=above)
        level.plot(u, process.logsnr(on), style, color=colour, lw=width, label=label, zorder=above)
    title = f"what is left of the {subject.one}"
    plot(share, title, "from data to noise", "remaining share ᾱ = α²")
    plot(level, "signal against noise", "from data to noise", "log-SNR = log(α² / σ²)")
    level.set_ylim(-16, 14)
    legend(level, "lower left")


def schedules_section(subject: Subject) -> Section:
    """The schedules: text and figure."""
    process, one = subject.model.process, subject.one
    words = p(
        f"How fast the {one} disappears is a design choice: the noise schedule. Each step of the",
        "chain keeps a share 1 − <i>β</i> of the variance and adds noise of variance <i>β</i>. The",
        "shares multiply:",
    )
    words += equation(f"{BAR} = ∏<sub>s≤t</sub> (1 − <i>β</i><sub>s</sub>)")
    ratio = frac("<i>α</i>(<i>t</i>)²", "<i>σ</i>(<i>t</i>)²")
    words += equation(f"log-SNR(<i>t</i>) = log {ratio}")
    words += p(
        "For a network, the log-SNR is the difficulty of the task: times with the same log-SNR are",
        f"equally hard. The linear schedule spends its last third on {subject.many} that have",
        "already disappeared. It suits high resolutions better: there, neighbouring values are",
        "similar, so it takes more noise to hide them. The cosine schedule reduces the remaining",
        f"share almost evenly. This model was trained with <b>{name_of(process)}</b>, drawn in",
        f"red{_end(process)} VE never shrinks the {one} and only adds noise, so it appears only on",
        "the right.",
    )
    return Section(
        "schedules", "How fast to dissolve: the schedule", words, schedules_figure(subject),
        alt="curves of alpha-bar and of log-SNR, one per schedule",
    )  # fmt: skip


def _end(process: Process) -> str:
    """The range of log-SNR of the model's own schedule, to end a sentence."""
    ends = torch.tensor([process.t_min, process.t_start], dtype=torch.float64)
    first, last = process.logsnr(ends).tolist()
    fall = f"from {first:.1f} to {last:.1f}".replace("-", "−")
    return f": its log-SNR falls {fall}."
