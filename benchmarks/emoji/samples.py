"""Pairs of a name and a style, and a model's samples for them, cached on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.emoji.judge import NAME, STYLE, TONE, Real
from inkdrop.digest import digest, digest_of_weights
from inkdrop.files import replacing
from inkdrop.model import Model, Prompt
from inkdrop.tasks.generate import generate
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import TrainConfig
from inkdrop.train.precision import autocast
from recipes import emoji

BATCH = 50


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of the real pictures; each is a pair of a name and a style."""

    real: Real
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> Pairs:
        """The first `count` pairs."""
        return Pairs(self.real, self.rows[:count])

    def told(self, column: str) -> list[str]:
        """The values of a table column."""
        return [self.real.rows[row][column] for row in self.rows]

    def prompts(self, *, korean: bool = False) -> list[Prompt]:
        """Prompts with the name as text and the style as a label."""
        names = self.told("caption_ko" if korean else "caption")
        return [Prompt(n, style) for n, style in zip(names, self.told("style"), strict=True)]

    def labels(self, head: str) -> Tensor:
        """The judge's correct answers for one head, [N] int64."""
        return torch.from_numpy(self.real.heads[head].labels[self.rows])

    def pictures(self) -> Tensor:
        """The real pictures."""
        return self.real.data.take(self.rows)


def covered(real: Real, *, seen: bool) -> Pairs:
    """All training pairs, or all pairs held out of training, in random order."""
    hidden = emoji.left_out(real.rows)
    rows = [
        i
        for i, row in enumerate(real.rows)
        if emoji.covered(row) and ((row["caption"], row["style"]) in hidden) != seen
    ]
    order = np.argsort(np.random.Philox(0).random_raw(len(rows)), kind="stable")
    return Pairs(real, np.array(rows)[order])


def candidates(real: Real) -> Tensor:
    """The class indices of the names that the model should know."""
    names = {row["caption"] for row in real.rows if emoji.covered(row)}
    return torch.tensor(sorted(real.number(name) for name in names))


@dataclass(frozen=True, eq=False)
class Artist:
    """A model with a cache of its samples, keyed by everything that determines them."""

    model: Model
    folder: Path

    @property
    def fingerprint(self) -> str:
        """The sha256 of the weights of the network and of the text encoder."""
        assert self.model.text is not None
        parts = (self.model.network, self.model.text.encoder)
        return digest(digest_of_weights(part.state_dict()) for part in parts)

    @torch.no_grad()
    def draw(self, what: str, prompts: list[Prompt], guidance: float | None = None) -> Tensor:
        """Samples 0, 1, ... of seed 0 for these prompts, [N, 3, 64, 64] in [-1, 1]."""
        sampling = Sampling(guidance=guidance)
        parts, own = list[np.ndarray](), self.fingerprint
        scale = self.model.spec.guidance if guidance is None else guidance
        plan = chosen(self.model, sampling)
        for first in range(0, len(prompts), BATCH):
            some = prompts[first : first + BATCH]
            file = self.folder / f"{digest([own, some, first, scale, plan])[:24]}.npy"
            if not file.is_file():
                print(f"{what}: {first} of {len(prompts)}", flush=True)
                with replacing(file) as beside:
                    np.save(beside, self._drawn(some, first, sampling))
            parts.append(np.load(file))
        return torch.from_numpy(np.concatenate(parts)).float() / 127.5 - 1

    def _drawn(self, prompts: list[Prompt], first: int, sampling: Sampling) -> np.ndarray:
        rows = range(first, first + len(prompts))
        with autocast(TrainConfig(), self.model.device):
            for step in generate(self.model, samples=rows, conditions=prompts, sampling=sampling):
                x = step.x
            y = self.model.codec.decode(x)
        return ((y.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()

    @torch.no_grad()
    def rebuilt(self, pictures: Tensor) -> Tensor:
        """Autoencoder reconstructions of real pictures: the best this model could do."""
        codec = self.model.codec
        parts = [codec.decode(codec.encode(part)) for part in pictures.split(64)]
        return torch.cat(parts).clamp(-1, 1)


__all__ = ["NAME", "STYLE", "TONE", "Artist", "Pairs", "candidates", "covered"]
