"""CLIP's text encoder (Radford et al. 2021), used by the Stable Diffusion family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.attention import Attention

MOST, MOST_LAYERS = 2**24, 256  # far above any CLIP: a damaged file must not exhaust memory


@dataclass(frozen=True)
class ClipConfig:
    """Configuration of a CLIP text encoder and of its outputs.

    vocabulary: number of token ids; end: the id of the end-of-text token
    width: of the tokens; inner: hidden width of the feed-forward layers
    layers, heads: of the transformer; width is divided among the heads
    context: the longest sequence, in tokens
    activation: quick_gelu, x sigmoid(1.702 x), in OpenAI's CLIP; gelu in OpenCLIP
    eps: of the layer norms
    layer: the layer whose output is used: -1 the last, -2 the one before it ("clip skip" 2)
    norm: whether the final layer norm is applied to that output
    pooled: what becomes cond.vector: nothing, the mean token, or CLIP's projection of the
        end-of-text token after all layers
    projection: width of that projection (None: there is none)
    ValueError for values that fit no network.
    """

    vocabulary: int = 49408
    end: int = 49407
    width: int = 512
    inner: int = 2048
    layers: int = 12
    heads: int = 8
    context: int = 77
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    eps: float = 1e-5
    layer: int = -1
    norm: bool = True
    pooled: Literal["none", "mean", "projected"] = "none"
    projection: int | None = None

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "inner", "heads", "context"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} is {getattr(self, name)} but must be from 1 to {MOST}")
        if not 0 <= self.layers <= MOST_LAYERS:
            raise ValueError(f"layers is {self.layers} but must be from 0 to {MOST_LAYERS}")
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, not a multiple of heads, {self.heads}; change width or"
                " heads"
            )
        if not -1 - self.layers <= self.layer <= -1:
            raise ValueError(
                f"layer is {self.layer} but must be from -1, the last layer, down to"
                f" {-1 - self.layers}, the input of the first"
            )
        if (self.pooled == "projected") != (self.projection is not None):
            raise ValueError(
                f"pooled is {self.pooled!r} and projection is {self.projection}; pooled"
                " 'projected' needs a projection, and others must leave it None"
            )


class Clip(nn.Module):
    """Token ids -> tokens [B, L, D]: a pre-norm transformer with causal attention."""

    sketch = None

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.place = nn.Parameter(torch.empty(config.context, config.width))
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.place, std=0.01)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.project = (
            None
            if config.projection is None
            else nn.Linear(config.width, config.projection, bias=False)
        )

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
    def pooled(self) -> Literal["none", "mean", "projected"]:
        """What becomes cond.vector."""
        return self.config.pooled

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """ids [B, L] int64, mask [B, L] bool -> tokens [B, L, D] and, if projected, [B, V].

        mask: True = a real token; the output at padding is meaningless. ValueError if L exceeds the
        context.
        """
        length, count = ids.shape[1], len(self.layers)
        if length > self.context:
            raise ValueError(
                f"the sequence has {length} tokens but this text encoder reads at most"
                f" {self.context}; split it into chunks"
            )
        before = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        read = before & mask[:, None, :]
        h: Tensor = self.embedding(ids) + self.place[:length]
        wanted = count + 1 + self.config.layer
        tokens = h
        # Layers behind the wanted one are only computed if the projection needs them.
        for number, layer in enumerate(self.layers[: count if self.project else wanted], 1):
            h = layer(h, read)
            tokens = h if number == wanted else tokens
        vector = None if self.project is None else self.project(self._end(self.norm(h), ids))
        return self.norm(tokens) if self.config.norm else tokens, vector

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The tokens only; see `read`."""
        return self.read(ids, mask)[0]

    def _end(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """The first end-of-text token of each text, [B, D]; padding may use the same id."""
        ends = (ids == self.config.end).int().argmax(dim=1)
        return tokens[torch.arange(len(ids), device=ids.device), ends]


class Layer(nn.Module):
    """Self-attention and a feed-forward layer; pre-norm, residual."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.quick = config.activation == "quick_gelu"
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attention = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.first = nn.Linear(config.width, config.inner)
        self.second = nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        """x [B, L, D], read [B, L, L] bool -> [B, L, D]."""
        h: Tensor = x + self.attention(self.norm1(x), mask=read)
        inner = self.first(self.norm2(h))
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick else F.gelu(inner)
        h = h + self.second(inner)
        return h
