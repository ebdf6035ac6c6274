"""The reverse process: one run step by step, and two samplers at several numbers of steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.process import Process
from inkdrop.explain.section import ALPHA, EPS_HAT, SIGMA, X0_HAT, XT, Section, equation, p, sub
from inkdrop.explain.style import GAP, GREY, INK, plate
from inkdrop.explain.subject import Run, Subject
from inkdrop.explain.tiles import Labels, tiles, tiles_height

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

WALK, SAMPLES = 12, 5
COUNTS = (10, 20, 50, 100, 1000)
QUICK = 100


def reverse_figure(subject: Subject) -> Figure:
    """x_t and the x_0 predicted from it at every step of a DDIM run, for two samples."""
    run = subject.sample("ddim", steps_at_most(subject.model.process, WALK), 2, keep=True)
    times = torch.tensor([run.t, *(step.t for step in run.steps)], dtype=torch.float64)
    states = torch.stack([run.x, *(step.x for step in run.steps)])
    guesses = torch.stack([step.x0 for step in run.steps])
    rows: list[Tensor] = []
    for i in range(2):
        rows += [subject.shown(states[:, i], times), subject.shown(guesses[:, i])]
    high = tiles_height(4, len(times), subject.height, 7.4)
    figure = plate("The way back: the state, and the network's prediction from it", high + 0.75)
    axes = figure.add_subplot()
    names = [f"{float(t):.2g}" for t in times]
    left, above = [r"$x_t$", r"$\hat{x}_0$"] * 2, ["t = " + names[0], *names[1:]]
    tiles(axes, subject.cell, rows, Labels(left, above))
    side = subject.height
    for row in (1, 3):
        at = (len(times) - 1) * (1 + GAP) + 0.5
        middle = row * (side + GAP) + side / 2
        text = "the\nsample\n↑"
        axes.text(at, middle, text, ha="center", va="center", fontsize=7.5, color=GREY)
    return figure


def reverse_section(subject: Subject) -> Section:
    """One run: text and figure."""
    one = subject.one
    words = p(
        f"Sampling starts from pure noise. At every step the network predicts a {one} {X0_HAT}",
        f"from the state {XT}. The state then moves a little towards that {one}, to the next noise",
        f"level <i>s</i>, and keeps the noise {EPS_HAT} that the prediction implies:",
    )
    words += equation(
        f"{sub('x', 's')} = {sub('α', 's')} {X0_HAT} + {sub('σ', 's')} {EPS_HAT},"
        f" &ensp; {EPS_HAT} = ({XT} − {ALPHA} {X0_HAT}) / {SIGMA}",
        "DDIM",
    )
    words += p(
        f"Two runs of {steps_at_most(subject.model.process, WALK)} steps, in two rows each. In",
        f"heavy noise, the best prediction is the average of all {subject.many} that could lie",
        f"behind the noise, so {X0_HAT} starts without contrast and detail. Each step rules some",
        "of them out. Coarse structure is decided first and fine detail last.",
    )
    return Section(
        "reverse", "The way back, step by step", words, reverse_figure(subject),
        alt=f"states and predicted {subject.many}, from noise at the left to a sample at the right",
    )  # fmt: skip


def steps_at_most(process: Process, steps: int) -> int:
    """`steps`, but at most the number of a discrete table's entries."""
    return min(steps, process.steps) if isinstance(process, Discrete) else steps


@dataclass(frozen=True)
class Compared:
    """Runs and seconds by number of steps; left_out: which numbers were skipped, and why."""

    runs: dict[int, dict[str, Run]]
    seconds: dict[int, float]
    left_out: str


def compare(subject: Subject, *, quick: bool = False) -> Compared:
    """DDPM and DDIM from the same noise, at each number of steps in COUNTS that is possible."""
    process = subject.model.process
    allowed = process.steps if isinstance(process, Discrete) else max(COUNTS)
    most = min(allowed, QUICK) if quick else allowed
    counts = [count for count in COUNTS if count <= most]
    out = [str(count) for count in COUNTS if count > most]
    why = f"the table has {allowed} levels" if allowed <= most else "the quick report"
    left_out = f"left out: {', '.join(out)} steps ({why})" if out else ""
    runs: dict[int, dict[str, Run]] = {}
    seconds = {}
    for count in counts or [allowed]:
        began = time.perf_counter()
        runs[count] = {name: subject.sample(name, count, SAMPLES) for name in ("ddpm", "ddim")}
        seconds[count] = (time.perf_counter() - began) / 2
    return Compared(runs, seconds, left_out)


def solvers_figure(subject: Subject, compared: Compared) -> Figure:
    """One row per number of steps: the same samples by DDPM on the left and DDIM on the right."""
    rows, left = [], []
    for count, pair in compared.runs.items():
        ends = [subject.shown(pair[name].steps[-1].x) for name in ("ddpm", "ddim")]
        rows.append(torch.cat(ends))
        left.append(f"{count} steps\n{pair['ddim'].calls} calls")
    high = tiles_height(len(rows), 2 * SAMPLES + 1, subject.height, 7.2)
    figure = plate("The same noise, by DDPM and by DDIM", high + 1.05)
    axes = figure.add_subplot()
    tiles(axes, subject.cell, rows, Labels(left, size=8.5), breaks=[SAMPLES])
    half = SAMPLES * (1 + GAP) / 2
    for name, middle in (("DDPM: fresh noise at each step", half),
                         ("DDIM: no fresh noise", 3 * half + 0.3)):  # fmt: skip
        axes.text(middle, -0.15, name, ha="center", va="bottom", fontsize=10, color=INK)
    if compared.left_out:
        foot = len(rows) * (subject.height + GAP) + 0.1
        axes.text(0, foot, compared.left_out, ha="left", va="top", fontsize=9, color=GREY)
    return figure


def solvers_section(subject: Subject, *, quick: bool = False) -> Section:
    """DDPM against DDIM: text and figure."""
    compared = compare(subject, quick=quick)
    words = p(
        "Both samplers call the same network, once per step. <b>DDPM</b> draws the next state from",
        f"the Gaussian <i>q</i>({sub('x', 's')} | {XT}, {X0_HAT}), with fresh noise at each step;",
        "<b>DDIM</b> draws no noise. Every column starts from the same noise.",
    )
    words += p(
        f"Read down a column. With DDIM, the same noise leads to the same {subject.one} whatever",
        "the number of steps: it follows one fixed curve, and more steps only follow it more",
        f"closely. So the noise is like an address of the {subject.one}. DDPM draws new noise in",
        "every row and ends somewhere else, and it takes many small steps to remove that noise",
        f"again. Guidance is off. A call evaluates the network for all {SAMPLES} samples of one",
        "sampler at once.",
    )
    took = ", ".join(f"{n} steps {s:.2g} s" for n, s in compared.seconds.items())
    words += p(f"Time per sampler: {took}.")
    if compared.left_out:
        words += p(f"<b>{compared.left_out[0].upper()}{compared.left_out[1:]}.</b>")
    return Section(
        "ddpm-ddim", "How many steps? DDPM against DDIM", words, solvers_figure(subject, compared),
        alt="samples by both samplers at increasing numbers of steps",
    )  # fmt: skip
