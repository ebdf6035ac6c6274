"""The blocks of a diffusion transformer: adaLN-Zero, with text by cross- or joint attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.attention import Attention, RMSNorm, attend
from inkdrop.networks.dit_config import DiTConfig
from inkdrop.networks.layers import ACTIVATIONS


class Stream(nn.Module):
    """A block's weights for one kind of token.

    last: the tokens are not used after this block. They are then only attended to, so they have
    keys and values, but no queries and no feed-forward layer.
    """

    def __init__(self, config: DiTConfig, *, last: bool = False) -> None:
        super().__init__()
        width, self.heads, self.last = config.width, config.heads, last
        self.modulate = nn.Linear(width, (2 if last else 6) * width)
        self.project = nn.Linear(width, (2 if last else 3) * width)
        self.norm_k = _head_norm(config)
        if last:
            return
        self.norm_q = _head_norm(config)
        self.out = nn.Linear(width, width)
        self.first = nn.Linear(width, config.hidden)
        self.activation = ACTIVATIONS[config.activation]
        self.second = nn.Linear(config.hidden, width)

    def modulation(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        """Shift, scale and gate of attention, then of the feed-forward layer: [B, 1, D] each."""
        m: Tensor = self.modulate(emb)[:, None].to(x.dtype)
        return list(m.chunk(m.shape[2] // x.shape[2], dim=2))

    def projected(self, x: Tensor, shift: Tensor, scale: Tensor) -> list[Tensor]:
        """x [B, N, D] -> queries (unless last), keys and values, [B, N, heads, d] each."""
        h = self.project(modulated(x, shift, scale))
        *q, k, v = h.unflatten(2, (-1, self.heads, x.shape[2] // self.heads)).unbind(2)
        return [*(self.norm_q(each) for each in q), self.norm_k(k), v]

    def attended(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        """x [B, N, D] plus the gated projection of attention's result y [B, N, heads, d]."""
        return torch.addcmul(x, gate, self.out(y.flatten(2)))

    def fed(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """x [B, N, D] plus the gated output of the feed-forward layer for it."""
        h = self.activation(self.first(modulated(x, shift, scale)))
        return torch.addcmul(x, gate, self.second(h))


class Block(nn.Module):
    """Attention and a feed-forward layer, each modulated and gated by the embedding (adaLN-Zero).

    Peebles and Xie 2023, section 3.2. Text enters through cross-attention between the two (Chen et
    al. 2023, section 2.3; here with a norm of x before it) or as a second stream in joint attention
    (Esser et al. 2024, section 4).
    """

    def __init__(self, config: DiTConfig, *, last: bool = False) -> None:
        super().__init__()
        self.picture = Stream(config)
        self.text = Stream(config, last=last) if config.text == "joint" else None
        self.cross = _cross_attention(config) if config.text == "cross" else None

    @property
    def gates(self) -> list[nn.Module]:
        """The layers that are zero in a new block, which make it the identity."""
        streams = [self.picture] if self.text is None else [self.picture, self.text]
        modulate: list[nn.Module] = [stream.modulate for stream in streams]
        return modulate if self.cross is None else [*modulate, self.cross.out]

    def forward(
        self, x: Tensor, tokens: Tensor | None, emb: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, N, D], tokens [B, L, D], emb [B, D] activated -> x and tokens after the block.

        mask: bool (True = attend), [B, L], or [B, N + L] in joint attention.
        """
        m = self.picture.modulation(x, emb)
        q, k, v = self.picture.projected(x, *m[:2])
        if self.text is None or tokens is None:
            y = _attended(q, k, v)
        else:
            n = self.text.modulation(tokens, emb)
            *text_q, text_k, text_v = self.text.projected(tokens, *n[:2])
            q, k, v = (torch.cat(pair, dim=1) for pair in ([q, *text_q], [k, text_k], [v, text_v]))
            y, found = _attended(q, k, v, mask).tensor_split([x.shape[1]], dim=1)
            if not self.text.last:
                tokens = self.text.fed(self.text.attended(tokens, found, n[2]), *n[3:])
        x = self.picture.attended(x, y, m[2])
        if self.cross is not None:
            x = x + self.cross(_norm(x), tokens, mask)
        return self.picture.fed(x, *m[3:]), tokens


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """norm(x) (1 + scale) + shift; x [B, N, D], shift and scale [B, 1, D]."""
    return torch.addcmul(shift, _norm(x), 1 + scale)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _head_norm(config: DiTConfig) -> nn.Module:
    return RMSNorm(config.width // config.heads) if config.qk_norm else nn.Identity()


def _cross_attention(config: DiTConfig) -> Attention:
    # No output bias: the bias of the values already has its effect, and without it a sample with
    # no tokens gets exactly zero.
    return Attention(config.width, config.heads, out_bias=False, qk_norm=config.qk_norm)


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """q [B, N, heads, d], k and v [B, L, heads, d], mask [B, L] bool -> [B, N, heads, d]."""
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    return attend(q, k, v, None if mask is None else mask[:, None, None, :]).transpose(1, 2)
