"""Model: a network with its process, parameterization and codec, as one folder without code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.codecs.identity import Identity
from inkdrop.cond import Cond, cat
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import TextConditioner
from inkdrop.config import dump, nearest, parse
from inkdrop.diffusion.parameterization import Parameterization
from inkdrop.diffusion.process import Process
from inkdrop.files import commit_folder
from inkdrop.registry import (
    PARAMETERIZATIONS,
    PROCESSES,
    Codec,
    build,
    build_codec,
    build_network,
    describe,
    describe_codec,
    describe_network,
    describe_text,
    read_text,
    write_text,
)
from inkdrop.unload import unload
from inkdrop.weights import map_weights, on_meta, read_json, save_weights

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Prompt:
    """What one sample is asked to be: words, and a class such as a style (None: any)."""

    text: str = ""
    label: str | int | None = None


@dataclass(frozen=True)
class Between:
    """What one sample is asked to be: a fraction (0 to 1) of the way from one prompt to another.

    Both are of one class; see `conditioning.text.interpolate`.
    """

    first: Prompt
    second: Prompt
    fraction: float


# What one sample is asked to be: a class by its name or number or, of a model with text, a prompt
# or what is between two.
Condition = str | int | Prompt | Between


@dataclass(frozen=True)
class Tuned:
    """A grid fitted to this model: `times`, steps + 1 of them, for `steps` steps of `sampler`.

    weights: of the sampler "fitted", one row a step; empty for any other.
    """

    steps: int
    sampler: str
    times: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        falling = all(s < t for t, s in zip(self.times, self.times[1:], strict=False))
        if self.steps < 1 or len(self.times) != self.steps + 1 or not falling:
            raise ValueError(
                f"a tuned grid of {self.steps} steps has {len(self.times)} times: it needs one more"
                " than steps, each below the one before"
            )
        if len(self.weights) != (self.steps if self.sampler == "fitted" else 0):
            raise ValueError(
                f"{self.sampler} on a tuned grid of {self.steps} steps has {len(self.weights)} rows"
                " of weights: 'fitted' needs one a step, others none"
            )


@dataclass(frozen=True)
class Spec:
    """What a model makes and how it is best asked.

    shape: of one sample in data space [C, *spatial]; labels: names of its classes, if any;
    condition_drop: how often training replaced the condition by null (0 = it has no null);
    clip: hold x_0 in [-1, 1] while sampling; learned_variance: the network says [B, 2C, ...];
    told_guidance: the network is told how strongly to guide (cond.guidance) and called once
    any_size: it makes data of other sizes than its shape's too, as Stable Diffusion does
    sampler, grid, steps, guidance: the defaults of sampling; a sampler or a grid of None is the
    one measured best at the steps asked for; tuned: grids fitted to this model.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    condition_drop: float = 0.0
    clip: bool = True
    learned_variance: bool = False
    told_guidance: bool = False
    any_size: bool = False
    sampler: str | None = None
    grid: str | None = None
    steps: int = 20
    guidance: float = 1.0
    tuned: tuple[Tuned, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}: channels and at least one size, all above 0")
        if not 0 <= self.condition_drop < 1:
            raise ValueError(
                f"condition_drop is {self.condition_drop}: it is a probability below 1"
            )


@dataclass(frozen=True)
class Model:
    """All parts of a trained model; sampling changes nothing in it, so threads can share it."""

    network: nn.Module
    process: Process
    parameterization: Parameterization
    spec: Spec
    codec: Codec = field(default_factory=Identity)
    text: TextConditioner | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, *spatial] of one sample in the codec's space, where diffusion happens."""
        return self.codec.shape(self.spec.shape)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return self._weight.device

    @cached_property
    def _weight(self) -> Tensor:
        # Found once: a search through all modules would cost as much as a step's arithmetic.
        return next(self.network.parameters())

    def denoise(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The predictor (x_t [B, ...], t [B], cond) -> x_0 [B, ...], in x_t's precision."""
        return self.predict(x, t, cond)[0]

    def predict(self, x: Tensor, t: Tensor, cond: Cond) -> tuple[Tensor, Tensor | None]:
        """x_0 and, where the network says one, the fraction of its log variance (else None)."""
        seen, feature = self.parameterization.inputs(self.process, x, t)
        dtype = self._weight.dtype
        out = self.network(seen if seen.dtype == dtype else seen.to(dtype), feature, cond)
        fraction = None
        if self.spec.learned_variance:
            out, fraction = out.chunk(2, dim=1)
            fraction = fraction.to(x.dtype)
        return self.parameterization.x0(self.process, out, x, t), fraction

    def condition(self, names: list[Condition], *, device: torch.device | None = None) -> Cond:
        """What the network is told for these conditions, one a sample."""
        device = device or self.device
        if self.text is None:
            return Cond(label=torch.tensor([self._class(name) for name in names], device=device))
        if any(isinstance(name, Between) for name in names):
            parts = [
                self._between(n) if isinstance(n, Between) else self.condition([n]) for n in names
            ]
            return cat(parts).to(device)
        prompts = [name if isinstance(name, Prompt) else Prompt(str(name)) for name in names]
        cond = self.text.encode([prompt.text for prompt in prompts]).to(device)
        if not self.spec.labels:
            return cond
        null = len(self.spec.labels)
        index = [null if p.label is None else self._class(p.label) for p in prompts]
        return dataclasses.replace(cond, label=torch.tensor(index, device=device))

    def _between(self, asked: Between) -> Cond:
        first, second = asked.first, asked.second
        if first.label != second.label:
            raise ValueError(
                f"one prompt asks for {first.label!r} and the other for {second.label!r}; a walk"
                " keeps to one class"
            )
        assert self.text is not None
        a, b = self.condition([first]), self.condition([second])
        words = self.text.between(
            dataclasses.replace(a, label=None), dataclasses.replace(b, label=None), asked.fraction
        )
        return dataclasses.replace(words, label=a.label)

    @property
    def classes(self) -> tuple[Condition, ...]:
        """Each class as a condition by itself: to a model with text, a class without words."""
        labels = self.spec.labels
        return labels if self.text is None else tuple(Prompt(label=name) for name in labels)

    def _class(self, name: Condition) -> int:
        """The number of a class."""
        labels = self.spec.labels
        if isinstance(name, Prompt | Between):
            words = (name if isinstance(name, Prompt) else name.first).text
            raise ValueError(
                f"this model was trained without captions and cannot read {words!r}; give it a"
                " class"
            )
        if not labels:
            raise ValueError("this model was trained without labels; it takes no class")
        text = str(name)
        if text in labels:
            return labels.index(text)
        if text.isdigit() and int(text) < len(labels):
            return int(text)
        raise ValueError(
            f"there is no class {text!r}; known: {', '.join(labels)}.{nearest(text, labels)}"
        )

    def null(self, batch: int) -> Cond:
        """The null condition [batch]; for a model without a condition it is empty."""
        if self.text is not None:
            return self.condition([Prompt()]).repeat(batch)
        if not self.spec.labels:
            return Cond()
        index = torch.full((batch,), len(self.spec.labels), device=self.device)
        return Cond(label=index)

    def sized(self, *sizes: int) -> Model:
        """The same model making data of other sizes; ValueError for those that it cannot make."""
        shape = (self.spec.shape[0], *sizes)
        self.codec.shape(shape)
        text = self.text.sized(*sizes) if isinstance(self.text, JoinedText) else self.text
        return dataclasses.replace(
            self, spec=dataclasses.replace(self.spec, shape=shape), text=text
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Model:
        """The same model with its networks moved (in place, as torch does)."""
        for part in self.networks:
            part.to(device=device, dtype=dtype)
        return dataclasses.replace(self)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that has weights in it: the denoiser, the codec and the encoders of text."""
        coders = (self.codec,) if isinstance(self.codec, nn.Module) else ()
        return (self.network, *coders, *(() if self.text is None else self.text.networks))

    def unload(self) -> None:
        """Gives its memory back; neither it nor a model of the same networks can be used any more.

        Nobody may be sampling from it.
        """
        unload(*self.networks)

    def describe(self) -> dict[str, Any]:
        """The content of model.json."""
        return {
            "format_version": FORMAT_VERSION,
            "process": describe(PROCESSES, self.process),
            "parameterization": describe(PARAMETERIZATIONS, self.parameterization),
            "network": describe_network(self.network),
            "codec": describe_codec(self.codec),
            "spec": dump(self.spec),
            **({} if self.text is None else {"text": describe_text(self.text)}),
        }

    def save(self, folder: str | Path) -> None:
        """Writes model.json and the weights as one folder, committed by a rename."""
        with commit_folder(Path(folder)) as beside:
            self.write(beside)

    def write(self, folder: Path) -> None:
        """Its files, into a folder that exists (and that somebody else commits)."""
        text = json.dumps(self.describe(), indent=2) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
        save_weights(self.network, folder / "network.safetensors")
        if isinstance(self.codec, nn.Module):
            save_weights(self.codec, folder / "codec.safetensors")
        if self.text is not None:
            write_text(self.text, folder)

    @staticmethod
    def load(folder: str | Path, *, dtype: torch.dtype | None = torch.float32) -> Model:
        """The model in a folder, in evaluation mode; ValueError in words for anything amiss.

        Weights stay in the mapped files until they are used, unless they are to be of another type.
        dtype: of all weights (None: what they are stored in)
        """
        folder = Path(folder)
        data, where = read_json(folder / "model.json"), str(folder / "model.json")
        model = Model.build(data, where, meta=True)
        map_weights(model.network, folder / "network.safetensors", dtype)
        if isinstance(model.codec, nn.Module):
            map_weights(model.codec, folder / "codec.safetensors", dtype)
            model.codec.to(dtype)  # what no file holds
        if "text" not in data:
            return model
        text = read_text(data["text"], folder, where, dtype)
        return dataclasses.replace(model, text=text)

    @staticmethod
    def build(data: Mapping[str, Any], where: str, *, meta: bool = False) -> Model:
        """A model with fresh weights from the content of a model.json, yet without its text.

        meta: its weights take no memory and have no values
        A text encoder needs the tokenizer that its folder holds, so `load` adds it.
        """
        known = ("format_version", "process", "parameterization", "network", "codec", "spec")
        if "autoencoder" in data:
            raise ValueError(f"{where} is of an autoencoder, which makes no samples by itself")
        for name in data:
            if name not in (*known, "text"):
                raise ValueError(f"{where} has an unknown key {name!r}.{nearest(name, known)}")
        for name in known:
            if name not in data:
                raise ValueError(f"{where} has no {name!r}; it is not a whole model description")
        if data["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{where} is of format {data['format_version']!r}; this inkdrop reads"
                f" {FORMAT_VERSION}"
            )
        with on_meta() if meta else nullcontext():
            network, codec = (
                build_network(data["network"], where),
                build_codec(data["codec"], where),
            )
        return Model(
            process=build("process", PROCESSES, data["process"], where),
            parameterization=build(
                "parameterization", PARAMETERIZATIONS, data["parameterization"], where
            ),
            network=network,
            codec=codec,
            spec=parse(Spec, data["spec"], f"{where}, spec"),
        )
