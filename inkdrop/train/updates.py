"""`updates`: training as a generator, one optimizer step at a time.

An update is a function of the config, the state, its batch and its `Turn`, which determines every
random draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkdrop.diffusion.noise import key
from inkdrop.model import Model
from inkdrop.train.config import TrainConfig
from inkdrop.train.ema import average, decay_at, snapshot
from inkdrop.train.objective import Batch, Batches, Objective, Trained, losses
from inkdrop.train.parallel import World, bare, number
from inkdrop.train.stop import Stopped
from inkdrop.train.turn import Turn

REFUSALS = 3  # training ends after this many non-finite updates in a row
SHOWN = 5  # names of samples in a message


@dataclass(frozen=True)
class Update:
    """One optimizer step.

    index: its number, from 0; total: the number of updates in the run
    loss: the mean over the global batch; grad_norm: before clipping
    applied: False if the gradient was not finite, so that the weights were left unchanged
    broken: names of the samples whose own loss was not finite
    """

    index: int
    total: int
    loss: float
    grad_norm: float
    lr: float
    applied: bool
    broken: tuple[str, ...] = ()

    @property
    def culprits(self) -> str:
        """Which samples made the step not finite, in words."""
        count = len(self.broken)
        if not count:
            return "the loss of every sample was finite, but not its gradient"
        shown = ", ".join(self.broken[:SHOWN]) + (", ..." if count > SHOWN else "")
        return f"the loss of {count} sample{'s' * (count > 1)} was not finite: {shown}"


@dataclass(frozen=True)
class Loss:
    """The mean loss over a process's rows, and the names of samples whose loss was not finite."""

    mean: float
    broken: tuple[str, ...] = ()


@dataclass
class State:
    """Everything that changes during training, which is exactly what a checkpoint holds.

    network: the unwrapped network; its weights, and `ema`, may be sharded among processes
    """

    network: nn.Module
    ema: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    update: int = 0
    refused: int = 0

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters that the optimizer updates."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def start(model: Trained, config: TrainConfig) -> State:
    """The state before the first update.

    The network may be wrapped, and must already be on its device, because the optimizer keeps
    references to its parameters. ValueError if there is nothing to train, if no sampler could start
    from noise, or if the loss and the model disagree about the learned variance.
    """
    network = bare(model.network)
    trainable = [p for p in network.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("no weight of this model requires a gradient; there is nothing to train")
    if isinstance(model, Model):
        _check(model, config)
    optimizer = torch.optim.AdamW(
        trainable, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    return State(network, snapshot(network), optimizer)


def _check(model: Model, config: TrainConfig) -> None:
    """ValueError, before any work, for a model that would be of no use."""
    end = torch.tensor([model.process.t_max], dtype=torch.float64)
    model.parameterization.affine(model.process, end)  # what sampling starts with
    if (config.loss == "hybrid") != model.spec.learned_variance:
        raise ValueError(
            f"loss is {config.loss!r} and the model's learned_variance is"
            f" {model.spec.learned_variance}: 'hybrid' trains the variance, and no other loss does"
        )


def parts(config: TrainConfig, world: World) -> list[range]:
    """The rows of each global batch that this process computes, in the parts that it computes.

    ValueError if the batch does not divide among the processes, or their rows into the parts.
    """
    rows = world.rows(config.batch)
    if len(rows) % config.accumulate:
        each = f"a process's {len(rows)} rows" if world.size > 1 else f"the batch of {len(rows)}"
        raise ValueError(f"accumulate is {config.accumulate}: it does not divide {each}")
    part = len(rows) // config.accumulate
    return [range(first, first + part) for first in range(rows.start, rows.stop, part)]


def turns(config: TrainConfig, world: World, since: int = 0) -> Iterator[tuple[int, range]]:
    """(update, rows) of every batch that this process computes from update `since` on."""
    pieces = parts(config, world)
    return ((update, rows) for update in range(since, config.updates) for rows in pieces)


def gradients(
    model: Trained,
    config: TrainConfig,
    batches: Batches,
    update: int,
    world: World,
    objective: Objective = losses,
) -> Loss:
    """Accumulates the global batch's mean gradient; returns the loss of our own rows.

    `Stopped` between the parts of a batch, if a stop was asked for.
    """
    pieces = parts(config, world)
    rows, total, broken = sum(map(len, pieces)), 0.0, list[str]()
    for piece in pieces:
        if piece is not pieces[0] and world.agree(world.stop.is_set()):
            raise Stopped  # the state is still that of the last update
        with world.averaging(model.network, last=piece is pieces[-1]):
            turn = Turn(update, piece, config.updates)
            batch = batches(update, piece)
            each = objective(model, config, batch, turn)
            loss = each.sum() / rows
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
        if not math.isfinite(loss.item()):
            broken += map(batch.called, each.isfinite().logical_not().nonzero()[:, 0].tolist())
    return Loss(total, tuple(broken))


def updates(
    model: Trained,
    batches: Batches,
    config: TrainConfig,
    state: State,
    world: World | None = None,
    objective: Objective = losses,
) -> Iterator[Update]:
    """Trains `model` from `state` on, changing it in place; yields after every optimizer step.

    model: its network may be a wrapped `state.network` (DDP, compiled)
    objective: what is minimised; by default the config's loss

    A step with a non-finite gradient is skipped. From the third in a row on, FloatingPointError
    names the batch; whoever resumes after that is told again at the next one. When the world is
    asked to stop, a step of several parts is left between two of them, and nothing has changed.
    """
    world = world or World(device=next(model.network.parameters()).device)
    model.network.train()
    while state.update < config.updates:
        index = state.update
        with torch.random.fork_rng(enabled=True):
            # Only dropout uses torch's global generator; seeding it here makes it resumable too.
            torch.manual_seed(key(config.seed, "dropout", index, world.rank))
            try:
                loss = gradients(model, config, batches, index, world, objective)
            except Stopped:
                state.optimizer.zero_grad(set_to_none=True)
                return
        update = _step(state, config, world.mean(loss.mean))
        if not update.applied:
            update = dataclasses.replace(update, broken=world.joined(loss.broken))
        yield update
        if state.refused >= REFUSALS:
            raise FloatingPointError(
                f"loss or gradient was not finite in {state.refused} updates in a row, the last"
                f" being update {index} (loss {update.loss}): {update.culprits}; look at these"
                f" samples, or train into another folder with a lower lr (now {config.lr:g}) or in"
                " float32"
            )


def _step(state: State, config: TrainConfig, loss: float) -> Update:
    """Applies the accumulated gradients, unless they are not finite."""
    index, lr = state.update, config.lr_at(state.update)
    norm = number(torch.nn.utils.clip_grad_norm_(state.parameters, config.clip_norm))
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
    return Update(index, config.updates, loss, norm, lr, applied)


@torch.no_grad()
def validation_loss(
    model: Trained,
    config: TrainConfig,
    batches: Callable[[range], Batch],
    count: int,
    objective: Objective = losses,
) -> float:
    """The mean loss over `count` held-out samples, with the same noise and times in every call."""
    model.network.eval()
    total, step = 0.0, config.batch
    for first in range(0, count, step):
        rows = range(0, min(step, count - first))
        batch = batches(range(first, first + len(rows)))
        turn = Turn(first // step, rows, config.updates, held_out=True)
        total += objective(model, config, batch, turn).sum().item()
    model.network.train()
    return total / count
