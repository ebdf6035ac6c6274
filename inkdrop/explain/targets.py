"""One small network with three targets: the mean of the reverse step, x_0 and eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.losses import low_discrepancy, squared_error, uniform_times
from inkdrop.diffusion.noise import SeededNoise, generator, key
from inkdrop.diffusion.parameterization import X0, Eps, Mean, Parameterization
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.times import uniform
from inkdrop.explain.section import BAR, EPS, XT, Section, equation, p, sub
from inkdrop.explain.section import X0 as DATA
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
from inkdrop.networks.unet import UNet, UNetConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TARGETS: dict[str, Parameterization] = {"mean": Mean(), "x_0": X0(), "eps": Eps()}
COLOURS = {"mean": INK, "x_0": TEAL, "eps": ACCENT}
SPOKEN = {"mean": "mean", "x_0": r"$x_0$", "eps": r"$\epsilon$"}
SAMPLES, POINTS = 10, 8
SIDES = {1: 64, 2: 12, 3: 6}  # the longest side of the small networks' data, by number of axes
PROCESS = Discrete("cosine")


@dataclass(frozen=True)
class Plan:
    """How the small networks are trained and sampled; the same for every target, with its seeds.

    samples: how many the networks may see; steps: of DDIM
    """

    updates: int = 300
    batch: int = 32
    lr: float = 2e-3
    width: int = 16
    samples: int = 1024
    steps: int = 50
    seed: int = 0


@dataclass(frozen=True)
class Taught:
    """The result of training on one target.

    levels, errors: log-SNR [L], and the squared error of x_0 [L] after the last update; curve:
    (update, geometric mean of that error over all levels); samples: [B, C, *sizes]
    """

    levels: Tensor
    errors: Tensor
    curve: list[tuple[int, float]]
    samples: Tensor


def small(x: Tensor) -> Tensor:
    """Samples [B, C, *sizes] scaled down to the longest side in SIDES, by area averaging."""
    sides = x.shape[2:]
    shrink = min(1.0, SIDES[len(sides)] / max(sides))
    shorter = [max(1, round(side * shrink)) for side in sides]
    return nn.functional.interpolate(x, shorter, mode="area")


def network(shape: tuple[int, ...], plan: Plan) -> UNet:
    """The small U-Net for samples [C, *sizes], with the same initial weights every time."""
    groups = min(8, plan.width)
    config = UNetConfig(
        dims=len(shape) - 1, in_channels=shape[0], width=plan.width, multipliers=(1, 2), blocks=1,
        attention=(), middle_attention=False, head_channels=plan.width, norm_groups=groups,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(plan.seed, "targets", "weights") % 2**63)
        return UNet(config)


def predict(net: nn.Module, target: Parameterization, x: Tensor, t: Tensor) -> Tensor:
    """x_0 [B, C, *sizes] from the network's output, whatever its target."""
    seen, feature = target.inputs(PROCESS, x, t)
    return target.x0(PROCESS, net(seen, feature, Cond()), x, t)


def teach(target: Parameterization, data: Tensor, held: Tensor, plan: Plan) -> Taught:
    """Trains one small network on the plain squared error of its target, and evaluates it."""
    net = network(tuple(data.shape[1:]), plan).to(data.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.lr, betas=(0.9, 0.99), fused=True)
    curve = []
    for update in range(plan.updates):
        if update % max(1, plan.updates // POINTS) == 0:
            curve.append((update, _mean(errors(net, target, held[:32], plan)[1])))
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * min((update + 1) / 20, 1 - update / plan.updates)
        optimizer.zero_grad()
        loss(net, target, data, update, plan).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    levels, final = errors(net, target, held, plan)
    curve.append((plan.updates, _mean(final)))
    return Taught(levels, final, curve, samples(net, target, held, plan))


def loss(net: nn.Module, target: Parameterization, data: Tensor, update: int, plan: Plan) -> Tensor:
    """The loss of one update; samples, times and noise depend only on (seed, update)."""
    draw = generator(plan.seed, "targets", update)
    rows = torch.randint(len(data), (plan.batch,), generator=draw)
    x0 = data[rows.to(data.device)]
    u = low_discrepancy(torch.rand(plan.batch, generator=draw, dtype=torch.float64))
    eps = torch.randn(x0.shape, generator=draw).to(x0.device)
    t = uniform_times(PROCESS, u).to(x0.device)
    seen, feature = target.inputs(PROCESS, PROCESS.add_noise(x0, eps, t), t)
    wanted = target.target(PROCESS, x0, eps, t)
    return squared_error(net(seen, feature, Cond()), wanted).mean()


@torch.no_grad()
def errors(
    net: nn.Module, target: Parameterization, held: Tensor, plan: Plan
) -> tuple[Tensor, Tensor]:
    """Noise levels (log-SNR, from 6 to -6) [L], and the squared error of x_0 at each [L]."""
    # The mean is only defined at whole entries of the table, so all targets are evaluated there.
    wanted = torch.linspace(6, -6, 13, dtype=torch.float64)
    times = (PROCESS.time_at(wanted) * PROCESS.steps).round().clamp(min=2) / PROCESS.steps
    found = []
    for i, t in enumerate(times):
        draw = generator(plan.seed, "targets", "held", i)
        eps = torch.randn(held.shape, generator=draw).to(held.device)
        now = t.to(held.device).expand(len(held))
        x = PROCESS.add_noise(held, eps, now)
        found.append(squared_error(predict(net, target, x, now), held).mean().cpu())
    return PROCESS.logsnr(times), torch.stack(found)


@torch.no_grad()
def samples(net: nn.Module, target: Parameterization, like: Tensor, plan: Plan) -> Tensor:
    """Samples by DDIM with x_0 clipped, from the same noise for every target."""
    noise = SeededNoise(plan.seed, range(SAMPLES), tuple(like.shape[1:]), PROCESS, like.device)
    denoise = clip(lambda x, t: predict(net, target, x, t))
    x = noise.initial()
    for step in ddim(PROCESS, denoise, x, uniform(PROCESS, plan.steps)):
        x = step.x
    return x.cpu()


def _mean(errors: Tensor) -> float:
    """The geometric mean, in which every noise level has the same weight."""
    return float(errors.log().mean().exp())


def teach_all(subject: Subject, plan: Plan) -> tuple[dict[str, Taught], Tensor]:
    """Each target's result, and the small held-out samples."""
    data = subject.cell.channels(small(subject.data.take(subject.indices(plan.samples))))
    data = data.to(subject.model.device)
    count = max(1, min(len(data) // 8, 96))
    held, rest = data[:count], data[count:]
    rest = rest if len(rest) else held
    return {name: teach(target, rest, held, plan) for name, target in TARGETS.items()}, held


def targets_figure(subject: Subject, results: dict[str, Taught], held: Tensor) -> Figure:
    """Error by noise level, error by update, and samples of all three."""
    rows = [taught.samples for taught in results.values()] + [held[:SAMPLES]]
    high = tiles_height(len(rows), SAMPLES, subject.cell.height(held.shape[1:]), 6.9)
    figure = plate("One small network, three targets", high + 4.0)
    above, below = stacked(figure, (3.3, high))
    left, right = beside(above, (1.35, 1))
    by_level = figure.add_subplot(left)
    _by_level(by_level, results, held, f"always the mean {subject.one}")
    by_update = figure.add_subplot(right)
    for name, taught in results.items():
        updates, values = zip(*taught.curve, strict=True)
        by_update.plot(updates, values, color=COLOURS[name], lw=2)
        by_update.plot(updates[-1:], values[-1:], "o", color=COLOURS[name], ms=5)
    plot(by_update, "the same during training, over all levels", "updates", "", log=True)
    axes = figure.add_subplot(below)
    names = [f"predicts {SPOKEN[name]}" for name in results] + ["real"]
    tiles(axes, subject.cell, rows, Labels(left=names))
    return figure


def _by_level(axes: Axes, results: dict[str, Taught], held: Tensor, mean: str) -> None:
    for name, taught in results.items():
        label = f"predicts {SPOKEN[name]}"
        axes.plot(taught.levels, taught.errors, "o-", color=COLOURS[name], ms=4, lw=2, label=label)
    levels = next(iter(results.values())).levels
    spread = float((held - held.mean(0)).pow(2).mean()) if len(held) > 1 else float(held.var())
    axes.axhline(spread, color=GREY, ls="--", lw=1.2)
    axes.text(-6.4, spread / 1.2, mean, ha="right", va="top", size=8.5, color=GREY)
    axes.plot(levels, (-levels).exp(), color=GREY, ls=":", lw=1.4)
    axes.text(-1.9, 2.4, r"always $x_t / \alpha_t$", size=8.5, color=GREY, ha="left")
    label = r"noise level: log-SNR  (much noise $\rightarrow$)"
    plot(axes, r"squared error of $x_0$", label, "", log=True)
    axes.set_xlim(6.6, -6.6)
    found = torch.cat([taught.errors for taught in results.values()])
    axes.set_ylim(min(float(found.min()), 2e-3) / 1.5, max(20 * float(found.max()), 1e3))
    legend(axes, "upper left")


def targets_section(subject: Subject, plan: Plan | None = None) -> Section:
    """The three targets: training, text and figure."""
    plan = plan or Plan(seed=subject.seed)
    results, held = teach_all(subject, plan)
    one, many = subject.one, subject.many
    size = subject.model.medium.describe(tuple(held.shape[1:]))
    words = p(
        "To take one step back, one needs the mean of the Gaussian over the previous state. That",
        f"mean is a mixture of the current state {XT} and the {one} {DATA}. Given {XT}, the {one}",
        f"{DATA} and the noise {EPS} determine each other:",
    )
    words += equation(
        f"{sub('μ̃', 't')} = {sub('a', 't')} {XT} + {sub('b', 't')} {DATA},"
        f" &ensp; {DATA} = ({XT} − √(1 − {BAR}) {EPS}) / √{BAR}"
    )
    words += p(
        "So a network can predict any of the three. In theory they are equivalent, but not in",
        f"learning. The same small network ({_count(plan, held):,} weights) was trained three",
        f"times on small versions of your {many} ({size}): {plan.updates} updates, with the same",
        f"initial weights, {many}, times and noise, on the cosine schedule of 1000 steps. Each run",
        "minimises the plain squared error of its own target. For comparison, each prediction is",
        f"converted into the {one} that it implies. The samples are made by DDIM in {plan.steps}",
        "steps, from the same noise in each column.",
    )
    return Section(
        "targets", "What to predict: mean, x₀ or ε", words,
        targets_figure(subject, results, held),
        after=_lesson(results), alt="error of x0 by noise level for three targets, and samples",
    )  # fmt: skip


def _count(plan: Plan, held: Tensor) -> int:
    return sum(weight.numel() for weight in network(tuple(held.shape[1:]), plan).parameters())


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lesson(results: dict[str, Taught]) -> str:
    final = {name: taught.curve[-1][1] for name, taught in results.items()}
    said = ", ".join(f"{_short(final[name])} ({spoken})" for name, spoken in _HTML.items())
    return p(
        f"Error of {DATA} over all levels: {said}. Predicting <b>the mean</b> mostly repeats the",
        f"input, because {sub('μ̃', 't')} is only one of 1000 steps away from {XT}. The loss is",
        f"small, but in the conversion to {DATA} every error is multiplied by 1/{sub('b', 't')}.",
        "Predicting <b>x₀</b> is safe in heavy noise, where an error of <b>ε</b> is multiplied by",
        f"<i>σ</i>/<i>α</i>. Predicting {EPS} is better in light noise, where the input is nearly",
        f"{DATA} already and only a small correction is needed. The dashed and dotted lines are",
        "two predictions that need no network; a good model stays below both. Predicting <i>v</i>",
        "and EDM's preconditioning are mixtures designed to follow the better of the two.",
    )


_HTML = {"mean": "mean", "x_0": "x₀", "eps": "ε"}
