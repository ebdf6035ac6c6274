"""Interfaces of training (model, batches, objective), and `losses`, the diffusion objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.diffusion.losses import TIMES, hybrid, lognormal_times, loss_weight, squared_error
from inkdrop.diffusion.noise import generator
from inkdrop.model import Model
from inkdrop.train.config import TrainConfig
from inkdrop.train.precision import autocast
from inkdrop.train.turn import Turn, draw_noise, draw_places


@dataclass(frozen=True)
class Batch:
    """Data x0 [B, C, *spatial] in diffusion space, and the condition of each sample.

    called: the name of the sample in row i, for messages
    """

    x0: Tensor
    cond: Cond = field(default_factory=Cond)
    called: Callable[[int], str] = "row {}".format


class Batches(Protocol):
    """The data as a pure function: the rows `rows` of the global batch of update `update`."""

    def __call__(self, update: int, rows: range) -> Batch: ...


class Trained(Protocol):
    """What is trained: a Model, or something else such as an autoencoder or a judge.

    It must be a frozen dataclass; see `with_network`.
    """

    @property
    def network(self) -> nn.Module:
        """The module with all trained weights."""
        ...

    def write(self, folder: Path) -> None:
        """Writes its files into an existing folder."""
        ...


T = TypeVar("T", bound=Trained)


def with_network(model: T, network: nn.Module) -> T:
    """The same model with another network, such as a wrapped one."""
    return cast(T, dataclasses.replace(cast(Any, model), network=network))


class Objective(Protocol):
    """The objective: the loss [B] of each row of a turn, given its data in `batch`.

    model: what is trained, such as a Model
    """

    def __call__(self, model: Any, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor: ...


def draw_times(model: Model, config: TrainConfig, turn: Turn) -> Tensor:
    """The times [B] of a turn's rows, float64."""
    process, places = model.process, draw_places(config, turn)
    if config.times == "lognormal":
        mean, std = config.log_noise_mean, config.log_noise_std
        return lognormal_times(process, places, mean, std)[turn.part]
    return TIMES[config.times](process, places)[turn.part]


def drop(model: Model, config: TrainConfig, cond: Cond, turn: Turn) -> Cond:
    """The condition, with label and text replaced by null with probability `condition_drop`."""
    if cond.empty or config.condition_drop == 0:
        return cond
    u = torch.rand(config.batch, generator=generator(config.seed, "drop", turn.key))
    keep = u[turn.part] >= config.condition_drop
    return cond.where(keep, nulled(model, cond))


def nulled(model: Model, cond: Cond) -> Cond:
    """The condition with null in place of label and text; spatial conditions are kept."""
    null = model.null(cond.batch or 0)
    fields = {name: value for name, value in vars(null).items() if value is not None}
    if null.tokens is not None:
        fields["mask"] = null.mask  # even if None: the old mask belongs to the old tokens
    return dataclasses.replace(cond, **fields)


def losses(model: Model, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
    """The loss [B] of each row: the weighted squared error of the network's prediction."""
    process, parameterization = model.process, model.parameterization
    x0 = batch.x0
    t = draw_times(model, config, turn).to(x0.device)
    eps = draw_noise(x0, config.seed, turn)
    x = process.add_noise(x0, eps, t)
    target = parameterization.target(process, x0, eps, t)
    seen, feature = parameterization.inputs(process, x, t)
    cond = drop(model, config, batch.cond, turn)
    with autocast(config, x0.device):
        out = model.network(seen, feature, cond)
    if config.loss == "hybrid":
        return hybrid(process, parameterization, out, x0, x, t, target)
    weight = loss_weight(config.loss)(process, parameterization, t)
    return squared_error(out, target) * weight.to(device=x0.device, dtype=target.dtype)
