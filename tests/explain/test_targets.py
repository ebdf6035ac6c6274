from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from subjects import subject

from inkdrop.diffusion.parameterization import Eps
from inkdrop.explain.targets import (
    PROCESS,
    TARGETS,
    Plan,
    errors,
    network,
    predict,
    small,
    targets_section,
    teach,
    teach_all,
)

TINY = Plan(updates=3, batch=4, width=8, samples=16, steps=3)


def test_large_pictures_shrink_and_small_ones_stay() -> None:
    x = torch.rand(2, 3, 24, 48)
    assert small(x).shape == (2, 3, 6, 12)
    assert torch.allclose(small(x).mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    assert torch.equal(small(x[..., :8, :8]), x[..., :8, :8])


def test_all_targets_begin_with_the_same_weights() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = network((1, 4, 4), TINY), network((1, 4, 4), TINY)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", TARGETS)
def test_a_network_that_says_its_target_is_right_of_x0(name: str) -> None:
    target = TARGETS[name]
    x0, eps = torch.rand(3, 1, 4, 4).double(), torch.randn(3, 1, 4, 4).double()
    t = torch.tensor([100, 500, 900], dtype=torch.float64) / PROCESS.steps
    wanted = target.target(PROCESS, x0, eps, t)

    class Knowing(torch.nn.Module):
        def forward(self, *_: object) -> torch.Tensor:
            return wanted

    found = predict(Knowing(), target, PROCESS.add_noise(x0, eps, t), t)
    assert torch.allclose(found, x0, atol=1e-8)


def test_training_lowers_the_error_and_a_seed_repeats_it() -> None:
    pictures = torch.full((8, 1, 4, 4), 0.5)
    plan = dataclasses.replace(TINY, updates=20, lr=5e-3)
    one = teach(Eps(), pictures, pictures[:2], plan)
    assert one.curve[-1][1] < 0.7 * one.curve[0][1]
    assert one.curve[-1][0] == 20
    two = teach(Eps(), pictures, pictures[:2], plan)
    assert torch.equal(one.samples, two.samples)
    assert one.curve == two.curve


def test_errors_are_asked_at_whole_entries_from_little_noise_to_much() -> None:
    levels, found = errors(network((1, 4, 4), TINY), Eps(), torch.zeros(2, 1, 4, 4), TINY)
    entry = PROCESS.time_at(levels) * PROCESS.steps
    assert torch.allclose(entry, entry.round(), atol=1e-6)
    assert bool((levels[1:] < levels[:-1]).all())
    assert bool(found.isfinite().all())


def test_the_section_draws_all_three(tmp_path: Path) -> None:
    section = targets_section(subject(tmp_path, channels=3), TINY)
    assert section.figure is not None
    labels = [text.get_text() for text in section.figure.axes[2].texts]
    assert len(labels) == 4
    assert "3 updates" in section.words


def test_one_picture_is_enough(tmp_path: Path) -> None:
    results, held = teach_all(subject(tmp_path, count=1), dataclasses.replace(TINY, updates=1))
    assert list(results) == ["mean", "x_0", "eps"]
    assert len(held) == 1
