"""TrainConfig: everything that decides what a training computes, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inkdrop.config import choose
from inkdrop.diffusion.losses import LOSSES, TIMES

Precision = Literal["auto", "float32", "bfloat16"]
Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train; with the data and the model's description it fixes every bit of the result.

    updates: optimizer steps in all
    batch: samples per update, over all processes; accumulate: parts that a process splits its share
        into, one after the other, to save memory
    lr: peak learning rate of AdamW; warmup: updates of linear rise; cooldown: the last fraction of
        the updates, in which it falls to 0 in a straight line
    weight_decay, betas: of AdamW; clip_norm: the gradient's largest norm
    ema: decay of the averaged weights, which are the ones that are kept for use; it is shorter at
        first: min(ema, (1 + n) / (10 + n)) at update n
    loss: simple, min_snr, edm or hybrid; times: uniform or lognormal; low_discrepancy: spread the
        times of a batch evenly
    log_noise_mean, log_noise_std: of log(sigma / alpha) at lognormal times; EDM's suit pictures,
        latents of spread 1 need more noise before words matter (Karras et al. 2024, EDM2, table 6)
    condition_drop: how often the condition is replaced by null (0: no guidance later)
    flip: mirror pictures left to right at random
    precision: auto is bfloat16 where the device computes with it; weights stay float32
    compile: torch.compile; auto compiles on a GPU only, where it pays
    seed: of weights, data order, noise, times, drop and dropout
    """

    updates: int = 20_000
    batch: int = 64
    accumulate: int = 1
    lr: float = 1e-3
    warmup: int = 200
    cooldown: float = 0.3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    ema: float = 0.999
    loss: str = "edm"
    times: str = "lognormal"
    log_noise_mean: float = -1.2
    log_noise_std: float = 1.2
    low_discrepancy: bool = True
    condition_drop: float = 0.1
    flip: bool = False
    precision: Precision = "auto"
    compile: Compile = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        choose("loss", self.loss, dict.fromkeys(LOSSES))
        choose("times", self.times, dict.fromkeys(TIMES))
        for name in ("updates", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("lr", "clip_norm", "log_noise_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("ema", "condition_drop", "cooldown"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be from 0 to below 1")
        if self.loss == "hybrid" and self.times != "uniform":
            raise ValueError(
                f"times is {self.times!r}, but loss 'hybrid' holds a sum over the table that is"
                " estimated by times drawn evenly; use times 'uniform'"
            )
        if self.warmup < 0:
            raise ValueError(f"warmup is {self.warmup}: it cannot be negative")

    def lr_at(self, update: int) -> float:
        """The learning rate of update number `update` (0 is the first)."""
        rise = min(1.0, (update + 1) / max(self.warmup, 1))
        left = (self.updates - update) / max(self.updates * self.cooldown, 1)
        return self.lr * rise * min(1.0, max(left, 0.0))
