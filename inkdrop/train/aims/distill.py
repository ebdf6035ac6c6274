"""Distillation: a student learns to sample in a few steps what its teacher samples in many.

The student has the teacher's architecture and starts from its weights. It learns the target of
`inkdrop/diffusion/consistency.py` on K segments of time, and samples by DDIM from one segment
boundary to the next: K network calls. A distillation is an ordinary run and yields an ordinary
model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.config import dump
from inkdrop.data.dataset import Dataset
from inkdrop.diffusion.consistency import carry, follow, landing, segments
from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.guidance import Denoiser, bind, cfg
from inkdrop.diffusion.losses import loss_weight
from inkdrop.diffusion.process import like
from inkdrop.diffusion.times import grid
from inkdrop.digest import digest_of_weights
from inkdrop.model import Model, Spec, Tuned
from inkdrop.train.aim import Aim
from inkdrop.train.aims.distill_config import DistillConfig, Metric
from inkdrop.train.config import DISTILL_TRAINING, TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.objective import Batch, nulled
from inkdrop.train.parallel import World
from inkdrop.train.precision import autocast
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn, draw_noise, draw_places


def check(teacher: Model, config: DistillConfig) -> None:
    """ValueError if this teacher cannot be distilled with this config."""
    spec = teacher.spec
    if spec.learned_variance:
        raise ValueError(
            "the teacher has a learned variance, which a student of few steps has no use for;"
            " distill a model that was trained with another loss than 'hybrid'"
        )
    if config.steps >= spec.steps:
        raise ValueError(
            f"steps is {config.steps} and the teacher's own are {spec.steps}: a student is made"
            " for fewer; ask for fewer steps"
        )
    guidance = built_in(spec, config)
    if guidance != 1 and not spec.condition_drop:
        raise ValueError(
            f"guidance is {guidance}, but the teacher knows no null condition to guide away from;"
            " distill it with guidance 1"
        )
    if guidance != 1 and config.method == "training":
        raise ValueError(
            f"guidance is {guidance}, but method 'training' asks no teacher that could be guided;"
            " use guidance 1, or rollout"
        )
    own = own_path(teacher)
    if own is not None and config.method != "rollout":
        raise ValueError(
            f"method is {config.method!r}, but the teacher is itself made for the {spec.steps}"
            " times of its own grid and knows none between; use rollout"
        )
    if own is not None and spec.steps % config.steps:
        raise ValueError(
            f"steps is {config.steps}, which does not divide the {spec.steps} of a teacher that"
            " knows the times of its own grid only"
        )


def built_in(spec: Spec, config: DistillConfig) -> float:
    """The guidance scale to build into the student of a teacher with this spec."""
    if config.guidance is not None:
        return config.guidance or 1.0  # 0 is no guidance, as in `Sampling.strength`
    guided = spec.labels and spec.condition_drop and config.method != "training"
    return spec.guidance or 1.0 if guided else 1.0


def own_path(teacher: Model) -> Tensor | None:
    """The time grid of a teacher that is itself a student, so bound to DDIM on it; else None."""
    spec = teacher.spec
    for tuned in spec.tuned:
        if (tuned.steps, tuned.sampler) == (spec.steps, "ddim"):
            return torch.tensor(tuned.times, dtype=torch.float64)
    return None


def path(teacher: Model, config: DistillConfig, share: float = 1.0) -> Tensor:
    """The times from noise to data, with n intervals per segment: float64 [n * steps + 1].

    share: the fraction of training that is done; all methods but rollout refine their grid with it
    """
    own = own_path(teacher)
    if own is not None:
        return own
    if config.method == "rollout":
        total = config.teacher_steps or max(16, 2 * config.steps)
    else:
        total = config.finest // 2 ** (3 - min(3, int(4 * share)))
    each = max(1, -(-total // config.steps))
    # VE's sigma / alpha spans five decades and needs rho spacing; elsewhere uniform times do well.
    spacing = "uniform" if teacher.process.t_max == 1 else "karras"
    return grid(teacher.process, spacing, each * config.steps)


def student_description(teacher: Model, config: DistillConfig, name: str) -> dict[str, Any]:
    """The student's model.json: the teacher's, with sampling defaults for its few steps."""
    times, scale = segments(path(teacher, config), config.steps), built_in(teacher.spec, config)
    spec = dataclasses.replace(
        teacher.spec,
        condition_drop=0.0,
        guidance=1.0,
        sampler="ddim",
        grid=None,
        steps=config.steps,
        tuned=(Tuned(config.steps, "ddim", tuple(times.tolist())),),
        notes={
            **teacher.spec.notes,
            "distilled": f"from {name} by {config.method}, guidance {scale:g}",
        },
    )
    return {**teacher.describe(), "spec": dump(spec)}


@dataclass(frozen=True)
class Distillation:
    """The objective: the student's error against the target of `diffusion/consistency.py`."""

    teacher: Model
    config: DistillConfig

    def __call__(self, model: Model, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
        """The loss [B] of each row of a turn; see `train.objective.losses`."""
        process = model.process
        times, low = self._moments(config, turn)
        eps = draw_noise(batch.x0, config.seed, turn)
        x = process.add_noise(batch.x0, eps, times[0])
        cond = batch.cond
        if not self.teacher.spec.labels:
            cond = dataclasses.replace(cond, label=None)
        with torch.no_grad(), autocast(config, x.device):
            target = self.target(model, batch.x0, x, times, low, cond)
        a, b = model.parameterization.affine(process, times[0])
        wanted = (target - like(a, x) * x) / like(b, x)
        seen, feature = model.parameterization.inputs(process, x, times[0])
        with autocast(config, x.device):
            out = model.network(seen, feature, cond)
        error = distance(out, wanted, self.config.metric)
        weight = loss_weight(config.loss)(process, model.parameterization, times[0])
        return error * weight.to(device=x.device, dtype=error.dtype)

    def target(
        self, model: Model, x0: Tensor, x: Tensor, times: Tensor, low: Tensor, cond: Cond
    ) -> Tensor:
        """The x_0 target [B, ...] for x [B, ...] at times[0]; times [n + 1, B], low [B]."""
        process, t, s = model.process, times[0], times[-1]
        if self.config.method == "training":
            y = process.step(x, x0, t, s)
        else:
            y = follow(process, self._teacher(cond), x, times, order=self._order)
        if self.config.method != "rollout":
            with _still(model.network):
                student = bind(model.denoise, cond)
                y = carry(process, _limited(student, model.spec), y, s, low)
        return landing(process, x, y, t, low)

    @property
    def _order(self) -> int:
        return 2 if own_path(self.teacher) is None else 1

    def _teacher(self, cond: Cond) -> Denoiser:
        null = nulled(self.teacher, cond)
        scale = built_in(self.teacher.spec, self.config)
        guided = cfg(self.teacher.denoise, cond, null, scale)
        return _limited(guided, self.teacher.spec)

    def _moments(self, config: TrainConfig, turn: Turn) -> tuple[Tensor, Tensor]:
        """Each row's times along the path [n + 1, B] and the end of its segment [B], float64."""
        whole = path(self.teacher, self.config, turn.progress)
        each = (len(whole) - 1) // self.config.steps
        stride = each if self.config.method == "rollout" else 1
        places = (len(whole) - 1) // stride
        u = draw_places(config, turn)[turn.part]
        first = stride * (u * places).long().clamp(max=places - 1)
        ways = first + torch.arange(stride + 1)[:, None]
        return whole[ways], whole[(first // each + 1) * each]


def distance(out: Tensor, wanted: Tensor, metric: Metric) -> Tensor:
    """The error [B] of the network's output: mean squared, or pseudo-Huber.

    Pseudo-Huber is sqrt(mean square + c^2) - c with c = 0.00054 (Song and Dhariwal 2023, section
    3.3: c = 0.00054 sqrt(d) on the sum of squares; here on the mean over the d elements).
    """
    out = out if out.dtype == torch.float64 else out.float()
    squared = (out - wanted.to(out.dtype)).pow(2).flatten(1).mean(1)
    return squared if metric == "squared" else (squared + 0.00054**2).sqrt() - 0.00054


def _limited(denoise: Denoiser, spec: Spec) -> Denoiser:
    return clip(denoise) if spec.clip else denoise


@contextmanager
def _still(network: nn.Module) -> Iterator[None]:
    """Puts the network in evaluation mode, so that it predicts its own target without dropout."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def fits(data: Dataset, teacher: Model) -> None:
    """ValueError if the data differs in kind from the teacher's training data."""
    if tuple(data.shape) != teacher.spec.shape:
        raise ValueError(
            f"{data.name} holds pictures of shape {tuple(data.shape)}, but the teacher makes"
            f" {teacher.spec.shape}; name its own kind of data with --data"
        )
    classes = len(data.label_names) if data.labels is not None else 0
    if teacher.spec.labels and classes != len(teacher.spec.labels):
        raise ValueError(
            f"{data.name} has {classes} classes, but the teacher knows"
            f" {len(teacher.spec.labels)}; name data with the same ones"
        )
    if "concat" in teacher.spec.notes and "concat" not in data.beside:
        raise ValueError(
            f"{data.name} lacks a condition of the teacher ({teacher.spec.notes['concat']}); add it"
            " with `with_beside(data, concat=...)`"
        )


def distill(
    teacher: Model,
    data: Dataset,
    out: str | Path,
    config: DistillConfig | None = None,
    request: TrainRequest | None = None,
    *,
    name: str = "a model",
    world: World | None = None,
) -> Iterator[Event]:
    """Distills `teacher` into a student in the run folder `out`; yields the events of `train`.

    name: the teacher's name, for the student's notes

    ValueError if teacher, data and config do not fit together; see `check` and `fits`.
    """
    config, request = config or DistillConfig(), request or TrainRequest(DISTILL_TRAINING)
    world = world or World()
    check(teacher, config)
    fits(data, teacher)
    config = dataclasses.replace(config, guidance=built_in(teacher.spec, config))
    teacher = teacher.to(world.device)
    weights = {n: value.clone() for n, value in teacher.network.state_dict().items()}
    record = {"teacher": digest_of_weights(weights), **dump(config)}
    aim = Aim(Distillation(teacher, config), weights=weights, record=record)
    request = dataclasses.replace(request, model=student_description(teacher, config, name))
    return train(data, out, request, aim=aim, world=world)
