"""The subject of a report: a model, and data to explain it with."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.data.dataset import Dataset
from inkdrop.data.order import epoch_order
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.process import like
from inkdrop.diffusion.samplers import Step
from inkdrop.evaluate.samples import conditions_of
from inkdrop.explain.cells import Cell, cell_of
from inkdrop.model import Condition, Model
from inkdrop.registry import medium
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import start, times, walk
from inkdrop.tasks.sampling import Sampling
from inkdrop.tune.problem import Counted


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, data like its training data, and a seed for all randomness.

    ValueError if the data do not have the model's medium, shape and classes.
    """

    model: Model
    data: Dataset
    seed: int = 0

    def __post_init__(self) -> None:
        shape, labels = self.model.spec.shape, self.model.spec.labels
        if self.data.medium != self.model.spec.medium:
            raise ValueError(
                f"the model makes {self.many}, and {self.data.name} holds"
                f" {medium(self.data.medium).many}; give the data that it was trained on"
            )
        if tuple(self.data.shape) != tuple(shape):
            raise ValueError(
                f"the model makes {shape} and {self.data.name} holds {tuple(self.data.shape)};"
                " give the data that it was trained on"
            )
        if not labels or (self.data.labels is None and self.model.spec.condition_drop):
            return
        if self.data.labels is None or tuple(self.data.label_names) != labels:
            raise ValueError(
                f"the model knows the classes {', '.join(labels[:10])}, and {self.data.name} does"
                " not have the same; give the data that it was trained on"
            )

    @property
    def one(self) -> str:
        """The noun for a sample, such as "picture"."""
        return self.model.medium.name

    @property
    def many(self) -> str:
        """The noun for samples, such as "pictures"."""
        return self.model.medium.many

    @property
    def cell(self) -> Cell:
        """The cell that draws its samples."""
        return cell_of(self.model.medium)

    @property
    def height(self) -> float:
        """The height of a cell, in units of its width."""
        return self.cell.height(self.model.spec.shape)

    def indices(self, count: int) -> list[int]:
        """The indices of `count` samples, or of all if there are fewer: a seeded choice."""
        order = epoch_order(len(self.data), self.seed, 0)
        return [int(i) for i in order[:count]]

    def real(self, count: int) -> Tensor:
        """At most `count` samples of the data in diffusion space [B, C, *sizes]."""
        return self.model.codec.encode(self.data.take(self.indices(count)).to(self.model.device))

    def cond(self, count: int) -> Cond:
        """The network's conditions for `real(count)`."""
        indices = self.indices(count)
        if self.data.labels is None and self.model.text is None:
            return self.model.null(len(indices))
        asked = conditions_of(self.model, self.data, indices)
        return Cond() if asked is None else self.model.condition(asked)

    def noise(self, samples: Sequence[int]) -> SeededNoise:
        """The noise of the samples with these numbers."""
        return SeededNoise(
            self.seed, tuple(samples), self.model.shape, self.model.process, self.model.device
        )

    def labels(self, count: int) -> list[Condition] | None:
        """Classes for `count` samples, in turn; None for a model without classes."""
        names = self.model.classes
        return [names[i % len(names)] for i in range(count)] if names else None

    def shown(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """A state in diffusion space decoded to data; with t [B] or [], scaled to unit variance."""
        if t is not None:
            process = self.model.process
            size = (process.alpha(t) ** 2 + process.sigma(t) ** 2).sqrt().clamp(min=1)
            z = z / like(size, z)
        return self.model.codec.decode(z).cpu()

    @torch.no_grad()
    def sample(self, name: str, steps: int, count: int, *, keep: bool = False) -> Run:
        """`count` samples by the sampler `name` on a uniform grid, without guidance.

        keep: keep every Step; otherwise only the last.
        """
        sampling = Sampling(sampler=name, grid="uniform", steps=steps, guidance=1.0)
        noise, on = self.noise(range(count)), times(self.model, sampling)
        denoise = Counted(denoiser(self.model, self.labels(count), count, sampling))
        x = start(self.model, noise, on)
        done = deque(walk(self.model, denoise, noise, x, on, sampling), maxlen=None if keep else 1)
        return Run(x, float(on[0]), list(done), denoise.calls)


@dataclass(frozen=True)
class Run:
    """A finished run: its initial state x [B, ...] at time t, its Steps, its network calls."""

    x: Tensor
    t: float
    steps: list[Step]
    calls: int
