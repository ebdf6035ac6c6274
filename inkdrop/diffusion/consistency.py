"""What a student of few steps learns: one target for every method of distillation.

Time is cut into segments. From x_t, t inside a segment that ends at `low`, somebody moves to a
less noisy t' of the same segment, and from there one DDIM step goes on to `low`. The target is the
x_0 with which a single DDIM step from x_t ends there. Methods differ only in who moves how far: see
`inkdrop/train/distill.py`. Heek et al. 2024 (Multistep consistency models); with one
segment it is Song et al. 2023 (Consistency models), and with moves right to `low` it is Salimans
and Ho 2022 (Progressive distillation), algorithm 2, with all halvings at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process, like


def segments(path: Tensor, parts: int) -> Tensor:
    """The ends [parts + 1] of `parts` segments of a grid [n parts + 1] with n steps in each."""
    steps = len(path) - 1
    if parts < 1 or steps % parts:
        raise ValueError(f"a grid of {steps} steps cannot be cut into {parts} equal parts")
    return path[:: steps // parts]


def landing(process: Process, x: Tensor, z: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The x_0 with which DDIM goes from x at t to z at s < t: the inverse of `Process.step`.

    x, z [B, ...]; t, s [B]. If z was reached by DDIM steps, it is a mean of their x_0 with positive
    weights. Salimans and Ho 2022, algorithm 2.
    """
    c_x, c_x0, _ = process.coefficients(t, s)
    return (z - like(c_x, x) * x) / like(c_x0, x)


def follow(
    process: Process, denoise: Denoiser, x: Tensor, times: Tensor, *, order: int = 2
) -> Tensor:
    """x at times[-1] from x [B, ...] at times[0]; times [n + 1, B], for every sample its own.

    DPM-Solver++(2M) (`samplers/dpmpp_2m.py`, where all samples share the times), or DDIM with
    `order` 1; one call a step.
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order}: 1 is DDIM and 2 is DPM-Solver++(2M)")
    level = process.logsnr(times)
    before: Tensor | None = None
    for i in range(len(times) - 1):
        x0 = used = denoise(x, times[i])
        if before is not None and order == 2:
            ahead = (level[i + 1] - level[i]) / (2 * (level[i] - level[i - 1]))
            known = ahead.isfinite() & level[i - 1].isfinite()
            used = x0 + like(torch.where(known, ahead, 0.0), x) * (x0 - before)
        x = process.step(x, used, times[i], times[i + 1])
        before = x0
    return x


def carry(process: Process, student: Denoiser, x: Tensor, t: Tensor, low: Tensor) -> Tensor:
    """x at `low` [B] from x at t [B] by one DDIM step of the student; x itself where t = low."""
    y = process.step(x, student(x, t), t, low)
    return torch.where(like(t - low, x) > 0, y, x)
