"""What a U-Net's levels are made of, and what they hand on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from inkdrop.networks.resblock import ResBlock


class Context(NamedTuple):
    """The inputs of all blocks: emb [B, E] activated, tokens [B, L, D], mask [B, L] bool."""

    emb: Tensor
    tokens: Tensor | None
    mask: Tensor | None


class Residuals(NamedTuple):
    """Maps to be added in a U-Net: one to each skip connection, and one to the middle's output.

    middle: None if only outer levels are computed
    """

    skips: list[Tensor]
    middle: Tensor | None


class Stage(nn.Module):
    """A residual block, followed by attention if the level has it."""

    def __init__(self, block: ResBlock, attention: nn.Module | None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h: Tensor = self.block(x, context.emb)
        return h if self.attention is None else self.attention(h, context.tokens, context.mask)


class Level(nn.Module):
    """The stages of one resolution, and the resampling to the next (None at the last one)."""

    def __init__(self, stages: list[Stage], resample: nn.Module | None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.resample = resample
