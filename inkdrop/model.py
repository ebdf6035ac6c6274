"""Model: a network with its process, parameterization and codec, as one folder without code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.codecs.identity import Identity
from inkdrop.cond import Cond
from inkdrop.config import dump, nearest, parse
from inkdrop.diffusion.parameterization import Parameterization
from inkdrop.diffusion.process import Process
from inkdrop.files import commit_folder
from inkdrop.registry import (
    CODECS,
    PARAMETERIZATIONS,
    PROCESSES,
    build,
    build_network,
    describe,
    describe_network,
)

FORMAT_VERSION = 1


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
    sampler, grid, steps, guidance: the defaults of sampling; a sampler or a grid of None is the
    one measured best at the steps asked for; tuned: grids fitted to this model.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    condition_drop: float = 0.0
    clip: bool = True
    learned_variance: bool = False
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
    codec: Identity = field(default_factory=Identity)

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

    def label(self, names: list[str | int], *, device: torch.device | None = None) -> Cond:
        """The condition for class names or indices, one a sample."""
        labels = self.spec.labels
        if not labels:
            raise ValueError("this model was trained without labels; it takes no condition")
        index = []
        for name in names:
            text = str(name)
            if text in labels:
                index.append(labels.index(text))
            elif text.isdigit() and int(text) < len(labels):
                index.append(int(text))
            else:
                known = ", ".join(labels)
                raise ValueError(
                    f"there is no class {text!r}; known: {known}.{nearest(text, labels)}"
                )
        return Cond(label=torch.tensor(index, device=device or self.device))

    def null(self, batch: int) -> Cond:
        """The null condition [batch]; for a model without a condition it is empty."""
        if not self.spec.labels:
            return Cond()
        index = torch.full((batch,), len(self.spec.labels), device=self.device)
        return Cond(label=index)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Model:
        """The same model with its network moved (in place, as torch does)."""
        return dataclasses.replace(self, network=self.network.to(device=device, dtype=dtype))

    def describe(self) -> dict[str, Any]:
        """The content of model.json."""
        return {
            "format_version": FORMAT_VERSION,
            "process": describe(PROCESSES, self.process),
            "parameterization": describe(PARAMETERIZATIONS, self.parameterization),
            "network": describe_network(self.network),
            "codec": describe(CODECS, self.codec),
            "spec": dump(self.spec),
        }

    def save(self, folder: str | Path) -> None:
        """Writes model.json and network.safetensors as one folder, committed by a rename."""
        with commit_folder(Path(folder)) as beside:
            self.write(beside)

    def write(self, folder: Path) -> None:
        """The two files, into a folder that exists (and that somebody else commits)."""
        from safetensors.torch import save_file

        text = json.dumps(self.describe(), indent=2) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
        weights = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        save_file(weights, folder / "network.safetensors")

    @staticmethod
    def load(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Model:
        """The model in a folder, in evaluation mode; ValueError in words for anything amiss."""
        folder = Path(folder)
        model = Model.build(read_json(folder / "model.json"), str(folder / "model.json"))
        load_weights(model.network, folder / "network.safetensors")
        model.network.to(dtype).eval().requires_grad_(False)
        return model

    @staticmethod
    def build(data: Mapping[str, Any], where: str) -> Model:
        """A model with fresh weights from the content of a model.json."""
        known = ("format_version", "process", "parameterization", "network", "codec", "spec")
        for name in data:
            if name not in known:
                raise ValueError(f"{where} has an unknown key {name!r}.{nearest(name, known)}")
        for name in known:
            if name not in data:
                raise ValueError(f"{where} has no {name!r}; it is not a whole model description")
        if data["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{where} is of format {data['format_version']!r}; this inkdrop reads"
                f" {FORMAT_VERSION}"
            )
        return Model(
            process=build("process", PROCESSES, data["process"], where),
            parameterization=build(
                "parameterization", PARAMETERIZATIONS, data["parameterization"], where
            ),
            network=build_network(data["network"], where),
            codec=build("codec", CODECS, data["codec"], where),
            spec=parse(Spec, data["spec"], f"{where}, spec"),
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError in words if it is missing or broken."""
    if not path.is_file():
        raise ValueError(f"there is no {path.name} in {path.parent}: it is not a model folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return data


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError in words if it is missing, cut or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file ({error})") from None


def load_weights(network: nn.Module, path: Path) -> None:
    """Fills a network from a safetensors file; every name and shape must find its place."""
    weights, wanted = read_weights(path), network.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    extra = sorted(weights.keys() - wanted.keys())
    shapes = sorted(
        k for k in wanted.keys() & weights.keys() if wanted[k].shape != weights[k].shape
    )
    for problem, names in (
        ("lacks", missing),
        ("does not use", extra),
        ("has other shapes for", shapes),
    ):
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise ValueError(
                f"{path} {problem} {len(names)} weights: {', '.join(names[:10])}{more}"
            )
    network.load_state_dict(weights)
