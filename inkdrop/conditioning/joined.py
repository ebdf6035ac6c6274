"""Several text encoders for the same prompts, and size conditioning, as in SDXL."""

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

WAVES = 256  # width of the sinusoidal embedding of each size


@dataclass(frozen=True)
class JoinedConfig:
    """A `JoinedText` in model.json: the descriptions of its parts, and its sizes and zeros."""

    parts: tuple[dict[str, Any], ...]
    sizes: tuple[float, ...] = ()
    zeros: bool = False


@dataclass(frozen=True, eq=False)
class JoinedText:
    """Texts whose tokens are joined along D; the vector is the last one's (Podell et al. 2023).

    Their chunks must have equal lengths, which encoders with the same vocabulary and padding give.

    sizes: the size conditioning; each becomes 256 sinusoids after the vector. SDXL has height and
        width of the original, top and left of its crop, and height and width of the picture; its
        refiner has the first four and an aesthetic score. `sized` sets them for a picture,
        `dataclasses.replace` sets any.
    zeros: whether the empty prompt, which is the null condition, is all zeros, as SDXL was trained
    ValueError for parts that cannot be joined.
    """

    parts: tuple[Text, ...]
    sizes: tuple[float, ...] = ()
    zeros: bool = False

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts is empty; give at least one text encoder")
        if any(part.encoder.sketch is not None for part in self.parts):
            raise ValueError(
                "a text encoder with a sketch cannot be joined with others; use it alone"
            )
        if self.sizes and self.parts[-1].encoder.pooled == "none":
            raise ValueError(
                f"sizes is {self.sizes}, but the last text encoder has no vector to append them to;"
                " pool that encoder or leave sizes out"
            )

    def encode(self, prompts: Sequence[str]) -> Cond:
        """Prompts -> tokens [B, L, sum of D], mask [B, L], vector [B, V + 256 * sizes].

        ValueError if the encoders give different numbers of tokens.
        """
        conds = [part.encode(prompts) for part in self.parts]
        tokens = [cond.tokens for cond in conds if cond.tokens is not None]
        lengths = [each.shape[1] for each in tokens]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"the text encoders give {' and '.join(map(str, lengths))} tokens for the prompts;"
                " join encoders with the same tokenizer and padding"
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
        """A copy conditioned on a picture of this size in pixels, uncropped."""
        if len(self.sizes) < 4:
            return self
        rest = (height, width) if len(self.sizes) == 6 else self.sizes[4:]
        return dataclasses.replace(self, sizes=(height, width, 0.0, 0.0, *rest))

    def between(self, a: Cond, b: Cond, fraction: float) -> Cond:
        """As `text.interpolate`, but without interpolating the sizes, which are taken from a."""
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
        """The embedded sizes [B, 256 * sizes] to append to a vector [B, V]."""
        waves = sinusoidal(torch.tensor(self.sizes, device=vector.device), WAVES)
        return waves.flatten().expand(len(vector), -1)


def _without(cond: Cond, words: int) -> Cond:
    """The condition with only the first `words` elements of its vector: without the sizes."""
    assert cond.vector is not None
    return dataclasses.replace(cond, vector=cond.vector[:, :words])
