"""Generating: seeds mean seeds, guidance is honest, and broken steps are loud."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models import random_model
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.model import Model
from inkdrop.tasks.generate import generate, generate_many
from inkdrop.tasks.sampling import Sampling


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return random_model(tmp_path)


def last(model: Model, **asked: object) -> Tensor:
    for step in generate(model, **asked):  # type: ignore[arg-type]
        x = step.x
    return x


def test_many_in_batches_are_the_same_samples(model: Model) -> None:
    sampling = Sampling(steps=4, guidance=1.0)
    labels = [i % 2 for i in range(7)]
    whole = generate_many(model, seed=1, count=7, conditions=labels, sampling=sampling)
    parts = generate_many(model, seed=1, count=7, conditions=labels, batch=3, sampling=sampling)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


def test_guidance_one_costs_one_evaluation_and_two_calls_agree(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = type(model.network).forward

    def counted(self: torch.nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        sizes.append(len(x))
        return forward(self, x, t, cond)

    monkeypatch.setattr(type(model.network), "forward", counted)
    ask = {"samples": range(3), "conditions": [0, 1, 1]}
    last(model, sampling=Sampling(steps=2, guidance=1.0), **ask)
    assert sizes == [3, 3]
    sizes.clear()
    one = last(model, sampling=Sampling(steps=2, guidance=3.0), **ask)
    assert sizes == [6, 6]
    sizes.clear()
    two = last(model, sampling=Sampling(steps=2, guidance=3.0, two_calls=True), **ask)
    assert sizes == [3, 3, 3, 3]
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_grad_mode_does_not_leak_to_the_caller(model: Model) -> None:
    for _ in generate(model, sampling=Sampling(steps=2)):
        assert torch.is_grad_enabled()


def test_bad_requests_are_refused_before_the_first_call(model: Model, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    never = random_model(tmp_path / "other", condition_drop=0.0)
    for broken, asked, said in (
        (model, {"sampling": Sampling(steps=2000)}, "steps is 2000.*1000 noise levels"),
        (model, {"sampling": Sampling(sampler="dim")}, "no sampler 'dim'.*Did you mean 'ddim'"),
        (model, {"sampling": Sampling(grid="karas")}, "no grid 'karas'.*Did you mean 'karras'"),
        (model, {"sampling": Sampling(guidance=3.0)}, "nothing to guide towards: give it a label"),
        (model, {"conditions": [0, 1]}, "one for each, not a list of 2 for 1"),
        (never, {"conditions": [0], "sampling": Sampling(guidance=2.0)}, "condition drop 0"),
        (never, {}, "cannot sample without one"),
    ):
        with pytest.raises(ValueError, match=said):
            last(broken, **asked)


def test_non_finite_step_names_itself(model: Model) -> None:
    with torch.no_grad():
        model.network.output.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(FloatingPointError, match=r"step 1 of 4 \(t = 1 to 0\.75\).*prediction"):
        last(model, sampling=Sampling(steps=4, grid="uniform"))
