"""TrainConfig: everything that determines what a training run computes, as one frozen value.

This module does not import torch, so the command line can list the options quickly.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from inkdrop.arguments import check_fields
from inkdrop.config import choose, option
from inkdrop.limits import ROWS, UPDATES, check_seed, check_within

Precision = Literal["auto", "float32", "bfloat16"]
Compile = Literal["auto", "on", "off"]

# The keys of the tables in `diffusion.losses`, repeated here because that module imports torch.
LOSSES = ("simple", "min_snr", "edm", "hybrid")
TIMES = ("uniform", "lognormal")


@dataclass(frozen=True)
class TrainConfig:
    """How to train; together with data and model description it fixes the result bit for bit.

    low_discrepancy: spread the times of a batch evenly

    The other fields are described by their help texts. Weights are float32 at every precision. The
    log-noise defaults are EDM's, which suit pixels; latents with standard deviation 1 need more
    noise before captions matter (Karras et al. 2024, EDM2, table 6).
    """

    updates: int = option(20_000, "How many optimizer steps to train in all.")
    batch: int = option(64, "Samples per update, over all processes.")
    accumulate: int = option(
        1, "Parts into which each process splits its share of a batch, to save memory."
    )
    lr: float = option(1e-3, "Peak learning rate of AdamW.")
    warmup: int = option(200, "Updates during which the learning rate rises to its peak.")
    cooldown: float = option(
        0.3, "Last fraction of the updates, during which the learning rate falls to 0."
    )
    weight_decay: float = option(0.0, "Weight decay of AdamW.")
    betas: tuple[float, float] = option((0.9, 0.99), "Decay rates of AdamW's two moments.")
    clip_norm: float = option(1.0, "Largest norm of the gradient; a longer one is shortened to it.")
    ema: float = option(
        0.999, "Decay of the averaged weights, which are the ones kept for sampling."
    )
    loss: str = option("edm", "Weighting of the loss: simple, min_snr, edm or hybrid.")
    times: str = option("lognormal", "Distribution of training times: uniform or lognormal.")
    log_noise_mean: float = option(-1.2, "Mean of log(sigma / alpha) at lognormal times.")
    log_noise_std: float = option(
        1.2, "Standard deviation of log(sigma / alpha) at lognormal times."
    )
    low_discrepancy: bool = option(True, "Spread the times of a batch evenly.")
    condition_drop: float = option(
        0.1, "How often labels and words are dropped, which guidance needs: from 0 to below 1."
    )
    flip: bool = option(False, "Mirror pictures left to right at random.")
    precision: Precision = option(
        "auto", "Precision of the network: float32, bfloat16, or auto for the faster one."
    )
    compile: Compile = option("auto", "Use torch.compile: on, off, or auto for on a GPU only.")
    seed: int = option(0, "Seed of weights, data order, noise, times and everything random.")

    def __post_init__(self) -> None:
        check_fields(self)
        choose("loss", self.loss, dict.fromkeys(LOSSES))
        choose("times", self.times, dict.fromkeys(TIMES))
        for name, most in (("updates", UPDATES), ("batch", ROWS), ("accumulate", ROWS)):
            check_within(name, getattr(self, name), 1, most)
        for name in ("lr", "clip_norm", "log_noise_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("ema", "condition_drop", "cooldown"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be from 0 to below 1")
        if self.loss == "hybrid" and self.times != "uniform":
            raise ValueError(
                f"times is {self.times!r}, but loss 'hybrid' contains a sum over the table that is"
                " estimated by evenly drawn times; use times 'uniform'"
            )
        check_within("warmup", self.warmup, 0, UPDATES)
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        """ValueError for what AdamW or torch's generators would not take."""
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: both must be from 0 to below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}: it must be at least 0")
        for name in ("lr", "log_noise_mean", "log_noise_std"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}: it must be a finite number")
        check_seed(self.seed)

    def lr_at(self, update: int) -> float:
        """The learning rate of update number `update` (0 is the first)."""
        rise = min(1.0, (update + 1) / max(self.warmup, 1))
        left = (self.updates - update) / max(self.updates * self.cooldown, 1)
        return self.lr * rise * min(1.0, max(left, 0.0))


# The default training of each kind of model.
LATENT_TRAINING = TrainConfig(
    # At the noise levels that suit pixels, a noisy latent still shows its content, so the network
    # would ignore the caption.
    log_noise_mean=0.5,
    log_noise_std=1.3,
)
AUTOENCODER_TRAINING = TrainConfig(updates=10_000, batch=32, condition_drop=0.0)
# The autoencoder of a latent model: short, because the denoiser needs most of the time.
CODING_TRAINING = dataclasses.replace(AUTOENCODER_TRAINING, updates=2000)
JUDGE_TRAINING = TrainConfig(
    updates=1000, batch=64, lr=2e-3, warmup=100, weight_decay=0.01, ema=0.995, condition_drop=0.0
)
# A student starts from its teacher's weights: a lower rate, a short warmup, no condition dropping.
DISTILL_TRAINING = TrainConfig(updates=1000, batch=64, lr=5e-4, warmup=20, condition_drop=0.0)
