"""Training a denoiser that reads captions through a frozen text encoder.

The encoder is part of the model but is not trained: the optimizer and the weight average leave it
out, and the model folder of every checkpoint holds it unchanged.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from inkdrop.cond import Cond, cat
from inkdrop.conditioning.pretrained import weight_files
from inkdrop.conditioning.prompt import escape
from inkdrop.conditioning.text import Text
from inkdrop.model import Model
from inkdrop.registry import describe_text
from inkdrop.train.aim import Aim

ROOM = 2**30  # bytes of encoded captions that are cached


class Remembered:
    """Captions -> conditions, with a cache of at most `room` bytes.

    Each caption is encoded alone, not in a batch. Its condition then depends on nothing else, and
    a run that is resumed or split over processes sees the same numbers. Brackets are plain
    punctuation here, not emphasis.
    """

    def __init__(self, text: Text, room: int = ROOM) -> None:
        self.text, self.room, self.used = text, room, 0
        self.known: OrderedDict[str, Cond] = OrderedDict()
        self.lock = Lock()  # batches are read in a thread of their own

    def __call__(self, captions: Sequence[str]) -> Cond:
        """B captions -> tokens [B, L, D] with their mask, and the vector; on the CPU."""
        with self.lock:
            return cat([self._one(caption) for caption in captions])

    def _one(self, caption: str) -> Cond:
        if caption in self.known:
            self.known.move_to_end(caption)
            return self.known[caption]
        with torch.no_grad():
            cond = self.text.encode([escape(caption)]).to("cpu")
        self.known[caption] = cond
        self.used += _size(cond)
        while self.used > self.room and len(self.known) > 1:
            self.used -= _size(self.known.popitem(last=False)[1])
        return cond


def _size(cond: Cond) -> int:
    parts = (cond.tokens, cond.mask, cond.vector)
    return sum(part.nbytes for part in parts if part is not None)


def frozen_aim(aim: Aim, text: Text, folder: Path) -> Aim:
    """The same aim, for a model that reads captions through the frozen encoder in `folder`."""

    def build(description: Mapping[str, Any], where: str) -> Model:
        model = aim.build(description, where)
        assert isinstance(model, Model)
        return dataclasses.replace(model, text=text)

    record = {"text": describe_text(text), "encoder": fingerprint(folder, text)}
    return dataclasses.replace(aim, build=build, record=record)


def fingerprint(folder: Path, text: Text) -> str:
    """The sha256 of a folder's weights and of its tokenizer, including any added words."""
    tokenizer = text.tokenizer
    total = hashlib.sha256(tokenizer.backend.to_str().encode())
    if tokenizer.words:
        total.update(json.dumps(sorted(tokenizer.words.items())).encode())
    for path in weight_files(folder):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
