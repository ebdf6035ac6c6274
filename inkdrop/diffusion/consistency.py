"""The training target of a few-step student, shared by all methods of distillation.

Time is cut into segments. From x_t, with t in a segment that ends at `low`, a first move leads to a
less noisy t' in the same segment, and one DDIM step leads on from there to `low`. The target is the
x_0 for which a single DDIM step from x_t ends at the same point. Methods differ only in how the
first move is made and how far it goes: see `inkdrop/train/distill.py`. Heek et al. 2024 (Multistep
consistency models). With one segment this is Song et al. 2023 (Consistency models). With moves all
the way to `low` it is Salimans and Ho 2022 (Progressive distillation), algorithm 2, with all
halvings at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process, like


def segments(path: Tensor, parts: int) -> Tensor:
    """The boundaries [parts + 1] of `parts` equal segments of a grid [n parts + 1], n steps each.

    ValueError if the steps do not divide evenly.
    """
    steps = len(path) - 1
    if parts < 1 or steps % parts:
        raise ValueError(
            f"a grid of {steps} steps cannot be cut into {parts} equal parts; choose a number of"
            " steps that is a multiple of the parts"
        )
    return path[:: steps // parts]


def landing(process: Process, x: Tensor, z: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The x_0 for which DDIM leads from x at t to z at s < t: `Process.step`, solved for x_0.

    x, z [B, ...]; t, s [B] -> [B, ...]. If z was reached by several DDIM steps, the result is a
    mean of their x_0 with positive weights. Salimans and Ho 2022, algorithm 2.
    """
    c_x, c_x0, _ = process.coefficients(t, s)
    return (z - like(c_x, x) * x) / like(c_x0, x)


def follow(
    process: Process, denoise: Denoiser, x: Tensor, times: Tensor, *, order: int = 2
) -> Tensor:
    """Solve the ODE from x [B, ...] at times[0] to times[-1]; times [n + 1, B] differ per sample.

    DPM-Solver++(2M), or DDIM with `order` 1; one network call per step. `samplers/dpmpp_2m.py` is
    the same solver for times that all samples share.
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order} but must be 1 (DDIM) or 2 (DPM-Solver++(2M))")
    level = process.logsnr(times)
    before: Tensor | None = None
    for i in range(len(times) - 1):
        x0 = used = denoise(x, times[i])
        if before is not None and order == 2:
            ahead = (level[i + 1] - level[i]) / (2 * (level[i] - level[i - 1]))
            # At infinite log-SNR (pure noise or pure data) the step falls back to first order.
            known = ahead.isfinite() & level[i - 1].isfinite()
            used = x0 + like(torch.where(known, ahead, 0.0), x) * (x0 - before)
        x = process.step(x, used, times[i], times[i + 1])
        before = x0
    return x


def carry(process: Process, student: Denoiser, x: Tensor, t: Tensor, low: Tensor) -> Tensor:
    """One DDIM step of the student from x at t [B] to `low` [B]; x unchanged where t = low."""
    y = process.step(x, student(x, t), t, low)
    return torch.where(like(t - low, x) > 0, y, x)
