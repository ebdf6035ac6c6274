"""Why the loss is so simple: a step's KL is a weighted error of eps, derived and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.losses import bound_term
from inkdrop.explain.section import (
    ALPHA,
    BAR,
    BETA,
    EPS,
    EPS_HAT,
    SIGMA,
    X0,
    XS,
    XT,
    Section,
    equation,
    frac,
    p,
    power,
    sub,
)
from inkdrop.explain.style import ACCENT, INK, legend, plate, plot
from inkdrop.explain.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES, LEVELS = 24, 24
SHARES = (0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)  # entries listed, as t / T


@dataclass(frozen=True)
class Check:
    """One step of the bound in both forms, in nats per dimension; error: of eps, unweighted."""

    entry: int
    kl: float
    weight: float
    error: float

    @property
    def weighted(self) -> float:
        """The weighted error of eps, which the KL should equal."""
        return self.weight * self.error


def weights(process: Discrete, t: Tensor) -> Tensor:
    """beta_t^2 / (2 sigma_t^2 alpha_t (1 - alphabar_t)), sigma_t^2 = beta-tilde. DDPM, eq. 12."""
    bar, before = process.alpha(t) ** 2, process.alpha(process.previous(t)) ** 2
    alpha = bar / before
    beta = 1 - alpha
    variance = beta * (1 - before) / (1 - bar)
    return beta**2 / (2 * variance * alpha * (1 - bar))


def entries(process: Discrete) -> list[int]:
    """Table entries to check: the second (the first has no KL) up to the last with a finite KL."""
    last = process.steps - 1 if process.zero_terminal_snr else process.steps
    even = torch.linspace(math.log(2), math.log(last), LEVELS // 2).exp().tolist()
    even += torch.linspace(2, last, LEVELS // 2).tolist()
    even += [max(2, share * process.steps) for share in SHARES]
    return sorted({min(max(round(i), 2), last) for i in even})


@torch.no_grad()
def check(subject: Subject, process: Discrete, count: int = SAMPLES) -> list[Check]:
    """The bound's terms in both forms, for the model's own predictions, in float64."""
    x0, cond = subject.real(count).double(), subject.cond(count)
    eps = subject.noise(range(len(x0))).initial().double()
    found = []
    for entry in entries(process):
        t = torch.full((len(x0),), entry / process.steps, dtype=torch.float64, device=x0.device)
        x = process.add_noise(x0, eps, t)
        x0_hat = subject.model.denoise(x, t, cond)
        kl = float(bound_term(process, x0, x, x0_hat, t).mean()) * math.log(2)
        error = float((process.eps(x, x0_hat, t) - eps).pow(2).mean())
        found.append(Check(entry, kl, float(weights(process, t[:1])), error))
    return found


def derivation_figure(checks: list[Check], process: Discrete) -> Figure:
    """Left: both forms over t. Right: the weight that the simple loss drops."""
    figure = plate("The KL divergence of a step is a weighted error of the noise", 3.9)
    left, right = figure.subplots(1, 2)
    at = [c.entry for c in checks]
    weighted, kl = [c.weighted for c in checks], [c.kl for c in checks]
    left.plot(at, weighted, color=ACCENT, lw=2.4, label=r"$w_t$ · error of $\epsilon$")
    left.plot(at, kl, "o", color=INK, ms=4.5, label="KL of two Gaussians")
    plot(left, "one step of the bound, nats per dimension", "step t of the table", "", log=True)
    legend(left, "upper right")
    t = torch.arange(2, at[-1] + 1, dtype=torch.float64) / process.steps
    weight = weights(process, t)
    right.plot(t * process.steps, weight, color=ACCENT, lw=2.4, label=r"$w_t$ of the bound")
    right.axhline(1, color=INK, lw=1.6, ls="--", label=r"the simple loss: $w_t = 1$")
    plot(right, "the weight on the error of ε", "step t of the table", "", log=True)
    legend(right, "upper center")
    return figure


def table(checks: list[Check], process: Discrete, many: str) -> str:
    """The checked numbers as an HTML table."""
    wanted = {min(max(round(share * process.steps), 2), checks[-1].entry) for share in SHARES}
    rows = []
    for c in checks:
        if c.entry in wanted or c is checks[-1]:
            numbers = (c.weight, c.error, c.kl, c.weighted)
            cells = "".join(f"<td>{_number(value)}</td>" for value in numbers)
            rows.append(f"<tr><th>{c.entry}</th>{cells}<td>{power(c.kl - c.weighted)}</td></tr>")
    square = f"‖{EPS_HAT} − {EPS}‖²"
    names = ("<i>t</i>", sub("w", "t"), square, "KL form", "weighted error", "difference")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(rows)
    return (
        f'<div class="wide"><table><caption>Means over your {many}, in nats per dimension; errors'
        f" are also per dimension. Computed in double precision.</caption><thead><tr>{head}"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return f"{value:.4f}" if 1e-2 <= abs(value) < 1e4 else power(value, 4)


def story(one: str, many: str) -> str:
    """The derivation as HTML; one, many: the medium's noun, such as "picture" and "pictures"."""
    tilde, mean = sub("μ̃", "t"), sub("μ̂", "t")
    words = p(
        "The model should give the data a high likelihood. The likelihood cannot be computed, but",
        "a bound on it can. The forward process is known, so we can compare, step by step, the",
        f"model's reverse step with the exact reverse step for a known {one}.",
    )
    words += equation(
        f"−log <i>p</i>({X0}) ≤ 𝔼 [ {sub('L', 'T')} + ∑<sub>t&gt;1</sub>"
        f" KL( <i>q</i>({XS} | {XT}, {X0}) ‖ <i>p</i>({XS} | {XT}) ) + {sub('L', '0')} ]",
        "1",
    )  # fmt: skip
    words += p(
        "<b>Both are Gaussian.</b> Bayes' rule, applied to the distribution of the earlier state",
        f"and the small step that followed, gives the exact one: mean {tilde}, variance {SIGMA}².",
        "Give the model the same variance, so that it only has to predict the mean. The KL",
        "divergence of two Gaussians with the same variance is the squared distance between their",
        "means, up to a factor:",
    )
    words += equation(f"KL = {frac(f'‖{tilde} − {mean}‖²', f'2 {SIGMA}²')}", "2")
    words += p(
        f"<b>The mean is the noise in disguise.</b> Express {X0} through {XT} and {EPS}, and the",
        "mean becomes:",
    )
    inner = f"{XT} − {frac(BETA, f'√(1 − {BAR})')} {EPS}"
    words += equation(f"{tilde} = {frac('1', f'√{ALPHA}')} ( {inner} )", "3")
    words += p(
        f"{XT} is the network's input, so there is no need to predict it. Let the network predict",
        f"{EPS_HAT}, and build its mean by the same formula. Then {XT} cancels in the difference,",
        "and the KL is the error of the noise times a weight:",
    )
    weight = frac(f"{BETA}²", f"2 {SIGMA}² {ALPHA} (1 − {BAR})")
    w = sub("w", "t")
    words += equation(f"KL = {w} ‖{EPS} − {EPS_HAT}‖², &ensp; {w} = {weight}", "4")
    words += p(
        "<b>Drop the weight.</b> It is large at the smallest <i>t</i>, where the noise to be",
        "removed is invisible, and hundreds of times smaller in the middle, where the content of",
        f"the {one} is decided. (At the end of some schedules it rises again, but there the error",
        f"is close to zero.) With weight 1 the loss favours good {many} over a good likelihood:",
    )
    simple = f"{sub('L', 'simple')} = 𝔼 ‖{EPS} − {EPS_HAT}({XT}, <i>t</i>)‖²"
    return words + equation(simple, "5")


def derivation_section(subject: Subject) -> Section:
    """The derivation, and for a discrete table its check with the model's own numbers."""
    process, name = subject.model.process, "Why the loss is so simple"
    told = story(subject.one, subject.many)
    if not isinstance(process, Discrete):
        return Section("derivation", name, told + p(
            "<b>Left out:</b> the check of (4) with this model's numbers. Its process",
            f"({type(process).__name__}) is continuous, and only a discrete table has neighbouring",
            "steps with a KL between them. In the limit of small steps the sum becomes an integral",
            "over log-SNR of the same error of the noise.",
        ))  # fmt: skip
    checks = check(subject, process)
    worst = max(abs(c.kl - c.weighted) / c.kl for c in checks)
    ratio = checks[0].weight / checks[len(checks) // 2].weight
    after = p(
        "<b>Checked with your model.</b> The left side of (4) is the KL of two Gaussians, computed",
        f"directly from the prediction {sub('x̂', '0')}. The right side is the error of the",
        "predicted noise times the weight. Over all steps checked, the relative difference is at",
        f"most {power(worst)}, which is rounding error. The weight at step {checks[0].entry} is",
        f"{ratio:,.0f} times the weight at step {checks[len(checks) // 2].entry}.",
    )
    after += table(checks, process, subject.many)
    return Section(
        "derivation", name, told, derivation_figure(checks, process), after=after,
        alt="left: the KL form and the weighted error lie on one curve; right: the weight over t",
    )  # fmt: skip
