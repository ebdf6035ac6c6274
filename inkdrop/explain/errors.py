"""The model's own error at every noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inkdrop.explain.section import EPS, EPS_HAT, X0, X0_HAT, Section, equation, p
from inkdrop.explain.style import (
    ACCENT,
    INK,
    legend,
    plate,
    plot,
    stacked,
)
from inkdrop.explain.subject import Subject
from inkdrop.explain.tiles import Labels, tiles, tiles_height

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS, SAMPLES, SHOWN = 25, 64, 9
MOST = 10.0


@dataclass(frozen=True)
class Errors:
    """Squared errors of x_0 and of eps [L, B] at log-SNRs [L]; spread: the data's variance."""

    levels: Tensor
    x0: Tensor
    eps: Tensor
    spread: float


@torch.no_grad()
def measure(subject: Subject, count: int = SAMPLES) -> Errors:
    """The model's error on `count` samples, with the same noise at every level."""
    model, process = subject.model, subject.model.process
    x0, cond = subject.real(count), subject.cond(count)
    eps = subject.noise(range(len(x0))).initial()
    ends = torch.tensor([process.t_min, process.t_start], dtype=torch.float64)
    high, low = process.logsnr(ends).clamp(-MOST, MOST).tolist()
    levels = torch.linspace(high, low, LEVELS, dtype=torch.float64)
    of_x0, of_eps = [], []
    for t in process.time_at(levels).to(x0.device):
        now = t.expand(len(x0))
        x = process.add_noise(x0, eps, now)
        found = model.denoise(x, now, cond)
        of_x0.append((found - x0).pow(2).flatten(1).mean(1).cpu())
        of_eps.append((process.eps(x, found, now) - eps).pow(2).flatten(1).mean(1).cpu())
    spread = float((x0 - x0.mean(0)).pow(2).mean()) if len(x0) > 1 else float(x0.var())
    return Errors(levels, torch.stack(of_x0), torch.stack(of_eps), spread)


@torch.no_grad()
def errors_figure(subject: Subject, errors: Errors) -> Figure:
    """Both errors over log-SNR, and one sample at these levels."""
    high = tiles_height(3, SHOWN, subject.height, 6.9)
    figure = plate("Loss by noise level: where this model makes its errors", high + 4.0)
    above, below = stacked(figure, (3.3, high))
    axes = figure.add_subplot(above)
    for values, colour, name in (
        (errors.x0, INK, r"error of $x_0$"),
        (errors.eps, ACCENT, r"error of $\epsilon$"),
    ):
        low, high_ = torch.quantile(values.double(), torch.tensor([0.1, 0.9]).double(), dim=1)
        axes.fill_between(errors.levels, low, high_, color=colour, alpha=0.13, lw=0)
        axes.plot(errors.levels, values.mean(1), "o-", color=colour, ms=4, lw=2, label=name)
    first, last = float(errors.levels[0]), float(errors.levels[-1])
    axes.axhline(errors.spread, color=INK, ls="--", lw=1, alpha=0.6)
    axes.axhline(1, color=ACCENT, ls="--", lw=1, alpha=0.6)
    mean = f"always the mean {subject.one}"
    axes.text(first, errors.spread / 1.15, mean, ha="left", va="top", fontsize=8.5, color=INK)
    axes.text(last, 1.12, "always 0", ha="right", va="bottom", fontsize=8.5, color=ACCENT)
    label = r"noise level: log-SNR  (much noise $\rightarrow$)"
    title = f"mean squared error; the band covers 80 % of the {subject.many}"
    plot(axes, title, label, "", log=True)
    axes.set_xlim(first + 0.4, last - 0.4)
    legend(axes, "lower center")
    _states(subject, figure.add_subplot(below), errors)
    return figure


def _states(subject: Subject, axes: Axes, errors: Errors) -> None:
    """x_t, the prediction and the truth for one sample, from little noise to much."""
    model, process = subject.model, subject.model.process
    levels = errors.levels[torch.linspace(0, LEVELS - 1, SHOWN).round().long()]
    t = process.time_at(levels).to(model.device)
    one, cond = subject.real(1), subject.cond(1)
    x0 = one.expand(SHOWN, *one.shape[1:])
    eps = subject.noise([0]).initial().expand_as(x0)
    x = process.add_noise(x0, eps, t)
    found = model.denoise(x, t, cond.repeat(SHOWN))
    rows = [subject.shown(x, t), subject.shown(found), subject.shown(x0)]
    names = [r"$x_t$", r"$\hat{x}_0$", r"$x_0$"]
    above = [f"{float(level):.1f}" for level in levels]
    labels = Labels(left=names, above=["log-SNR " + above[0], *above[1:]])
    tiles(axes, subject.cell, rows, labels)


def errors_section(subject: Subject) -> Section:
    """The loss by noise level: text and figure."""
    errors = measure(subject)
    at = int((errors.x0.mean(1) - errors.spread / 2).abs().argmin())
    half = f"{float(errors.levels[at]):.1f}".replace("-", "−")
    words = p(
        "A diffusion model is many denoisers in one, one per noise level, and a single number for",
        f"the loss hides that. Here is the error of your model on {errors.x0.shape[1]} of your",
        f"{subject.many} (it may have been trained on some of them), as an error of {X0} and as an",
        f"error of {EPS}. At a given level, one is a multiple of the other:",
    )
    words += equation(f"‖{EPS_HAT} − {EPS}‖² = SNR · ‖{X0_HAT} − {X0}‖²")
    words += p(
        f"On the left, {X0} is easy because nearly all of it is visible, and {EPS} is hard: to",
        f"find a trace of noise, one must know the {subject.one} exactly. On the right it is the",
        "other way round. The dashed lines are constant predictions that need no model; above its",
        "line, a model is worse than the constant. Learning happens in the middle: this model's",
        f"error is half the variance of the {subject.many} at a log-SNR of about {half}. Training",
        "losses differ in the parts of this curve that they emphasise.",
    )
    return Section(
        "loss", "Loss by noise level", words, errors_figure(subject, errors),
        alt="errors of x0 and of eps over log-SNR, with one sample at each level",
    )  # fmt: skip
