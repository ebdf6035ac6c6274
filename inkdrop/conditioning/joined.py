"""Several text encoders that read the same prompts, and sizes: what SDXL's denoiser is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.conditioning.text import Text, interpolate
from inkdrop.networks.layers import sinusoidal

WAVES = 256  # numbers for each size


@dataclass(frozen=True)
class JoinedConfig:
    """A `JoinedText` as model.json has it: what its parts are described by, and its sizes."""

    parts: tuple[dict[str, Any], ...]
    sizes: tuple[float, ...] = ()
    zeros: bool = False


@dataclass(frozen=True, eq=False)
class JoinedText:
    """Texts whose tokens are joined along D; the vector is the last one's (Podell et al. 2023).

    Their chunks must be alike, as those of encoders of one vocabulary and one padding are.
    sizes: what the denoiser is told besides words, each as 256 sines and cosines behind the vector.
    SDXL's are height and width of the original, top and left of its crop, height and width of the
    picture; its refiner's are the first four and an aesthetic score. `dataclasses.replace` asks
    for others, and `sized` for those of a picture.
    zeros: the empty prompt, which is the null condition, says zeros, as SDXL was trained
    """

    parts: tuple[Text, ...]
    sizes: tuple[float, ...] = ()
    zeros: bool = False

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a joined text has no parts; give at least one text encoder")
        if any(part.encoder.sketch is not None for part in self.parts):
            raise ValueError("a part of a joined text has a sketch, which only one alone can have")
        if self.sizes and self.parts[-1].encoder.pooled == "none":
            raise ValueError("sizes go behind the last text encoder's vector, but it has none")

    def encode(self, prompts: Sequence[str]) -> Cond:
        """Prompts -> tokens [B, L, sum of D], mask [B, L], vector [B, V + 256 sizes]."""
        conds = [part.encode(prompts) for part in self.parts]
        tokens = [cond.tokens for cond in conds if cond.tokens is not None]
        lengths = [each.shape[1] for each in tokens]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"the text encoders make {' and '.join(map(str, lengths))} tokens of the prompts;"
                " those that are joined must make as many"
            )
        joined, vector = torch.cat(tokens, dim=2), conds[-1].vector
        if self.zeros:
            said = torch.tensor([prompt != "" for prompt in prompts], device=joined.device)
            joined = joined * said[:, None, None]
            vector = None if vector is None else vector * said[:, None]
        if vector is not None:
            vector = torch.cat([vector, self._told(vector)], dim=1)
        return Cond(tokens=joined, mask=conds[-1].mask, vector=vector)

    def sized(self, height: int, width: int) -> JoinedText:
        """The same for a picture of this size, which no larger one was cropped to."""
        if len(self.sizes) < 4:
            return self
        rest = (height, width) if len(self.sizes) == 6 else self.sizes[4:]
        return dataclasses.replace(self, sizes=(height, width, 0.0, 0.0, *rest))

    def between(self, a: Cond, b: Cond, fraction: float) -> Cond:
        """As `text.interpolate`, but for the sizes, which are the same at both ends and stay so."""
        if a.vector is None or b.vector is None:
            return interpolate(a, b, fraction)
        words = a.vector.shape[1] - WAVES * len(self.sizes)
        told = a.vector[:, words:]
        between = interpolate(_without(a, words), _without(b, words), fraction)
        assert between.vector is not None
        return dataclasses.replace(between, vector=torch.cat([between.vector, told], dim=1))

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The encoders of all parts."""
        return tuple(network for part in self.parts for network in part.networks)

    def _told(self, vector: Tensor) -> Tensor:
        """The sizes, [B, 256 sizes], for the vector [B, V] of the words."""
        waves = sinusoidal(torch.tensor(self.sizes, device=vector.device), WAVES)
        return waves.flatten().expand(len(vector), -1)


def _without(cond: Cond, words: int) -> Cond:
    """The condition with no more of its vector than what the words say."""
    assert cond.vector is not None
    return dataclasses.replace(cond, vector=cond.vector[:, :words])
