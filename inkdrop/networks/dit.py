"""The diffusion transformer (DiT) over 1, 2 or 3 spatial axes, with or without text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.arguments import check_kind
from inkdrop.cond import Cond
from inkdrop.networks import checks
from inkdrop.networks.dit_block import Block, modulated
from inkdrop.networks.dit_config import DiTConfig
from inkdrop.networks.layers import Embed, sinusoidal, zeroed
from inkdrop.networks.resample import pad_to_multiple, unpatch

__all__ = ["DiT", "DiTConfig"]

_TIME_WAVES = 256


class DiT(nn.Module):
    """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial]; Peebles and Xie 2023.

    Reads cond.label (with num_classes), tokens and mask (with text), vector (with vector_dim) and
    concat (with concat_channels). Any spatial size: edges are repeated up to a multiple of the
    patch. A new network returns zeros.

    Masked tokens have no effect. If all tokens of a sample are masked, cross-attention adds nothing
    and in joint attention the picture attends to itself only: this is the empty condition.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        check_kind("DiT: config", config, DiTConfig)
        self.config = config
        width, area = config.width, config.patch**config.dims
        self.input = nn.Linear((config.in_channels + config.concat_channels) * area, width)
        self.time = Embed(_TIME_WAVES, width)
        self.label = nn.Embedding(config.num_classes + 1, width) if config.num_classes else None
        self.vector = Embed(config.vector_dim, width) if config.vector_dim else None
        self.tokens = nn.Linear(config.tokens_dim, width) if config.tokens_dim else None
        ends = [False] * (config.depth - 1) + [True]
        self.blocks = nn.ModuleList(Block(config, last=last) for last in ends)
        self.modulate = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, (config.out_channels or config.in_channels) * area)
        self._initialise()

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x [B, C, *spatial], t [B] in units of 0 to about 1000 -> [B, C', *spatial]."""
        checks.one_time_each(x, t)
        patch = self.config.patch
        x, crop = pad_to_multiple(checks.joined(x, cond, self.config), patch)
        places = [size // patch for size in x.shape[2:]]
        # The residual stream stays in the dtype of x, also under autocast and whatever an engine
        # makes of the layers: it is a sum over all blocks, and low precision would lose the small
        # terms.
        dtype = x.dtype
        h = positions(places, self.config.width, x.device).to(dtype) + self.input(
            patchify(x, patch)
        )
        emb = F.silu(self.embedding(t, cond))
        tokens, mask = self._text(cond, h)
        for block in self._blocks():
            h, tokens = block(h, tokens, emb, mask)
        shift, scale = self.modulate(emb)[:, None].to(dtype).chunk(2, dim=-1)
        return unpatchify(self.output(modulated(h, shift, scale)), places, patch)[crop]

    def embedding(self, t: Tensor, cond: Cond) -> Tensor:
        """The sum of the embeddings of time, label and vector, [B, width]."""
        config = self.config
        emb: Tensor = self.time(sinusoidal(t, _TIME_WAVES))
        if self.label is not None:
            emb = emb + self.label(checks.labels(cond, config.num_classes or 0))
        if self.vector is not None:
            emb = emb + self.vector(checks.needed(cond.vector, "vector", config.vector_dim))
        return emb

    def _text(self, cond: Cond, h: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The projected tokens [B, L, width], and the mask of all that is attended to."""
        if self.tokens is None:
            return None, None
        given = checks.tokens(cond, self.config.tokens_dim or 0)
        tokens = self.tokens(given.to(h.dtype)).to(h.dtype)
        mask = cond.mask
        if mask is not None and self.config.text == "joint":
            mask = torch.cat([mask.new_ones(h.shape[:2]), mask], dim=1)
        return tokens, mask

    def _blocks(self) -> Iterable[Block]:
        return cast(Iterable[Block], self.blocks)

    def _initialise(self) -> None:
        """As in the paper's code: Xavier, small embeddings, and a zero gate on every branch."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for embed in (self.time, self.vector, self.label):
            for weight in () if embed is None else embed.parameters():
                if weight.ndim == 2:
                    nn.init.normal_(weight, std=0.02)
        for gate in (gate for block in self._blocks() for gate in block.gates):
            zeroed(gate)
        zeroed(self.modulate)
        zeroed(self.output)


def patchify(x: Tensor, patch: int) -> Tensor:
    """[B, C, *spatial] -> [B, N, C patch^dims]: every block of pixels becomes a token.

    The last spatial axis varies fastest, both over the tokens and, within each channel, over the
    elements of a token.
    """
    dims = x.ndim - 2
    split = [n for size in x.shape[2:] for n in (size // patch, patch)]
    places, inside = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    blocks = x.reshape(*x.shape[:2], *split).permute(0, *places, 1, *inside)
    return blocks.flatten(1 + dims).flatten(1, dims)


def unpatchify(tokens: Tensor, places: Sequence[int], patch: int) -> Tensor:
    """[B, N, C patch^dims] -> [B, C, *(places * patch)]: the inverse of `patchify`."""
    return unpatch(tokens.transpose(1, 2).reshape(*tokens.shape[::2], *places), patch)


def positions(places: Sequence[int], width: int, device: torch.device) -> Tensor:
    """[N, width] float32: sinusoidal embeddings of a token's position along every axis.

    Each axis gets an equal part of the width, the last axis first (Peebles and Xie 2023, after He
    et al. 2022); a remainder is filled with zeros.
    """
    dims = len(places)
    share = width // (2 * dims) * 2
    parts = []
    for axis, count in enumerate(places):
        waves = sinusoidal(torch.arange(count, device=device), share, order="sin_cos")
        shape = [count if other == axis else 1 for other in range(dims)]
        parts.append(waves.view(*shape, share).expand(*places, share))
    joined = torch.cat(parts[::-1], dim=-1).flatten(0, dims - 1)
    return F.pad(joined, (0, width - dims * share))
