"""Model: a network with its process, parameterization, codec and text encoder."""

from __future__ import annotations

import dataclasses
import operator
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.codecs.codec import Codec
from inkdrop.codecs.identity import Identity
from inkdrop.cond import Cond, cat
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import TextConditioner
from inkdrop.conditions import Between, Condition, Conditions, Prompt, listed
from inkdrop.config import nearest
from inkdrop.diffusion.parameterization import Parameterization
from inkdrop.diffusion.process import Process
from inkdrop.files import commit_folder
from inkdrop.media.medium import Medium
from inkdrop.model import card
from inkdrop.model.spec import Spec
from inkdrop.registry import medium
from inkdrop.unload import unload


@dataclass(frozen=True)
class Model:
    """All parts of a trained model; sampling does not change it, so threads can share it."""

    network: nn.Module
    process: Process
    parameterization: Parameterization
    spec: Spec
    codec: Codec = field(default_factory=Identity)
    text: TextConditioner | None = None

    def __repr__(self) -> str:
        return card.text(self)

    def _repr_html_(self) -> str:
        return card.html(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, *spatial] of one sample in the codec's space, in which diffusion runs."""
        return self.codec.shape(self.spec.shape)

    @property
    def medium(self) -> Medium:
        """The medium of its samples, which reads, writes, shows and describes them."""
        return medium(self.spec.medium)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return self._weight.device

    @cached_property
    def _weight(self) -> Tensor:
        # Cached: searching all modules would cost as much as a sampler step's arithmetic.
        return next(self.network.parameters())

    def denoise(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The predictor (x_t [B, ...], t [B], cond) -> x_0 [B, ...], in x_t's precision."""
        return self.predict(x, t, cond)[0]

    def predict(self, x: Tensor, t: Tensor, cond: Cond) -> tuple[Tensor, Tensor | None]:
        """x_0, and the fraction of the log variance if the network predicts it (else None).

        x: x_t [B, ...]; t: [B]; both results are [B, ...] in x's precision. ValueError for a
        condition of another batch.
        """
        if cond.batch not in (None, len(x)):
            raise ValueError(
                f"the condition is for {cond.batch} samples, but x has {len(x)}; give one for each"
            )
        seen, feature = self.parameterization.inputs(self.process, x, t)
        dtype = self._weight.dtype
        out = self.network(seen if seen.dtype == dtype else seen.to(dtype), feature, cond)
        fraction = None
        if self.spec.learned_variance:
            out, fraction = out.chunk(2, dim=1)
            fraction = fraction.to(x.dtype)
        return self.parameterization.x0(self.process, out, x, t), fraction

    def condition(self, names: Conditions, *, device: torch.device | None = None) -> Cond:
        """The network's inputs for these conditions, one per sample; a single one is a batch of 1.

        device: None is the model's own. ValueError for a condition that the model does not know.
        """
        names = listed(names)
        device = device or self.device
        if self.text is None:
            return Cond(label=torch.tensor([self._class(name) for name in names], device=device))
        if any(isinstance(name, Between) for name in names):
            parts = [
                self._between(n) if isinstance(n, Between) else self.condition([n]) for n in names
            ]
            return cat(parts).to(device)
        prompts = [_prompt(name) for name in names]
        cond = self.text.encode([prompt.text for prompt in prompts]).to(device)
        if not self.spec.labels and all(prompt.label is None for prompt in prompts):
            return cond
        null = len(self.spec.labels)
        index = [null if p.label is None else self._class(p.label) for p in prompts]
        return dataclasses.replace(cond, label=torch.tensor(index, device=device))

    def _between(self, asked: Between) -> Cond:
        first, second = asked.first, asked.second
        if first.label != second.label:
            raise ValueError(
                f"one prompt has the class {first.label!r} and the other {second.label!r}; give"
                " both the same class"
            )
        assert self.text is not None
        a, b = self.condition([first]), self.condition([second])
        words = self.text.between(
            dataclasses.replace(a, label=None), dataclasses.replace(b, label=None), asked.fraction
        )
        return dataclasses.replace(words, label=a.label)

    @property
    def classes(self) -> tuple[Condition, ...]:
        """Each class as a condition; for a model with text, as a Prompt without words."""
        labels = self.spec.labels
        return labels if self.text is None else tuple(Prompt(label=name) for name in labels)

    def _class(self, name: Condition) -> int:
        """The number of a class, from that number or from the class's name.

        A whole number is always a number. A string is a name, or the number of a class if no class
        has a number as its name.
        """
        labels = self.spec.labels
        if isinstance(name, Prompt | Between):
            words = (name if isinstance(name, Prompt) else name.first).text
            raise ValueError(
                f"this model was trained without captions and cannot use the prompt {words!r}; give"
                " a class"
            )
        if not labels:
            raise ValueError(
                f"the class is {name!r}, but this model was trained without labels; leave it out"
            )
        if not isinstance(name, str):
            number = operator.index(name)
            if 0 <= number < len(labels):
                return number
            raise ValueError(
                f"there is no class number {number}; the model has classes 0 to {len(labels) - 1}"
                f" ({', '.join(labels[:10])}{', ...' if labels[10:] else ''})"
            )
        text = unicodedata.normalize("NFC", name)
        spelled = [unicodedata.normalize("NFC", label) for label in labels]
        if text in spelled:
            return spelled.index(text)
        number = text.isascii() and text.isdigit() and len(text) < 10
        # Where names are numbers, such as 1 to 12, a number without a class is a slip.
        if number and int(text) < len(labels) and not any(map(str.isdecimal, spelled)):
            return int(text)
        raise ValueError(
            f"there is no class {text!r}; known: {', '.join(labels)}.{nearest(text, labels)}"
        )

    def null(self, batch: int) -> Cond:
        """The null condition for a batch of this size; empty for an unconditional model."""
        if self.text is not None:
            return self.condition([Prompt()]).repeat(batch)
        if not self.spec.labels:
            return Cond()
        index = torch.full((batch,), len(self.spec.labels), device=self.device)
        return Cond(label=index)

    def sized(self, *sizes: int) -> Model:
        """The same model for data of other sizes; ValueError if its codec cannot make them."""
        shape = (self.spec.shape[0], *sizes)
        self.codec.shape(shape)
        text = self.text.sized(*sizes) if isinstance(self.text, JoinedText) else self.text
        return dataclasses.replace(
            self, spec=dataclasses.replace(self.spec, shape=shape), text=text
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Model:
        """The same model with its networks moved or converted (in place, as in torch)."""
        for part in self.networks:
            part.to(device=device, dtype=dtype)
        return dataclasses.replace(self)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All modules with weights: the denoiser, the codec and the text encoders."""
        coders = () if self.codec.module is None else (self.codec.module,)
        return (self.network, *coders, *(() if self.text is None else self.text.networks))

    def unload(self) -> None:
        """Frees its memory; afterwards neither it nor a model with the same networks can be used.

        No other thread may be sampling from it.
        """
        unload(*self.networks)

    def describe(self) -> dict[str, Any]:
        """The content of its model.json."""
        from inkdrop.model.folder import describe_model

        return describe_model(self)

    def save(self, folder: str | Path) -> None:
        """Writes model.json and the weights as one folder, atomically."""
        weights = (value for part in self.networks for value in part.state_dict().values())
        with commit_folder(Path(folder), needs=sum(value.nbytes for value in weights)) as beside:
            self.write(beside)

    def write(self, folder: Path) -> None:
        """Writes its files into an existing folder; the caller commits it."""
        from inkdrop.model.folder import write_model

        write_model(self, folder)

    @staticmethod
    def load(name: str | Path, *, dtype: torch.dtype | None = torch.float32) -> Model:
        """The model in a model folder or run, or a built-in one, in evaluation mode.

        dtype: of all weights; None keeps the stored one. Weights are memory-mapped and read on
        first use, unless their dtype changes. ValueError if the model is missing, incomplete or
        damaged. `open_checkpoint` also opens the checkpoints of other programs.
        """
        from inkdrop.model.folder import load_model
        from inkdrop.runs import own_folder

        return load_model(own_folder(name)[0], dtype=dtype)


def _prompt(asked: Condition) -> Prompt:
    """A condition of a model with text: a string is words, a number a class."""
    if isinstance(asked, str):
        return Prompt(asked)
    assert not isinstance(asked, Between)
    return asked if isinstance(asked, Prompt) else Prompt(label=asked)
