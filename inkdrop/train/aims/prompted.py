"""Training a denoiser on captions: jointly with its text encoder, or with a frozen one.

In both cases `TextFeed` chooses the caption of a picture and drops conditions at random. It then
passes on either token ids, which the trained module embeds, or a frozen encoder's condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.conditioning.known import Known
from inkdrop.conditioning.text import Text, mean_token
from inkdrop.conditioning.tokenizer import Tokenizer, sound
from inkdrop.data.dataset import Dataset
from inkdrop.data.order import batch_indices
from inkdrop.model import Model
from inkdrop.networks.text import TextEncoder
from inkdrop.train.aims.captions import Captioner
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import HeldOut, called
from inkdrop.train.objective import Batch, losses
from inkdrop.train.turn import Turn


@dataclass(frozen=True)
class Drops:
    """Probabilities that only the text, only the label, or both are replaced by null."""

    text: float = 0.1
    label: float = 0.2
    both: float = 0.1

    @staticmethod
    def of(rate: float) -> Drops:
        """The rates for the config's condition_drop; the label alone is dropped twice as often."""
        return Drops(text=rate, label=2 * rate, both=rate)


class Joined(nn.Module):
    """(x, t, cond) -> the denoiser's output, where cond.tokens may still be token ids [B, L]."""

    def __init__(self, denoiser: nn.Module, text: TextEncoder) -> None:
        super().__init__()
        self.denoiser, self.text = denoiser, text

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The denoiser's output; token ids are embedded first."""
        if cond.tokens is not None and not cond.tokens.is_floating_point():
            assert cond.mask is not None
            tokens = self.text(cond.tokens, cond.mask)
            # The same steps as in `conditioning.text.embed`, which is used when sampling.
            vector = mean_token(tokens.float(), cond.mask)
            sketch = self.text.sketch
            concat = cond.concat if sketch is None else sketch(cond.tokens, cond.mask)
            cond = dataclasses.replace(cond, tokens=tokens, vector=vector, concat=concat)
        out: Tensor = self.denoiser(x, t, cond)
        return out


@dataclass(frozen=True)
class Prompted:
    """What a run with text trains: a model's network joined with its text encoder.

    known: what its captions teach, which goes into its folder
    """

    network: nn.Module
    model: Model
    tokenizer: Tokenizer
    known: Known | None = None

    @property
    def whole(self) -> Model:
        """The model with its text encoder."""
        joined = cast(Joined, self.network)
        text = Text(self.tokenizer, joined.text, known=self.known)
        return dataclasses.replace(self.model, network=joined.denoiser, text=text)

    def write(self, folder: Path) -> None:
        """Writes its files into an existing folder."""
        self.whole.write(folder)


def prompted_losses(
    model: Prompted | Model, config: TrainConfig, batch: Batch, turn: Turn
) -> Tensor:
    """The loss [B] of each row; conditions were already dropped by the feed."""
    whole = model
    if isinstance(whole, Prompted):
        whole = dataclasses.replace(whole.model, network=whole.network)
    return losses(whole, dataclasses.replace(config, condition_drop=0.0), batch, turn)


@dataclass(frozen=True)
class Ids:
    """Captions -> token ids for a jointly trained text encoder; see `caption_ids`."""

    tokenizer: Tokenizer
    context: int

    def __call__(self, captions: Sequence[str]) -> Cond:
        ids, mask = caption_ids(self.tokenizer, captions, self.context)
        return Cond(tokens=ids, mask=mask)


def caption_ids(
    tokenizer: Tokenizer, captions: Sequence[str], context: int
) -> tuple[Tensor, Tensor]:
    """ids [B, L] int64 and mask [B, L] of captions, each cut to one chunk of `context` tokens.

    Brackets are plain punctuation here. Sampling reads longer prompts in several chunks; training
    uses the first one alone, which keeps batches small.
    """
    start, end = tokenizer.frame
    room = context - len(start) - len(end)
    rows = [
        torch.tensor([*start, *(piece.id for piece in tokenizer.pieces(text)[:room]), *end])
        for text in captions
    ]
    pad = nn.utils.rnn.pad_sequence
    return pad(rows, True), pad([torch.ones_like(row, dtype=torch.bool) for row in rows], True)


def read_of(data: Dataset, tokenizer: Tokenizer, context: int) -> Known:
    """What a text encoder reads of a data set's captions, each cut as in `caption_ids`."""
    start, end = tokenizer.frame
    room = context - len(start) - len(end)

    def cut(text: str) -> str:
        pieces = tokenizer.pieces(sound(text))
        return text if len(pieces) <= room else sound(text)[: pieces[room - 1].stop]

    texts = (text for index in range(len(data)) for text in data.texts(index))
    return Known.of(map(cut, texts))


# Captions -> the network's condition.
Reader = Callable[[Sequence[str]], Cond]


@dataclass(frozen=True)
class TextFeed:
    """Rows of each update's global batch, with captions encoded by `read`, and labels."""

    data: Dataset
    config: TrainConfig
    device: torch.device
    read: Reader
    captioner: Captioner
    drops: Drops = dataclasses.field(default_factory=Drops)

    def __call__(self, update: int, rows: range) -> Batch:
        config = self.config
        indices = batch_indices(len(self.data), config.batch, config.seed, update)
        return self.gathered(indices[rows.start : rows.stop], update, rows)

    def gathered(self, indices: np.ndarray, update: int, rows: range) -> Batch:
        """The samples at these indices, as rows `rows` of an update."""
        texts, labels = list[str](), list[int]()
        for index, row in zip(indices, rows, strict=True):
            key = np.array([self.config.seed % 2**64, update % 2**64], np.uint64)
            draw = np.random.Generator(np.random.Philox(key=key, counter=[row, 0, 0, 7]))
            text, label = self.captioner(self.data, int(index), draw), self._label(int(index))
            u, drops = draw.random(), self.drops
            if u < drops.text + drops.both:
                text = ""
            if drops.text <= u < drops.text + drops.both + drops.label:
                label = len(self.data.label_names)
            texts.append(text)
            labels.append(label)
        cond = self.read(texts)
        cond = dataclasses.replace(cond, **self.data.take_beside(indices))
        if self.data.labels is not None:
            cond = dataclasses.replace(cond, label=torch.tensor(labels))
        x0 = self.data.take(indices).to(self.device)
        return Batch(x0, cond.to(self.device), called(self.data, indices))

    def _label(self, index: int) -> int:
        return 0 if self.data.labels is None else int(self.data.labels[index])

    def held(self) -> HeldOut:
        """The same data in order, for validation."""

        def batch(rows: range) -> Batch:
            # Keys from 2^63 on are never update numbers, so validation has its own random draws.
            return self.gathered(np.arange(rows.start, rows.stop), 2**63 + rows.start, rows)

        return HeldOut(self.data, batch)
