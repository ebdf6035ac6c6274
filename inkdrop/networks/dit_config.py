"""The configuration of a diffusion transformer, checked on construction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from inkdrop.arguments import check_fields
from inkdrop.networks.checks import check_numbers, check_words
from inkdrop.networks.layers import Activation


@dataclass(frozen=True)
class DiTConfig:
    """Configuration of a diffusion transformer; the default is tiny, with 4 million weights.

    DiT-S is width 384, depth 12, heads 6; DiT-B is 768, 12, 12; DiT-L is 1024, 24, 16; DiT-XL is
    1152, 28, 16 (Peebles and Xie 2023, table 1). Published weights need activation "gelu_tanh".

    dims: spatial axes: 1 for sound, 2 for pictures, 3 for volumes
    in_channels, out_channels: of x and of the output (None: same as x)
    concat_channels: channels of cond.concat, appended to x
    patch: side of the block of pixels in one token
    width: of the tokens; depth: number of blocks; heads: of each attention, width / heads channels
        each
    mlp_ratio: width of the feed-forward layers in units of width
    activation: of the feed-forward layers; with "gelu_tanh" training takes 10% longer on a CPU
    qk_norm: RMSNorm of queries and keys, which keeps attention logits bounded in low precision
    num_classes: classes of cond.label; row num_classes of the table is the null label
    vector_dim: width of cond.vector, added to the time embedding through two layers
    text: how cond.tokens enter: not at all, by cross-attention in every block (Chen et al. 2023),
        or by joint attention with the picture's tokens, with separate weights (Esser et al. 2024)
    tokens_dim: width of cond.tokens
    ValueError for values that fit no network.
    """

    dims: int = 2
    in_channels: int = 3
    out_channels: int | None = None
    concat_channels: int = 0
    patch: int = 2
    width: int = 192
    depth: int = 6
    heads: int = 3
    mlp_ratio: float = 4.0
    activation: Activation = "gelu"
    qk_norm: bool = False
    num_classes: int | None = None
    vector_dim: int | None = None
    text: Literal["none", "cross", "joint"] = "none"
    tokens_dim: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_words(self)
        check_numbers(self, _AT_LEAST_ONE)
        if not math.isfinite(self.mlp_ratio) or self.hidden < 1:
            raise ValueError(
                f"mlp_ratio is {self.mlp_ratio}, which leaves no hidden channel at width"
                f" {self.width}; raise it"
            )
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, not a multiple of heads, {self.heads}; change width or"
                " heads"
            )
        if self.width < 2 * self.dims:
            raise ValueError(
                f"width is {self.width} but the position embedding over {self.dims} axes needs at"
                f" least {2 * self.dims}"
            )
        if self.text != "none" and self.tokens_dim is None:
            raise ValueError(f"text is {self.text!r}, which needs tokens_dim, the width of tokens")
        if self.text == "none" and self.tokens_dim is not None:
            raise ValueError(
                f"tokens_dim is {self.tokens_dim} but text is 'none'; choose 'cross' or 'joint'"
            )

    @property
    def hidden(self) -> int:
        """Width of the feed-forward layers."""
        return round(self.width * self.mlp_ratio)


_AT_LEAST_ONE = (
    "in_channels", "out_channels", "patch", "width", "depth", "heads", "num_classes",
    "vector_dim", "tokens_dim",
)  # fmt: skip
