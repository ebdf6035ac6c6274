"""The way back: one run step by step, and two samplers at many numbers of steps."""

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
    """x_t and the x_0 predicted from it at every step of a DDIM run; two samples."""
    run = subject.sample("ddim", steps_at_most(subject.model.process, WALK), 2, keep=True)
    times = torch.tensor([run.t, *(step.t for step in run.steps)], dtype=torch.float64)
    states = torch.stack([run.x, *(step.x for step in run.steps)])
    guesses = torch.stack([step.x0 for step in run.steps])
    rows: list[Tensor] = []
    for i in range(2):
        rows += [subject.shown(states[:, i], times), subject.shown(guesses[:, i])]
    high = tiles_height(4, len(times), subject.height, 7.4)
    figure = plate("The way back: what is there, and what the network takes it for", high + 0.75)
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
    """One run, told and drawn."""
    one = subject.one
    words = p(
        f"Sampling begins with noise alone. At every step the network looks at {XT}, says which",
        f"{one} {X0_HAT} it takes it for, and the state moves a little towards that {one}:",
        "to the noise level <i>s</i> that comes next, keeping the noise that would explain what",
        "was seen.",
    )
    words += equation(
        f"{sub('x', 's')} = {sub('α', 's')} {X0_HAT} + {sub('σ', 's')} {EPS_HAT},"
        f" &ensp; {EPS_HAT} = ({XT} − {ALPHA} {X0_HAT}) / {SIGMA}",
        "DDIM",
    )
    words += p(
        f"Two runs of {steps_at_most(subject.model.process, WALK)} steps, each in two rows. In",
        f"heavy noise the honest answer is an average of all {subject.many} that could be meant,",
        f"so {X0_HAT} begins without contrast and detail; each step rules some of them out.",
        "Coarse things are settled first, fine ones last.",
    )
    return Section(
        "reverse", "The way back, step by step", words, reverse_figure(subject),
        alt=f"states and predicted {subject.many} from noise on the left to a sample on the right",
    )  # fmt: skip


def steps_at_most(process: Process, steps: int) -> int:
    """`steps`, or all that a discrete table has."""
    return min(steps, process.steps) if isinstance(process, Discrete) else steps


@dataclass(frozen=True)
class Compared:
    """Runs of both samplers by number of steps, the numbers left out, and why."""

    runs: dict[int, dict[str, Run]]
    seconds: dict[int, float]
    left_out: str


def compare(subject: Subject, *, quick: bool = False) -> Compared:
    """DDPM and DDIM from the same noise at each number of steps that the model allows."""
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
    """A row for each number of steps: the same samples by DDPM on the left, DDIM on the right."""
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
    """DDPM against DDIM, told and drawn."""
    compared = compare(subject, quick=quick)
    words = p(
        "Both samplers ask the same network, once a step. <b>DDPM</b> draws from the Gaussian",
        f"<i>q</i>({sub('x', 's')} | {XT}, {X0_HAT}), fresh noise each time; <b>DDIM</b> draws",
        "none. Every column begins with the same noise.",
    )
    words += p(
        f"Read down a column. With DDIM the same noise leads to the same {subject.one} whatever",
        "the number of steps, only better resolved, for it follows one fixed curve: noise becomes",
        "an address. DDPM throws the dice again in every row and ends elsewhere, and its noise",
        "needs many small steps to be cleaned up again. Guidance is off. The calls are those of",
        f"the network, each for all {SAMPLES} samples of one sampler at once.",
    )
    took = ", ".join(f"{n} steps {s:.2g} s" for n, s in compared.seconds.items())
    words += p(f"It took, for each sampler: {took}.")
    if compared.left_out:
        words += p(f"<b>{compared.left_out[0].upper()}{compared.left_out[1:]}.</b>")
    return Section(
        "ddpm-ddim", "How many steps? DDPM against DDIM", words, solvers_figure(subject, compared),
        alt="samples of both samplers at rising numbers of steps",
    )  # fmt: skip
