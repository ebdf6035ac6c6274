"""Residual blocks, modulated by the time embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkdrop.networks.layers import (
    ACTIVATIONS,
    Activation,
    GroupNorm,
    Modulation,
    Pointwise,
    Resample,
    conv,
    zeroed,
)
from inkdrop.networks.resample import pool, upsample


@dataclass(frozen=True)
class BlockStyle:
    """Settings shared by all residual blocks of a network.

    dims: spatial axes; embed: width of the modulating embedding (None: no modulation);
    groups, eps: of the group norms; scale: factor of each residual sum.
    """

    dims: int
    embed: int | None = None
    modulation: Modulation = "scale_shift"
    groups: int = 32
    eps: float = 1e-5
    activation: Activation = "silu"
    dropout: float = 0.0
    scale: float = 1.0

    def norm(self, channels: int) -> GroupNorm:
        """A normalization for this many channels."""
        return GroupNorm(self.groups, channels, eps=self.eps)


class ResBlock(nn.Module):
    """Residual block: norm, activation, conv, modulated norm, activation, dropout, conv.

    Ho et al. 2020, appendix B; scale-shift modulation and resampling inside the block as in
    Dhariwal and Nichol 2021, appendix A. The last convolution starts at zero.
    """

    def __init__(
        self, style: BlockStyle, channels: int, out: int, *, resample: Resample | None = None
    ) -> None:
        super().__init__()
        self.style, self.resample = style, resample
        self.activation = ACTIVATIONS[style.activation]
        self.norm1 = style.norm(channels)
        self.conv1 = conv(style.dims, channels, out)
        self.modulate = None if style.embed is None else self._modulation(style, out)
        self.norm2 = style.norm(out)
        self.dropout = nn.Dropout(style.dropout)
        self.conv2 = zeroed(conv(style.dims, out, out))
        self.shortcut = None if channels == out else Pointwise(style.dims, channels, out)

    @staticmethod
    def _modulation(style: BlockStyle, out: int) -> nn.Linear:
        assert style.embed is not None
        return nn.Linear(style.embed, out * (2 if style.modulation == "scale_shift" else 1))

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """x [B, C, *spatial], emb [B, E] already activated -> [B, out, *spatial].

        size: spatial size after upsampling (None: twice x's).
        """
        h: Tensor = self.activation(self.norm1(x))
        if self.resample is not None:
            h, x = self._resampled(h, size), self._resampled(x, size)
        h = self._modulated(self.conv1(h), emb)
        h = self.conv2(self.dropout(self.activation(h)))
        # In place is safe: the backward pass of a convolution does not need its output.
        h += x if self.shortcut is None else self.shortcut(x)
        return h if self.style.scale == 1.0 else h.mul_(self.style.scale)

    def _resampled(self, x: Tensor, size: torch.Size | None) -> Tensor:
        return pool(x) if self.resample == "down" else upsample(x, size)

    def _modulated(self, h: Tensor, emb: Tensor | None) -> Tensor:
        if self.modulate is None or emb is None:
            return self.norm2(h)  # type: ignore[no-any-return]
        m: Tensor = self.modulate(emb)
        if self.style.modulation == "scale_shift":
            scale, shift = m.chunk(2, dim=1)
            return self.norm2(h, scale, shift)  # type: ignore[no-any-return]
        h += m.view(*m.shape, *(1,) * (h.ndim - 2))
        return self.norm2(h)  # type: ignore[no-any-return]
