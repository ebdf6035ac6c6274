"""Text as a condition: prompts of any length, words with weights, and prompts between two."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.conditioning.chunks import Padding, Tokens, tokenize
from inkdrop.conditioning.tokenizer import Tokenizer


class TextConditioner(Protocol):
    """Whatever makes a condition of prompts: a `Text`, or several of them (`joined.py`)."""

    def encode(self, prompts: Sequence[str]) -> Cond:
        """Prompts -> tokens [B, L, D] with mask [B, L] and vector [B, V]; "" is the null one."""

    def between(self, a: Cond, b: Cond, fraction: float) -> Cond:
        """The condition a fraction of the way between two that `encode` made; see `interpolate`."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that has weights in it."""


class Sketcher(Protocol):
    """A network (ids, mask, weights: [B, L]) -> [B, C, *spatial], such as networks.sketch's."""

    def __call__(self, ids: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor: ...


# What becomes a condition's vector: nothing, the mean of the tokens, or what the encoder itself
# says of a whole text.
Pooled = Literal["none", "mean", "projected"]


class TokenEncoder(Protocol):
    """A network (ids [B, L], mask [B, L]) -> tokens [B, L, D]: networks.text's or a pretrained."""

    @property
    def context(self) -> int:
        """The longest sequence it reads."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""

    @property
    def width(self) -> int:
        """D of the tokens."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""

    @property
    def sketch(self) -> Sketcher | None:
        """What makes a first picture of the words, if it has such."""

    @property
    def pooled(self) -> Pooled:
        """What becomes the condition's vector."""

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """ids [B, L] int64, mask [B, L] bool -> tokens [B, L, D] and, if projected, [B, V]."""


@dataclass(frozen=True, eq=False)
class Text:
    """A tokenizer with the encoder that reads its ids.

    `encode` is `embed(tokenize(prompts))`. Training does the two apart: tokenize beside the data
    on the CPU, embed within the trained module, through which the gradient flows.
    padding: if given, chunks are filled up with it and the denoiser attends to what fills them.
    """

    tokenizer: Tokenizer
    encoder: TokenEncoder
    padding: Padding | None = None

    def __post_init__(self) -> None:
        self.tokenizer.check(self.encoder.vocabulary, "the tokenizer")
        if self.padding is not None:
            _check_padding(self.padding, self.encoder)

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Token ids, mask and weights of prompts; see `chunks.tokenize`.

        For captions, in which brackets are punctuation, give `prompt.escape` of each.
        """
        context = self.encoder.context if self.padding is None else self.padding.length
        return tokenize(self.tokenizer, prompts, context, self.padding)

    def embed(self, tokens: Tokens) -> Cond:
        """The condition for tokens, on the encoder's device; see `embed`."""
        return embed(self.encoder, tokens, self.empty)

    def encode(self, prompts: Sequence[str]) -> Cond:
        """The condition for prompts; "" is the null condition."""
        return self.embed(self.tokenize(prompts))

    def between(self, a: Cond, b: Cond, fraction: float) -> Cond:
        """See `interpolate`."""
        return interpolate(a, b, fraction)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The encoder, if it is a module."""
        return (self.encoder,) if isinstance(self.encoder, nn.Module) else ()

    @cached_property
    def empty(self) -> Tokens:
        """The tokens of the empty prompt."""
        return self.tokenize([""])


def _check_padding(padding: Padding, encoder: TokenEncoder) -> None:
    if not 0 <= padding.id < encoder.vocabulary:
        raise ValueError(
            f"chunks are filled up with the token {padding.id}, but the text encoder's vocabulary"
            f" is {encoder.vocabulary}"
        )
    if not 0 < padding.length <= encoder.context:
        raise ValueError(
            f"chunks are filled up to {padding.length} tokens, but the text encoder reads"
            f" {encoder.context}"
        )


def embed(encoder: TokenEncoder, tokens: Tokens, empty: Tokens) -> Cond:
    """The condition for tokens [B, chunks, length]: all float32, on the encoder's device.

    Every chunk is read by itself and the encodings are joined: tokens [B, chunks * length, D], 0 at
    padding, with their mask. Then words with weights are emphasized; empty: the tokens of "".
    vector is the mean of the real tokens [B, D], as in Imagen (Saharia et al. 2022), or what the
    encoder itself says of the first chunk, which no weight changes; concat the sketch of all words
    together, if the encoder makes one.
    """
    encoded, mask, own = _read(encoder, tokens)
    if bool((tokens.weights != 1).any()):
        weights = tokens.weights.to(encoded.device).flatten(1)
        nothing, real, _ = _read(encoder, empty)
        encoded = emphasize(encoded, mask, weights, nothing[0, real[0]][-1])
    vector = mean_token(encoded, mask) if encoder.pooled == "mean" else own
    cond = Cond(tokens=encoded, mask=mask, vector=vector)
    if encoder.sketch is None:
        return cond
    ids, real, weights = (part.flatten(1).to(encoded.device) for part in tokens)
    return dataclasses.replace(cond, concat=encoder.sketch(ids, real, weights).float())


def emphasize(tokens: Tensor, mask: Tensor, weights: Tensor, nothing: Tensor) -> Tensor:
    """tokens e [B, L, D], mask [B, L], weights w [B, L], nothing n [D] -> [B, L, D].

        d_i = (w_i - 1) (e_i - n),    e_i <- e_i + d_i - mean(d) over the prompt's real tokens

    n is the last token of the empty prompt's encoding: what an encoder says where nothing is said
    (the first may be the same for all prompts and large). w = 0 puts a word there, w > 1 takes it
    further away. Taking off the mean of d keeps the prompt's mean token, and so how strongly it
    conditions as a whole, where the denoiser knows it: what changes is one word against the others.
    Where all weights are 1 nothing changes, to the bit.
    """
    change = (weights - 1)[..., None] * (tokens - nothing)
    changed = tokens + change - mean_token(change, mask)[:, None]
    return changed.masked_fill(~mask[..., None], 0.0)


def _read(encoder: TokenEncoder, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor | None]:
    """The encodings of all chunks, joined, their mask, and what is said of each prompt's first.

    [B, chunks * length, D], the same without D, and [B, V] if the encoder says such.
    A chunk without a token, of a prompt shorter than others, is not read: some encoders give NaN.
    """
    device = next(encoder.parameters()).device
    used = tokens.mask.any(2)
    ids, mask = tokens.ids[used].to(device), tokens.mask[used].to(device)
    read, own = encoder.read(ids, mask)
    read = read.float().masked_fill(~mask[..., None], 0.0)
    encoded = read.new_zeros(*tokens.ids.shape, read.shape[-1])
    encoded[used.to(device)] = read
    if own is not None:
        chunks = used.sum(1)
        own = own.float()[(chunks.cumsum(0) - chunks).to(device)]
    return encoded.flatten(1, 2), tokens.mask.to(device).flatten(1), own


def mean_token(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens, [B, L, D] with mask [B, L] -> [B, D]."""
    real = mask[..., None].to(tokens.dtype)
    return (tokens * real).sum(1) / real.sum(1)


def interpolate(a: Cond, b: Cond, fraction: float) -> Cond:
    """The condition a fraction (0 to 1) of the way from a to b, of the same batch; 0 is a, 1 is b.

    Token i goes to token i, on the arc between them, with its length changing evenly. Tokens leave
    a layer norm, so all are about equally long and a straight line between two would be shorter
    than any that the denoiser knows; so for vector (Ramesh et al. 2022, section 3.2, for CLIP's).
    The shorter sequence goes on with its last real token, which says that the prompt has ended.
    A sketch moves in a straight line.
    ValueError if one has a field that the other lacks, or a field that is not text's.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; it goes from 0, the first, to 1, the second")
    _check_alike(a, b)
    if fraction in (0, 1):
        return b if fraction else a
    vector = None
    if a.vector is not None and b.vector is not None:
        vector = _arc(a.vector, b.vector, fraction)
    concat = None
    if a.concat is not None and b.concat is not None:
        concat = torch.lerp(a.concat, b.concat, fraction)
    if a.tokens is None:
        return Cond(vector=vector, concat=concat)
    rows = [
        _arc(_continued(x, len(y)), _continued(y, len(x)), fraction)
        for x, y in zip(_real(a), _real(b), strict=True)
    ]
    pad = nn.utils.rnn.pad_sequence
    mask = pad([torch.ones(len(row), dtype=torch.bool, device=row.device) for row in rows], True)
    return Cond(tokens=pad(rows, True), mask=mask, vector=vector, concat=concat)


def _check_alike(a: Cond, b: Cond) -> None:
    if a.batch != b.batch:
        raise ValueError(f"the conditions are for {a.batch} and {b.batch} samples; give both alike")
    for name in ("label", "tokens", "vector", "concat", "hint", "guidance"):
        mine, other = getattr(a, name), getattr(b, name)
        if name in ("label", "hint", "guidance") and (mine is not None or other is not None):
            raise ValueError(f"a condition has a {name}; only what is said has a way between")
        if (mine is None) != (other is None):
            raise ValueError(f"only one of the conditions has {name}; make both by one encoder")


def _real(cond: Cond) -> list[Tensor]:
    """The real tokens of every sample, [n_i, D]."""
    assert cond.tokens is not None
    if cond.mask is None:
        return list(cond.tokens)
    rows = [row[mask] for row, mask in zip(cond.tokens, cond.mask, strict=True)]
    if not all(map(len, rows)):
        raise ValueError("a sample of the condition has no real token; the empty prompt has some")
    return rows


def _continued(row: Tensor, length: int) -> Tensor:
    """A sequence [n, D], at least `length` long by repeating its last token."""
    return torch.cat([row, row[-1:].expand(max(length - len(row), 0), -1)])


def _arc(x: Tensor, y: Tensor, fraction: float) -> Tensor:
    """Spherical interpolation along the last axis (Shoemake 1985), with the lengths' linear one."""
    long_x, long_y = x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True)
    u, v = x / long_x.clamp(min=1e-12), y / long_y.clamp(min=1e-12)
    gap, total = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(gap, total)  # exact for small angles too, where arccos is not
    turned = torch.sin((1 - fraction) * angle) * u + torch.sin(fraction * angle) * v
    arc = turned / angle.sin().clamp(min=1e-4) * torch.lerp(long_x, long_y, fraction)
    # Where both point the same way the line is the arc; where they are opposite there is no one.
    return torch.where(angle.sin() < 1e-4, torch.lerp(x, y, fraction), arc)
