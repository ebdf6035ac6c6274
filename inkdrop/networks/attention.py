"""Self-attention over the positions of a feature map and cross-attention to a token sequence."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.layers import GroupNorm, conv, traced, zeroed
from inkdrop.networks.resblock import BlockStyle


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean of x^2) times a weight (Zhang and Sennrich 2019), in the dtype of x."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]."""
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Multi-head self- or cross-attention (Vaswani et al. 2017)."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        qk_norm: bool = False,
    ) -> None:
        """dim: width of queries and output; context: width of the sequence attended to (None: dim).

        qk_norm: RMSNorm of each head's queries and keys (Henry et al. 2020, Esser et al. 2024).
        """
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=bias)
        self.k = nn.Linear(context or dim, dim, bias=bias)
        self.v = nn.Linear(context or dim, dim, bias=bias)
        self.norm_q, self.norm_k = (
            RMSNorm(dim // heads) if qk_norm else nn.Identity() for _ in range(2)
        )
        self.out = nn.Linear(dim, dim, bias=out_bias)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """x [B, N, D], context [B, L, D'], mask bool (True = attend) -> [B, N, D].

        context None is self-attention. mask: [B, L], the same for all queries, or [B, N, L].
        """
        source = x if context is None else context
        q, k, v = (
            layer(s).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, s in ((self.q, x), (self.k, source), (self.v, source))
        )
        if mask is not None:
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
        y = attend(self.norm_q(q), self.norm_k(k), v, mask)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    """q [B, heads, N, d], k and v [B, heads, L, d] -> [B, heads, N, d].

    allowed: bool, broadcastable to [B, heads, N, L] (True = attend); a query without any allowed
    key gets zeros. When training on the CPU, short sequences are computed in float32, because the
    bfloat16 kernel takes up to four times as long for them.
    """
    dtype = q.dtype
    if traced() and allowed is not None:
        # torch returns zeros for a query without an allowed key; other engines divide by zero.
        some = allowed.any(dim=-1, keepdim=True)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed | ~some) * some.to(dtype)
    trained = torch.is_grad_enabled() and q.requires_grad
    if trained and q.device.type == "cpu" and dtype != torch.float64 and k.shape[2] <= 512:
        q, k, v = q.float(), k.float(), v.float()
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).to(dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


class AttentionBlock(nn.Module):
    """Residual self-attention over all positions of a map (Ho et al. 2020, appendix B)."""

    def __init__(self, style: BlockStyle, channels: int, heads: int) -> None:
        super().__init__()
        self.scale = style.scale
        self.norm = style.norm(channels)
        self.attention = Attention(channels, heads)
        zeroed(self.attention.out)

    def forward(
        self, x: Tensor, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """[B, C, *spatial] -> the same shape; tokens and mask are ignored."""
        h: Tensor = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        y = x + h.transpose(1, 2).reshape(x.shape)
        return y if self.scale == 1.0 else y * self.scale


class FeedForward(nn.Module):
    """GEGLU feed-forward layer with 4 * dim hidden channels (Shazeer 2020); [..., dim] -> same."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, 8 * dim)
        self.second = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.first(x).chunk(2, dim=-1)
        y: Tensor = self.second(value * F.gelu(gate))
        return y


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention to tokens and a feed-forward layer; pre-norm, residual."""

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = Attention(dim, heads, bias=False)
        self.cross_attention = Attention(dim, heads, context=context, bias=False)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, N, D], tokens [B, L, D'], mask [B, L] bool -> [B, N, D]."""
        h: Tensor = x + self.self_attention(self.norm1(x))
        h = h + self.cross_attention(self.norm2(h), tokens, mask)
        h = h + self.feed_forward(self.norm3(h))
        return h


class Transformer(nn.Module):
    """Transformer layers over a map's positions (Rombach et al. 2022, appendix E.2.1).

    projection: "conv" or "linear", the layers before and after; both compute the same function and
    differ only in the shape of their weights.
    """

    def __init__(
        self,
        style: BlockStyle,
        channels: int,
        heads: int,
        *,
        depth: int,
        context: int,
        projection: Literal["conv", "linear"],
    ) -> None:
        super().__init__()
        self.norm = GroupNorm(style.groups, channels, eps=1e-6)
        self.linear = projection == "linear"
        self.project_in = self._projection(style, channels)
        self.layers = nn.ModuleList(
            TransformerLayer(channels, heads, context) for _ in range(depth)
        )
        self.project_out = zeroed(self._projection(style, channels))

    def _projection(self, style: BlockStyle, channels: int) -> nn.Module:
        if self.linear:
            return nn.Linear(channels, channels)
        return conv(style.dims, channels, channels, kernel=1)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, C, *spatial], tokens [B, L, D], mask [B, L] bool -> [B, C, *spatial]."""
        h: Tensor = self.norm(x)
        h = h if self.linear else self.project_in(h)
        h = h.flatten(2).transpose(1, 2)
        h = self.project_in(h) if self.linear else h
        for layer in self.layers:
            h = layer(h, tokens, mask)
        h = self.project_out(h) if self.linear else h
        h = h.transpose(1, 2).reshape(x.shape)
        h = x + (h if self.linear else self.project_out(h))
        return h
