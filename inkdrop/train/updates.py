"""`updates`: training as a generator, one optimizer step at a time.

What an update computes is a function of the config, the state and its `Turn`, which keys every
random draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.diffusion.losses import TIMES, hybrid, lognormal_times, loss_weight, squared_error
from inkdrop.diffusion.noise import generator, key
from inkdrop.model import Model
from inkdrop.train.config import TrainConfig
from inkdrop.train.ema import average, decay_at, snapshot
from inkdrop.train.parallel import World
from inkdrop.train.turn import Turn, draw_noise, draw_places


@dataclass(frozen=True)
class Batch:
    """Data x0 [B, C, *spatial] in diffusion space and what the network is told of it."""

    x0: Tensor
    cond: Cond = field(default_factory=Cond)


class Batches(Protocol):
    """The data as a pure function: rows `rows` of the global batch of update `update`."""

    def __call__(self, update: int, rows: range) -> Batch: ...


class Trained(Protocol):
    """What a training changes: a Model, or another part that is trained by itself.

    A frozen dataclass, so that `dataclasses.replace` can put another network in.
    """

    @property
    def network(self) -> nn.Module:
        """All weights that are trained."""
        ...

    def write(self, folder: Path) -> None:
        """Its files, into a folder that exists."""
        ...


class Objective(Protocol):
    """What is minimised: the loss [B] of each row of a turn, whose data is `batch`.

    model: what is trained, such as a Model.
    """

    def __call__(self, model: Any, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor: ...


@dataclass(frozen=True)
class Update:
    """One optimizer step: its number (0 first), the mean loss of this process's rows, and norms.

    total: how many there will be; applied is False if loss or gradient was not finite and the
    weights were left alone.
    """

    index: int
    total: int
    loss: float
    grad_norm: float
    lr: float
    applied: bool


@dataclass
class State:
    """What changes in training: all of it, and nothing else, is in a checkpoint."""

    network: nn.Module
    ema: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    update: int = 0
    refused: int = 0


def start(model: Trained, config: TrainConfig) -> State:
    """The state before the first update."""
    trainable = [p for p in model.network.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("no weight of this model requires a gradient; there is nothing to train")
    if isinstance(model, Model) and (config.loss == "hybrid") != model.spec.learned_variance:
        raise ValueError(
            f"loss is {config.loss!r} and the model's learned_variance is"
            f" {model.spec.learned_variance}: 'hybrid' trains the variance, and no other loss does"
        )
    optimizer = torch.optim.AdamW(
        trainable, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    return State(model.network, snapshot(model.network), optimizer)


def bfloat16_pays(device: torch.device) -> bool:
    """True where the device multiplies bfloat16 in hardware, and so faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return any(bool(flags.get(name)) for name in ("avx512_bf16", "amx_bf16"))
    return False


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the network runs at the precision asked for."""
    low = config.precision == "bfloat16" or (config.precision == "auto" and bfloat16_pays(device))
    return torch.autocast(device.type, dtype=torch.bfloat16) if low else nullcontext()


def draw_times(model: Model, config: TrainConfig, turn: Turn) -> Tensor:
    """Times of the rows of a turn [B], float64."""
    process, places = model.process, draw_places(config, turn)
    if config.times == "lognormal":
        mean, std = config.log_noise_mean, config.log_noise_std
        return lognormal_times(process, places, mean, std)[turn.part]
    return TIMES[config.times](process, places)[turn.part]


def drop(model: Model, config: TrainConfig, cond: Cond, turn: Turn) -> Cond:
    """The condition, replaced by null with the probability `condition_drop`."""
    if cond.empty or config.condition_drop == 0:
        return cond
    u = torch.rand(config.batch, generator=generator(config.seed, "drop", turn.key))
    keep = u[turn.part] >= config.condition_drop
    return cond.where(keep, model.null(len(turn.rows)))


def losses(model: Model, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
    """The loss [B] of each row: the weighted error of the network on noisy data."""
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


def gradients(
    model: Trained,
    config: TrainConfig,
    batches: Batches,
    update: int,
    world: World,
    objective: Objective = losses,
) -> float:
    """Adds the global batch's mean gradient to the weights; returns the mean loss of our rows."""
    rows = world.rows(config.batch)
    if len(rows) % config.accumulate:
        raise ValueError(
            f"accumulate is {config.accumulate}: it does not divide a process's {len(rows)} rows"
        )
    part = len(rows) // config.accumulate
    total = 0.0
    for first in range(rows.start, rows.stop, part):
        piece = range(first, first + part)
        last = piece.stop == rows.stop
        sync = nullcontext() if last or world.size == 1 else model.network.no_sync()  # type: ignore[operator]
        with sync:
            turn = Turn(update, piece, config.updates)
            each = objective(model, config, batches(update, piece), turn)
            loss = each.sum() / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def updates(
    model: Trained,
    batches: Batches,
    config: TrainConfig,
    state: State,
    world: World | None = None,
    objective: Objective = losses,
) -> Iterator[Update]:
    """Trains `model` from `state` on, which is changed in place; yields after every optimizer step.

    objective: what is minimised, the config's loss by default. model.network may be
    `state.network` wrapped (DDP, compiled). A step whose loss or gradient is not finite is not
    applied; after three in a row FloatingPointError names the batch.
    """
    world = world or World()
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    model.network.train()
    while state.update < config.updates:
        index = state.update
        lr = config.lr_at(index)
        with torch.random.fork_rng(enabled=True):
            # Dropout is the only user of torch's own stream; it too is a function of the update.
            torch.manual_seed(key(config.seed, "dropout", index, world.rank))
            loss = gradients(model, config, batches, index, world, objective)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm).item()
        # The gradient is the same in every process, so all of them decide alike.
        applied = math.isfinite(norm)
        if applied:
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            state.optimizer.step()
            average(state.ema, state.network, decay_at(config.ema, index))
        state.optimizer.zero_grad(set_to_none=True)
        state.refused = 0 if applied else state.refused + 1
        state.update += 1
        if state.refused == 3:
            raise FloatingPointError(
                f"loss or gradient was not finite in three updates in a row, the last with batch"
                f" {index} (loss {loss}); look at its data, lower lr ({config.lr:g}) or use float32"
            )
        yield Update(index, config.updates, loss, norm, lr, applied)


@torch.no_grad()
def validation_loss(
    model: Trained,
    config: TrainConfig,
    batches: Callable[[range], Batch],
    count: int,
    objective: Objective = losses,
) -> float:
    """Mean loss over `count` held-out samples, with the same noise and times at every call."""
    model.network.eval()
    total, step = 0.0, config.batch
    for first in range(0, count, step):
        rows = range(0, min(step, count - first))
        batch = batches(range(first, first + len(rows)))
        turn = Turn(first // step, rows, config.updates, held_out=True)
        total += objective(model, config, batch, turn).sum().item()
    model.network.train()
    return total / count
