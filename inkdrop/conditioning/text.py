"""Text conditions: prompts of any length, weighted words, and interpolation of prompts."""

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
from inkdrop.conditioning.known import Known
from inkdrop.conditioning.tokenizer import Tokenizer


class TextConditioner(Protocol):
    """Turns prompts into a condition: a `Text`, or several of them (`joined.py`)."""

    def encode(self, prompts: Sequence[str]) -> Cond:
        """Prompts -> tokens [B, L, D], mask [B, L], vector [B, V]; "" is the null condition."""

    def between(self, a: Cond, b: Cond, fraction: float) -> Cond:
        """The condition a fraction of the way from a to b, made by `encode`; see `interpolate`."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All modules with weights."""


class Sketcher(Protocol):
    """A network (ids, mask, weights: [B, L]) -> [B, C, *spatial], such as networks.sketch."""

    def __call__(self, ids: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor: ...


# What becomes cond.vector: nothing, the mean token, or the encoder's own projection of the text.
Pooled = Literal["none", "mean", "projected"]


class TokenEncoder(Protocol):
    """A network (ids [B, L], mask [B, L]) -> tokens [B, L, D], trained here or pretrained."""

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""

    @property
    def width(self) -> int:
        """D of the tokens."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""

    @property
    def sketch(self) -> Sketcher | None:
        """The network of the sketch of a prompt, or None; see networks.sketch."""

    @property
    def pooled(self) -> Pooled:
        """What becomes cond.vector."""

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """ids [B, L] int64, mask [B, L] bool -> tokens [B, L, D] and, if projected, [B, V]."""


@dataclass(frozen=True, eq=False)
class Text:
    """A tokenizer and the encoder for its ids.

    `encode` is `embed(tokenize(prompts))`. Training separates the two: it tokenizes in the data
    pipeline on the CPU and embeds within the trained module, so that gradients reach the encoder.
    padding: if given, chunks are padded with it and the denoiser attends to the padding.
    known: what was read in training, if that is known
    ValueError if tokenizer, encoder and padding do not fit together.
    """

    tokenizer: Tokenizer
    encoder: TokenEncoder
    padding: Padding | None = None
    known: Known | None = None

    def __post_init__(self) -> None:
        self.tokenizer.check(self.encoder.vocabulary, "the tokenizer")
        if self.padding is not None:
            _check_padding(self.padding, self.encoder)

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Token ids, mask and weights of prompts; see `chunks.tokenize`.

        Pass captions through `prompt.escape` first, because in them brackets are punctuation.
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
            f"the padding token is {padding.id}, but the text encoder's vocabulary has"
            f" {encoder.vocabulary} ids; give the id of one of them"
        )
    if not 0 < padding.length <= encoder.context:
        raise ValueError(
            f"the padding length is {padding.length}, but the text encoder reads 1 to"
            f" {encoder.context} tokens; give a length in that range"
        )


def embed(encoder: TokenEncoder, tokens: Tokens, empty: Tokens) -> Cond:
    """The condition for tokens [B, chunks, length], in float32 on the encoder's device.

    Each chunk is encoded separately and the encodings are concatenated: tokens [B, chunks * length,
    D], 0 at padding, with their mask. Weighted words are then emphasized; empty: the tokens of "".
    vector is the mean of the real tokens [B, D], as in Imagen (Saharia et al. 2022), or the
    encoder's projection of the first chunk, which weights do not affect. concat is the sketch of
    the whole prompt, if the encoder has a sketch.
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

    n is the last token in the encoding of the empty prompt, which stands for "no content" (the
    first token may be the same for all prompts, and large). w = 0 moves a word to n, w > 1 away
    from it. Subtracting the mean of d preserves the prompt's mean token, and with it the overall
    strength of the condition that the denoiser was trained on: a word changes only relative to the
    others. If all weights are 1, the result is the input to the bit.
    """
    change = (weights - 1)[..., None] * (tokens - nothing)
    changed = tokens + change - mean_token(change, mask)[:, None]
    return changed.masked_fill(~mask[..., None], 0.0)


def _read(encoder: TokenEncoder, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor | None]:
    """The encodings of all chunks [B, chunks * length, D], their mask, and the projection [B, V].

    The projection is that of each prompt's first chunk, None if the encoder has none. Chunks
    without tokens, from shorter prompts, are skipped: some encoders return NaN for them.
    """
    device = next(encoder.parameters()).device
    used = tokens.mask.any(2)
    ids, mask = tokens.ids[used].to(device), tokens.mask[used].to(device)
    read, own = encoder.read(ids, mask)
    read = read.float().masked_fill(~mask[..., None], 0.0)
    encoded = read.new_zeros(*tokens.ids.shape, read.shape[-1])
    encoded[used.to(device)] = read
    if own is not None:
        # Rows of `own` are chunks, in order: a prompt's first one comes after all earlier prompts'.
        chunks = used.sum(1)
        own = own.float()[(chunks.cumsum(0) - chunks).to(device)]
    return encoded.flatten(1, 2), tokens.mask.to(device).flatten(1), own


def mean_token(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens: [B, L, D], mask [B, L] -> [B, D]."""
    real = mask[..., None].to(tokens.dtype)
    return (tokens * real).sum(1) / real.sum(1)


def interpolate(a: Cond, b: Cond, fraction: float) -> Cond:
    """The condition a fraction (0 to 1) of the way from a to b, of equal batches; 0 is a, 1 is b.

    Token i moves to token i by spherical interpolation, while its norm changes linearly. Tokens
    come from a layer norm and have nearly equal norms, so points on the straight line would be
    shorter than any token the denoiser was trained on. vector is treated alike (Ramesh et al. 2022,
    section 3.2, for CLIP's). The shorter sequence is extended with its last real token, which marks
    the end of a prompt. concat, the sketch, is interpolated linearly.
    ValueError if only one has a field, or if a field does not come from text.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction} but must be from 0, the first, to 1, the second")
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
        raise ValueError(
            f"the conditions are for {a.batch} and {b.batch} samples; give equally many"
        )
    for name in ("label", "tokens", "vector", "concat", "hint", "guidance"):
        mine, other = getattr(a, name), getattr(b, name)
        if name in ("label", "hint", "guidance") and (mine is not None or other is not None):
            raise ValueError(f"a condition has a {name}, which has no interpolation; leave it out")
        if (mine is None) != (other is None):
            raise ValueError(f"only one of the conditions has {name}; encode both the same way")


def _real(cond: Cond) -> list[Tensor]:
    """The real tokens of every sample, [n_i, D]."""
    assert cond.tokens is not None
    if cond.mask is None:
        return list(cond.tokens)
    rows = [row[mask] for row, mask in zip(cond.tokens, cond.mask, strict=True)]
    if not all(map(len, rows)):
        raise ValueError(
            "a sample of the condition has no real token; encode the empty prompt instead"
        )
    return rows


def _continued(row: Tensor, length: int) -> Tensor:
    """A sequence [n, D], extended to at least `length` by repeating its last token."""
    return torch.cat([row, row[-1:].expand(max(length - len(row), 0), -1)])


def _arc(x: Tensor, y: Tensor, fraction: float) -> Tensor:
    """Spherical interpolation along the last axis (Shoemake 1985), with linear norms."""
    long_x, long_y = x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True)
    u, v = x / long_x.clamp(min=1e-12), y / long_y.clamp(min=1e-12)
    gap, total = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(gap, total)  # unlike arccos, accurate for small angles too
    turned = torch.sin((1 - fraction) * angle) * u + torch.sin(fraction * angle) * v
    arc = turned / angle.sin().clamp(min=1e-4) * torch.lerp(long_x, long_y, fraction)
    # For parallel vectors the line is the arc; for opposite ones the arc is not unique.
    return torch.where(angle.sin() < 1e-4, torch.lerp(x, y, fraction), arc)
