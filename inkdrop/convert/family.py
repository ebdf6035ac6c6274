"""What a family of checkpoints is to the rest of `convert`: one value that does everything.

A new family is a folder beside `sd/` that builds a `Family`, and a line in `families.FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch

from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.parts import Part
from inkdrop.convert.files.report import Report
from inkdrop.convert.files.stored import Weights
from inkdrop.model import Model
from inkdrop.networks.control import ControlNet

ForeignLayout = Literal["folder", "single"]


class Read(Protocol):
    """A foreign checkpoint whose headers and settings are read, and whose weights are not."""

    @property
    def path(self) -> Path: ...
    @property
    def layout(self) -> Literal["folder", "part", "single"]: ...


class ReadControl(Read, Protocol):
    """The same for a control network."""

    @property
    def weights(self) -> Weights: ...
    def lines(self) -> list[str]: ...


F = TypeVar("F", bound=Read)
C = TypeVar("C", bound=ReadControl)


@dataclass(frozen=True)
class Headers:
    """The settings of a model's networks, the size of its pictures, and its parts.

    network, autoencoder: configurations; None where there is none that this library knows
    sizes: height and width of a picture; any_size: whether it makes other sizes too
    """

    network: Any
    autoencoder: Any
    sizes: tuple[int, ...]
    any_size: bool
    parts: tuple[Part, ...]

    def sizes_for(self, size: int | Sequence[int] | None) -> tuple[int, ...]:
        """The size of the pictures if `size` is asked for; None: the model's own."""
        if size is None or not self.any_size:
            return self.sizes
        return (size, size) if isinstance(size, int) else tuple(size)


@dataclass(frozen=True)
class Controls(Generic[C]):
    """The control networks of a family.

    kind: how its files are recognised; classes: those of a folder's config.json
    read: (path, options) -> headers and settings; ValueError if it is not a control network
    build: (what was read, the model to control or None, dtype) -> the network in evaluation mode,
        and the report of its weights; ValueError before a weight is read if the model does not fit
    export: (network, out, layout): written beside `out` and renamed
    """

    kind: Kind
    classes: tuple[str, ...]
    read: Callable[[Path, ReadOptions], C]
    build: Callable[[C, Model | None, torch.dtype | None], tuple[ControlNet, Report]]
    export: Callable[[ControlNet, Path, ForeignLayout], None]


@dataclass(frozen=True)
class Coders(Generic[F]):
    """The autoencoders of a family, by themselves or in a model.

    build: (what was read, the settings to use where it has none, dtype) -> the autoencoder
    export: (what was read, out, layout, dtype): an autoencoder by itself in another layout, and the
        report of its weights
    lend: (a checkpoint without an autoencoder, another that has one) -> the checkpoint with it
    """

    build: Callable[[F, LatentConfig, torch.dtype | None], Latent]
    export: Callable[[F, Path, ForeignLayout, torch.dtype | None], Report]
    lend: Callable[[F, F], F]


@dataclass(frozen=True)
class Family(Generic[F]):
    """A family of foreign checkpoints: how to recognise, read, build and export its models.

    kind: how its single files are recognised
    pipelines: the classes that model_index.json gives to whole folders of it
    networks: the classes that config.json gives to the folder of a single network
    read: (path, options) -> headers and settings; no weight is read, nothing is executed
    headers: what was read, as `Headers`
    build: (what was read, dtype or None for the stored types, whether text is required) -> the
        model with its text, and the report of every weight
    exports: whether a model can be written as a checkpoint of this family
    takes: the models that can be written, for messages
    export: (model, out, layout): the model with its text, written beside `out` and renamed
    part: how the file of one network in its folders is recognised, which is refused by itself
    controls: its control networks, if it has any
    coders: its autoencoders by themselves, if it has any
    alone: (what was read) -> which network it is if it is one by itself, such as "an autoencoder";
        "" for a whole model
    """

    kind: Kind
    pipelines: tuple[str, ...]
    networks: tuple[str, ...]
    read: Callable[[Path, ReadOptions], F]
    headers: Callable[[F], Headers]
    build: Callable[[F, torch.dtype | None, bool], tuple[Model, Report]]
    exports: Callable[[Model], bool]
    takes: str
    export: Callable[[Model, Path, ForeignLayout], None]
    part: Kind | None = None
    controls: Controls[Any] | None = None
    coders: Coders[F] | None = None
    alone: Callable[[F], str] = lambda _: ""
