"""CLIP's text encoder (Radford et al. 2021), which models of Stable Diffusion's family read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.attention import Attention

MOST, MOST_LAYERS = 2**24, 256  # more than any has


@dataclass(frozen=True)
class ClipConfig:
    """The shape of a CLIP, and what of it is read.

    vocabulary: number of token ids; end: the one with which a text ends
    width: of the tokens; inner: of the layer between, in every feed-forward
    layers, heads: of the transformer; the heads share the width
    context: the longest sequence it reads
    activation: OpenAI's is x sigmoid(1.702 x), OpenCLIP's the GELU itself
    eps: of the norms
    layer: whose output the tokens are: -1 the last, -2 the one before ("clip skip" 2)
    norm: whether they go through the norm that follows the last layer
    pooled: what becomes the condition's vector: none, the mean of the tokens, or what CLIP projects
        of the text's end after all layers; projection: how wide that is (None: it does not project)
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
                raise ValueError(f"{name} is {getattr(self, name)}; 1 to {MOST} is sane")
        if not 0 <= self.layers <= MOST_LAYERS:
            raise ValueError(f"layers is {self.layers}; 0 to {MOST_LAYERS} is sane")
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, which does not divide into {self.heads} heads; change"
                " width or heads"
            )
        if not -1 - self.layers <= self.layer <= -1:
            raise ValueError(
                f"layer is {self.layer}; layers count from the last one, which is -1, to what goes"
                f" into the first, which is {-1 - self.layers} here"
            )
        if (self.pooled == "projected") != (self.projection is not None):
            raise ValueError(
                f"pooled is {self.pooled!r} and projection {self.projection}; a CLIP that projects"
                " has both, and any other has neither"
            )


class Clip(nn.Module):
    """Token ids -> tokens: a pre-norm transformer in which a token reads those before it."""

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
        """The longest sequence it reads."""
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
        """What becomes the condition's vector."""
        return self.config.pooled

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """ids [B, L] int64, mask [B, L] bool -> tokens [B, L, D] and, if projected, [B, V].

        What stands at padding has no meaning. ValueError if L is above the context.
        """
        length, count = ids.shape[1], len(self.layers)
        if length > self.context:
            raise ValueError(
                f"the sequence has {length} tokens but this text encoder reads {self.context};"
                " give it chunks"
            )
        before = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        read = before & mask[:, None, :]
        h: Tensor = self.embedding(ids) + self.place[:length]
        wanted = count + 1 + self.config.layer
        tokens = h
        # What no one reads is not computed.
        for number, layer in enumerate(self.layers[: count if self.project else wanted], 1):
            h = layer(h, read)
            tokens = h if number == wanted else tokens
        vector = None if self.project is None else self.project(self._end(self.norm(h), ids))
        return self.norm(tokens) if self.config.norm else tokens, vector

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The tokens alone."""
        return self.read(ids, mask)[0]

    def _end(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """The token at which each text ends first, [B, D]; what fills up may be the same id."""
        ends = (ids == self.config.end).int().argmax(dim=1)
        return tokens[torch.arange(len(ids), device=ids.device), ends]


class Layer(nn.Module):
    """Self-attention and feed-forward, each normed before and added."""

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
