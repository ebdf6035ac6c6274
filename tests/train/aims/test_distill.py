"""Distilling: the target is the teacher's own path, and the student learns to stride along it."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import pytest
import tiny
import torch
from exact import THREE, gaussian
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.diffusion.parameterization import EDM, X0
from inkdrop.diffusion.process import VE, VP
from inkdrop.diffusion.samplers import ddim, dpmpp_2m
from inkdrop.diffusion.times import grid
from inkdrop.events import Note
from inkdrop.model import Model, Spec
from inkdrop.model.folder import build_model
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import times
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.distill import (
    Distillation,
    built_in,
    check,
    distill,
    fits,
    path,
    student_description,
)
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update, start, updates

CPU = torch.device("cpu")


class Exact(nn.Module):
    """The mixture's own denoiser as a network of an x_0 model on VP."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, feature: Tensor, cond: Cond) -> Tensor:
        return THREE.denoiser(VP())(x, feature.double() / 999).float()


class Small(nn.Module):
    """Two layers on the plane; the feature is EDM's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2)
        )

    def forward(self, x: Tensor, feature: Tensor, cond: Cond) -> Tensor:
        level = (feature.float() / 500)[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0])
        seen = torch.cat([x.flatten(1), level.sin(), level.cos()], 1)
        out: Tensor = self.layers(seen).view_as(x)
        return out


PLANE = Spec(shape=(2, 1), clip=False, steps=50)
TEACHER = Model(Exact(), VP(), X0(), PLANE)


def points(update: int, rows: range) -> Batch:
    x0 = THREE.sample(max(rows.stop, 1), seed=7 * update)[rows.start :]
    return Batch(x0.float()[..., None])


@pytest.mark.parametrize(
    ("config", "count", "lr", "error"),
    [
        (DistillConfig(steps=2, teacher_steps=8), 250, 1e-2, 0.45),
        (DistillConfig(steps=1, teacher_steps=8, metric="huber"), 250, 1e-2, 0.4),
        (DistillConfig(steps=2, method="consistency", finest=16), 250, 1e-2, 0.65),
        (DistillConfig(steps=1, method="training", finest=16), 400, 5e-3, 0.65),
    ],
    ids=["rollout", "one step, huber", "consistency", "training"],
)
def test_student_lands_nearer_to_the_odes_end_than_as_many_steps_of_ddim(
    config: DistillConfig, count: int, lr: float, error: float
) -> None:
    torch.manual_seed(0)
    student = Model(Small(), VP(), EDM(0.9), PLANE)
    training = TrainConfig(updates=250, batch=64, lr=1e-2, warmup=10, ema=0.98, precision="float32")
    state = start(student, training)
    for _ in updates(student, points, training, state, objective=Distillation(TEACHER, config)):
        pass
    student.network.load_state_dict(state.ema)
    process, x = VP(), THREE.noisy(VP(), 1.0, 500, seed=9)[..., None]
    exact = THREE.denoiser(process)
    end = list(dpmpp_2m(process, exact, x, grid(process, "logsnr", 300)))[-1].x
    few = grid(process, "uniform", config.steps)
    plain = list(ddim(process, exact, x, few))[-1].x
    with torch.no_grad():
        mine = list(ddim(process, lambda x, t: student.denoise(x, t, Cond()), x.float(), few))[-1].x
    assert (mine - end).square().mean() < error**2 * (plain - end).square().mean()


def labelled(folder: Path) -> Model:
    """The tiny teacher with weights that say something, and two labels."""
    torch.manual_seed(0)
    model = tiny.model(tiny.data(folder))
    torch.nn.init.normal_(model.network.output.weight, std=0.3)  # type: ignore[union-attr, arg-type]
    model.network.eval().requires_grad_(False)
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, steps=50))


def target_from_noise(teacher: Model, config: DistillConfig, x: Tensor, labels: Tensor) -> Tensor:
    way = path(teacher, config)[:, None].expand(-1, len(x))
    objective = Distillation(teacher, config)
    cond = Cond(label=labels)
    return objective.target(teacher, x, x, way, way[-1], cond)


def test_target_of_one_segment_is_the_guided_teachers_own_sample(tmp_path: Path) -> None:
    teacher, x = labelled(tmp_path), gaussian(4, 1, 8, 8).float()
    config = DistillConfig(steps=1, guidance=3.0)
    sampling = Sampling(sampler="dpmpp_2m", grid="uniform", steps=16, guidance=3.0)
    denoise = denoiser(teacher, [0, 1, 1, 0], 4, sampling)
    with torch.no_grad():
        want = list(dpmpp_2m(teacher.process, denoise, x, times(teacher, sampling)))[-1].x
        got = target_from_noise(teacher, config, x, torch.tensor([0, 1, 1, 0]))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_student_teaches_what_it_samples_itself(tmp_path: Path) -> None:
    teacher = labelled(tmp_path)
    description = student_description(teacher, DistillConfig(steps=4), "tiny")
    student = build_model(description, "the student")
    student.network.load_state_dict(teacher.network.state_dict())
    student.network.eval().requires_grad_(False)
    x, names = gaussian(4, 1, 8, 8).float(), [0, 1, 1, 0]
    denoise = denoiser(student, names, 4)
    with torch.no_grad():
        want = list(ddim(student.process, denoise, x, times(student)))[-1].x
        got = target_from_noise(student, DistillConfig(steps=1), x, torch.tensor(names))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def run(folder: Path, out: Path, stop_after: int | None = None) -> list[Event]:
    training = TrainConfig(
        updates=20, batch=8, warmup=2, condition_drop=0.0, precision="float32", lr=1e-3
    )
    stop, events = threading.Event(), []
    config = DistillConfig(steps=2, teacher_steps=4, guidance=2.0)
    for event in distill(
        labelled(folder),
        tiny.data(folder),
        out,
        config,
        TrainRequest(training),
        world=World(device=CPU, stop=stop),
    ):
        events.append(event)
        if isinstance(event, Update) and event.index + 1 == stop_after:
            stop.set()
    return events


def test_ten_updates_and_ten_more_are_twenty_to_the_bit(tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "whole")
    run(tmp_path, tmp_path / "parts", stop_after=10)
    events = run(tmp_path, tmp_path / "parts")
    assert any(isinstance(e, Note) and "after update 10 of 20" in e.text for e in events)
    manifests = [
        json.loads((tmp_path / name / "checkpoints" / "00000020" / "manifest.json").read_text())
        for name in ("whole", "parts")
    ]
    assert manifests[0] == manifests[1]  # the sha256 of every file


def test_student_is_an_ordinary_model_of_few_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, tmp_path / "run")
    student = Model.load(own_folder(tmp_path / "run")[0])
    spec = student.spec
    assert (spec.steps, spec.guidance, spec.condition_drop) == (2, 1.0, 0.0)
    assert times(student).tolist() == [1.0, 0.5, 0.0]
    calls: list[int] = []
    forward = type(student.network).forward

    def counted(self: nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        calls.append(len(x))
        out: Tensor = forward(self, x, t, cond)
        return out

    monkeypatch.setattr(type(student.network), "forward", counted)
    list(generate(student, samples=range(3), conditions=[0, 1, 1]))
    assert calls == [3, 3]
    with pytest.raises(ValueError, match="knows no null condition"):
        list(generate(student, conditions=[0], sampling=Sampling(guidance=2.0)))
    plain = list(generate(student, conditions=[0], sampling=Sampling(guidance=0.0)))[-1].x
    assert torch.equal(plain, list(generate(student, conditions=[0]))[-1].x)
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["asked"]["aim"]
    assert (asked["method"], asked["steps"], asked["guidance"]) == ("rollout", 2, 2.0)


def test_no_guidance_is_built_in_by_0_as_by_1(tmp_path: Path) -> None:
    spec = labelled(tmp_path).spec
    assert spec.labels and spec.condition_drop
    assert built_in(spec, DistillConfig(guidance=0.0)) == 1.0
    assert built_in(spec, DistillConfig(guidance=1.0)) == 1.0


def test_another_plan_or_teacher_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    pictures, out = tiny.data(tmp_path), tmp_path / "run"
    teacher, training = labelled(tmp_path), TrainRequest(TrainConfig(updates=1, batch=4))
    small = DistillConfig(steps=2, teacher_steps=4, guidance=1.0)
    list(distill(teacher, pictures, out, small, training, world=World(device=CPU)))
    other = dataclasses.replace(small, guidance=2.0)
    with pytest.raises(ValueError, match=r"started with guidance 1\.0, not 2\.0"):
        list(distill(teacher, pictures, out, other, training, world=World(device=CPU)))
    torch.nn.init.normal_(teacher.network.output.weight)  # type: ignore[union-attr, arg-type]
    with pytest.raises(ValueError, match="started with teacher"):
        list(distill(teacher, pictures, out, small, training, world=World(device=CPU)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps is 0: it must be at least 1"),
        ({"method": "rolout"}, "no distillation method 'rolout'.*Did you mean 'rollout'"),
        ({"teacher_steps": 3}, "teacher_steps is 3: the teacher must make more steps"),
        ({"finest": -1}, "finest is -1"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DistillConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "spec", "said"),
    [
        ({"steps": 50, "teacher_steps": 64}, {}, "steps is 50 and the teacher's own are 50"),
        ({"guidance": 2.0}, {"condition_drop": 0.0}, "guidance is 2.0, but the teacher knows no"),
        ({"guidance": 2.0, "method": "training"}, {}, "method 'training' asks no teacher"),
        ({}, {"learned_variance": True}, "the teacher has a learned variance"),
    ],
)
def test_a_teacher_that_cannot_teach_so_is_refused(
    config: dict[str, object], spec: dict[str, object], said: str, tmp_path: Path
) -> None:
    teacher = labelled(tmp_path)
    teacher = dataclasses.replace(teacher, spec=dataclasses.replace(teacher.spec, **spec))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said):
        check(teacher, DistillConfig(**config))  # type: ignore[arg-type]


def test_a_students_student_keeps_to_its_times(tmp_path: Path) -> None:
    description = student_description(labelled(tmp_path), DistillConfig(steps=4), "tiny")
    student = build_model(description, "the student")
    check(student, DistillConfig(steps=2))
    for config, said in (
        (DistillConfig(steps=3), "steps is 3, which does not divide the 4"),
        (DistillConfig(steps=2, method="training"), "method is 'training'.*use rollout"),
        (DistillConfig(steps=4), "steps is 4 and the teacher's own are 4"),
    ):
        with pytest.raises(ValueError, match=said):
            check(student, config)


def test_other_data_is_refused(tmp_path: Path) -> None:
    pictures, teacher = tiny.data(tmp_path), labelled(tmp_path)
    fits(pictures, teacher)
    with pytest.raises(ValueError, match=r"has 0 classes, but the teacher knows 2"):
        fits(dataclasses.replace(pictures, labels=None), teacher)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but the teacher makes \(2, 1\)"):
        fits(pictures, TEACHER)


def test_segments_of_ve_lie_where_its_noise_matters() -> None:
    times = path(dataclasses.replace(TEACHER, process=VE()), DistillConfig(steps=4))
    assert times[0] == 80 and times[-1] == 0
    assert int((times < 1).sum()) > 4
