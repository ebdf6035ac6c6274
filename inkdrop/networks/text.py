"""A small text encoder, trained from scratch together with the denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from inkdrop.networks.attention import Attention, FeedForward
from inkdrop.networks.layers import zeroed
from inkdrop.networks.sketch import Sketch


@dataclass(frozen=True)
class TextEncoderConfig:
    """Configuration of a text encoder; the defaults suit captions of one or two sentences.

    vocabulary: number of token ids, at least the number of entries of the tokenizer
    width: of the returned tokens, the denoiser's cross_attention_dim
    layers, heads: of the transformer; width is divided among the heads
    context: the longest sequence, in tokens; longer prompts are split into chunks
    sketch: shape [C, *spatial] of the sketch for cond.concat (None: no sketch)
    sketch_rank: see networks.sketch
    ValueError for values that fit no network.
    """

    vocabulary: int = 8192
    width: int = 256
    layers: int = 4
    heads: int = 4
    context: int = 64
    sketch: tuple[int, ...] | None = None
    sketch_rank: int = 192

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers", "heads", "context", "sketch_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)} but must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, not a multiple of heads, {self.heads}; change width or"
                " heads"
            )


class TextEncoder(nn.Module):
    """Token ids -> tokens [B, L, D]: a pre-norm transformer with bidirectional attention.

    As in CLIP (Radford et al. 2021), learned embeddings of ids and positions are summed. Unlike
    CLIP it is not causal: no next token is predicted, so tokens may attend to later ones.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.place = nn.Parameter(torch.empty(config.context, config.width))
        # The layers start as the identity, so a new encoder already distinguishes words.
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.place, std=0.01)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.sketch: Sketch | None = None
        if config.sketch is not None:
            self.sketch = Sketch(config.vocabulary, config.sketch_rank, config.sketch)

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        return self.config.context

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return self.config.vocabulary

    @property
    def width(self) -> int:
        """D of the tokens."""
        return self.config.width

    @property
    def pooled(self) -> Literal["mean"]:
        """cond.vector is the mean token."""
        return "mean"

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """The tokens, and None: there is no separate pooled output; see `forward`."""
        return self(ids, mask), None

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [B, L] int64, mask [B, L] bool (True = a real token) -> [B, L, D].

        Padding does not affect the real tokens; its own output is meaningless. ValueError if L
        exceeds the context.
        """
        length = ids.shape[1]
        if length > self.context:
            raise ValueError(
                f"the sequence has {length} tokens but this text encoder reads at most"
                f" {self.context}; split it into chunks"
            )
        h: Tensor = self.embedding(ids) + self.place[:length]
        for layer in self.layers:
            h = layer(h, mask)
        h = self.norm(h)
        return h


class Layer(nn.Module):
    """Self-attention and a feed-forward layer; pre-norm, residual; a new layer is the identity."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, bias=False)
        self.feed_forward = FeedForward(config.width)
        zeroed(self.attention.out)
        zeroed(self.feed_forward.second)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, L, D], mask [B, L] bool -> [B, L, D]."""
        h: Tensor = x + self.attention(self.norm1(x), mask=mask)
        h = h + self.feed_forward(self.norm2(h))
        return h
