"""A Gaussian mixture whose best denoiser, noisy marginals and flow are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import VE, VP, Flow, Process

PROCESSES: dict[str, Process] = {
    "linear": Discrete("linear"),
    "cosine": Discrete("cosine"),
    "scaled_linear": Discrete("scaled_linear"),
    "sigmoid": Discrete("sigmoid"),
    "zero_snr": Discrete("linear", zero_terminal_snr=True),
    "zero_snr_cosine": Discrete("cosine", zero_terminal_snr=True),
    "vp": VP(),
    "ve": VE(),
    "flow": Flow(),
}


def f64(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    """Unit Gaussian float64 numbers from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] N(means[k], stds[k]^2 I); means [K, D], stds [K], weights [K], float64."""

    means: Tensor
    stds: Tensor
    weights: Tensor

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Data [n, D]."""
        generator = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = gaussian(n, self.means.shape[1], seed=seed + 1)
        return self.means[k] + self.stds[k, None] * eps

    def noisy(self, process: Process, t: float, n: int, seed: int = 0) -> Tensor:
        """Exact draws [n, D] of the marginal q(x_t)."""
        x0, now = self.sample(n, seed), torch.full((n,), t, dtype=torch.float64)
        alpha, sigma = process.alpha(now)[:, None], process.sigma(now)[:, None]
        return alpha * x0 + sigma * gaussian(*x0.shape, seed=seed + 2)

    def denoiser(self, process: Process) -> Denoiser:
        """E[x_0 | x_t] for x [B, ...] with D elements a sample, by Bayes' rule."""

        # The batch is the last dimension inside: [D, K, B].
        means, stds, weights = self.means.T[..., None], self.stds[:, None], self.weights[:, None]

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            t = t[:1] if t.stride() == (0,) else t  # one time for the whole batch
            alpha, sigma = process.alpha(t), process.sigma(t)
            variance = (alpha * stds) ** 2 + sigma**2  # [K, B]
            gap = x.flatten(1).double().T[:, None] - alpha * means
            logits = -0.5 * (gap.square().sum(0) / variance + len(gap) * variance.log())
            share = (weights.log() + logits).softmax(0)
            each = means + alpha * stds**2 / variance * gap
            return (share * each).sum(1).T.reshape(x.shape)

        return denoise

    def cdf(self, process: Process, x: Tensor, t: Tensor) -> Tensor:
        """P(x_t < x) of a mixture on the line; x [N], t []."""
        spread = ((process.alpha(t) * self.stds) ** 2 + process.sigma(t) ** 2).sqrt()
        z = (x[:, None] - process.alpha(t) * self.means[:, 0]) / spread
        below: Tensor = (self.weights * torch.special.ndtr(z)).sum(1)
        return below

    def flow(self, process: Process, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x_s [N] at the end of the probability-flow ODE from x_t [N], on the line.

        The ODE keeps the order of points and carries q(x_t) to q(x_s), so it maps every quantile to
        the same quantile; the inverse of the distribution function is found by bisection.
        """
        level = self.cdf(process, x, t)
        low, high = torch.full_like(x, -1e3), torch.full_like(x, 1e3)
        for _ in range(80):
            middle = (low + high) / 2
            below = self.cdf(process, middle, s) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def assert_distributed(x: Tensor, mixture: Mixture, *, errors: float = 4.5) -> None:
    """x [N, D] has the mixture's weights, means and spreads within `errors` standard errors."""
    n, dims = x.shape
    nearest = torch.cdist(x, mixture.means).argmin(1)
    for k, (mean, std, weight) in enumerate(
        zip(mixture.means, mixture.stds.tolist(), mixture.weights.tolist(), strict=True)
    ):
        mine = x[nearest == k]
        share, count = len(mine) / n, n * weight
        assert abs(share - weight) < errors * math.sqrt(weight * (1 - weight) / n), f"weight {k}"
        assert (mine.mean(0) - mean).abs().max() < errors * std / math.sqrt(count), f"mean {k}"
        spread = (mine - mean).square().mean().sqrt().item()
        assert abs(spread - std) < errors * std / math.sqrt(2 * count * dims), f"spread {k}"


THREE = Mixture(
    means=torch.tensor([[-1.2, 0.4], [0.9, -0.5], [0.6, 1.2]], dtype=torch.float64),
    stds=f64(0.2, 0.25, 0.15),
    weights=f64(0.5, 0.3, 0.2),
)
LINE = Mixture(means=f64(-0.7, 0.8)[:, None], stds=f64(0.3, 0.4), weights=f64(0.4, 0.6))
