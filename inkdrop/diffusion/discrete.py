"""Discrete tables of noise levels, such as those of DDPM, and the process between entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from inkdrop.arguments import check_fields
from inkdrop.config import choose
from inkdrop.diffusion.process import Process

# Noise schedules of a discrete table, with the usual first and last beta of those that have them.
ENDS = {
    "linear": (1e-4, 0.02),
    "cosine": None,
    "scaled_linear": (0.00085, 0.012),
    "sigmoid": (1e-4, 0.02),
}


SCHEDULES = tuple(ENDS)


def betas(schedule: str, steps: int, ends: tuple[float, float] | None = None) -> Tensor:
    """The variances beta_1 ... beta_T of a discrete chain, float64 [T], from ends[0] to ends[1].

    linear: DDPM's; cosine: s = 0.008, clipped at 0.999 (Improved DDPM, eq. 17), takes no `ends`;
    scaled_linear: linear in the square root (Stable Diffusion); sigmoid: the sigmoid of -6 to 6.
    ValueError for an unknown schedule, or `ends` for cosine.
    """
    f64 = torch.float64
    usual = choose("schedule", schedule, ENDS)
    if usual is None and ends is not None:
        raise ValueError(
            f"ends is {ends}, but the {schedule} schedule has its own; leave them out, or use"
            " linear, scaled_linear or sigmoid"
        )
    ends = ends or usual
    if ends is None:
        i = torch.arange(steps + 1, dtype=f64) / steps
        bar = torch.cos((i + 0.008) / 1.008 * torch.pi / 2) ** 2
        return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    first, last = ends
    if schedule == "linear":
        return torch.linspace(first, last, steps, dtype=f64)
    if schedule == "scaled_linear":
        return torch.linspace(first**0.5, last**0.5, steps, dtype=f64) ** 2
    return torch.linspace(-6, 6, steps, dtype=f64).sigmoid() * (last - first) + first


def rescale_to_zero_snr(alpha: Tensor) -> Tensor:
    """Shift and scale alpha_1 ... alpha_T [T] so that the last is 0 and the first is unchanged.

    Lin et al. 2023 (Common Diffusion Noise Schedules Are Flawed), algorithm 1.
    """
    return (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))


@lru_cache(maxsize=32)
def _table(
    schedule: str,
    steps: int,
    zero: bool,
    ends: tuple[float, float] | None,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """(alpha, sigma, logsnr) at i = 0 ... T, float64."""
    log_alpha = torch.log1p(-betas(schedule, steps, ends)).cumsum(0) / 2
    alpha, sigma = log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()
    if zero:
        alpha = rescale_to_zero_snr(alpha)
        sigma = ((1 - alpha) * (1 + alpha)).sqrt()
    one, none = alpha.new_ones(1), alpha.new_zeros(1)
    alpha, sigma = torch.cat([one, alpha]), torch.cat([none, sigma])
    logsnr = 2 * (alpha.log() - sigma.log())
    return alpha.to(device), sigma.to(device), logsnr.to(device)


@dataclass(frozen=True)
class Discrete(Process):
    """A table of T noise levels (DDPM); t = i / T, and i = 0 is data.

    Between entries the log-SNR is interpolated, and the network's timestep is fractional. Next to
    an end of infinite log-SNR, sigma (below i = 1) or alpha (above i = T - 1, with zero terminal
    SNR) is linear instead. Entry i is timestep i - 1 for the network, so 0 ... T - 1 as in DDPM.

    schedule: one of SCHEDULES; steps: T, at least 2
    zero_terminal_snr: rescaled so that the last entry is pure noise (Lin et al. 2023)
    ends: the first and the last beta (None: those of `ENDS`)
    ValueError for an unknown schedule or impossible ends.
    """

    schedule: str = "cosine"
    steps: int = 1000
    zero_terminal_snr: bool = False
    ends: tuple[float, float] | None = None

    t_max: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        usual = choose("schedule", self.schedule, ENDS)
        if self.ends is not None and (usual is None or not 0 < self.ends[0] < self.ends[1] < 1):
            raise ValueError(
                f"ends is {self.ends} for the {self.schedule} schedule: give a first and a larger"
                " last beta between 0 and 1, and none for cosine"
            )
        if self.steps < 2:
            raise ValueError(f"steps is {self.steps}: a table needs at least 2 noise levels")

    def table(self, device: torch.device | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha, sigma, logsnr) at i = 0 ... T, float64 [T + 1]."""
        device = device or torch.device("cpu")
        alpha, sigma, logsnr = _table(
            self.schedule, self.steps, self.zero_terminal_snr, self.ends, device
        )
        return alpha, sigma, logsnr

    @property
    def t_min(self) -> float:
        return 1 / self.steps

    @property
    def t_start(self) -> float:
        return 1 - 1 / self.steps if self.zero_terminal_snr else 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return self._levels(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        return self._levels(t)[1]

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma, logsnr = self.table(t.device)
        i = t.double() * self.steps
        entry = i.round()
        # Entries of the table are reproduced to the last bit; i / T * T may miss the integer i.
        exact = (i - entry).abs() < 1e-9 * self.steps
        low = i.floor().clamp(1, self.steps - 1).long()
        level = torch.lerp(logsnr[low], logsnr[low + 1], i - low)
        # With alpha^2 + sigma^2 = 1, alpha^2 is the sigmoid of the log-SNR.
        a, b = level.sigmoid().sqrt(), (-level).sigmoid().sqrt()
        below, near = sigma[1] * i, entry.long().clamp(0, self.steps)
        a = torch.where(i < 1, ((1 - below) * (1 + below)).clamp(min=0).sqrt(), a)
        b = torch.where(i < 1, below, b)
        if self.zero_terminal_snr:
            above = alpha[-2] * (self.steps - i)
            last = i > self.steps - 1
            a = torch.where(last, above, a)
            b = torch.where(last, ((1 - above) * (1 + above)).clamp(min=0).sqrt(), b)
        return torch.where(exact, alpha[near], a), torch.where(exact, sigma[near], b)

    def time_at(self, logsnr: Tensor) -> Tensor:
        alpha, sigma, table = self.table(logsnr.device)
        finite = table[1:] if not self.zero_terminal_snr else table[1:-1]
        wanted = logsnr.double()
        # searchsorted needs an increasing sequence, and log-SNR decreases along the table.
        position = torch.searchsorted(-finite, -wanted).clamp(1, len(finite) - 1)
        high, low = finite[position - 1], finite[position]
        i = position + (high - wanted) / (high - low)
        # Below the first entry sigma is linear in i, so i is sigma over the first entry's sigma.
        i = torch.where(wanted >= finite[0], (-wanted).sigmoid().sqrt() / sigma[1], i)
        if self.zero_terminal_snr:
            beyond = self.steps - wanted.sigmoid().sqrt() / alpha[-2]
            return torch.where(wanted < finite[-1], beyond, i) / self.steps
        return i.clamp(max=self.steps) / self.steps

    def time_feature(self, t: Tensor) -> Tensor:
        return t * self.steps - 1

    def previous(self, t: Tensor) -> Tensor:
        return t - 1 / self.steps

    def check_steps(self, steps: int) -> None:
        super().check_steps(steps)
        if steps > self.steps:
            raise ValueError(
                f"steps is {steps}: this model's table has {self.steps} noise levels; use at most"
                " that many"
            )
