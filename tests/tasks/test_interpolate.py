"""Walks: their ends are the pictures they claim to be, and the noise keeps its norm."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from models import random_model

from inkdrop.tasks.generate import generate
from inkdrop.tasks.interpolate import even, interpolate_pictures, interpolate_seeds, slerp
from inkdrop.tasks.sampling import Sampling

SAMPLING = Sampling(steps=5, guidance=2.0)


def test_ends_are_the_samples_of_the_seeds_to_the_bit(tmp_path: Path) -> None:
    model = random_model(tmp_path)
    for step in interpolate_seeds(model, (3, 7), frames=6, condition=1, sampling=SAMPLING):
        walk = step.x
    for frame, seed in ((walk[0], 3), (walk[-1], 7)):
        for step in generate(model, seed=seed, conditions=[1], sampling=SAMPLING):
            alone = step.x[0]
        assert torch.equal(frame, alone)
    assert len({tuple(frame.flatten().tolist()) for frame in walk}) == 6


def test_slerp_keeps_the_norm_and_turns_evenly() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 64, 64)
    arc = slerp(a, b, even(9))
    norms = arc.flatten(1).norm(dim=1)
    assert float((norms / norms[0] - 1).abs().max()) < 0.01
    same = slerp(a / a.norm(), b / b.norm(), even(9))
    flat = torch.nn.functional.normalize(same.flatten(1).double(), dim=1)
    turns = (flat[1:] * flat[:-1]).sum(1).arccos()
    torch.testing.assert_close(turns, turns.mean().expand_as(turns), rtol=1e-3, atol=0)


def test_shallow_walk_between_pictures_is_near_their_mix(tmp_path: Path) -> None:
    model = random_model(tmp_path)
    ends = (torch.full((1, 8, 8), -0.5), torch.full((1, 8, 8), 0.5))
    sampling = Sampling(steps=1000, guidance=1.0)
    for step in interpolate_pictures(
        model, ends, frames=5, depth=0.01, condition=0, sampling=sampling
    ):
        walk = step.x
    want = torch.linspace(-0.5, 0.5, 5)
    torch.testing.assert_close(walk.mean((1, 2, 3)), want, rtol=0, atol=0.05)


def test_bad_walks(tmp_path: Path) -> None:
    pictures = tiny.data(tmp_path)
    model = random_model(tmp_path)
    picture = pictures.take([0])[0]
    for walk, said in (
        (lambda: interpolate_seeds(model, (0, 1), frames=1), "frames is 1"),
        (lambda: interpolate_seeds(model, (3, 3)), "no single arc joins them"),
        (
            lambda: interpolate_seeds(model, (0, 1), sampling=Sampling(sampler="ddpm")),
            "draws fresh noise",
        ),
        (lambda: interpolate_pictures(model, (picture, picture), depth=0.0), "depth is 0.0"),
        (lambda: interpolate_pictures(model, (picture, picture[:, :4])), r"is \(1, 4, 8\)"),
    ):
        with pytest.raises(ValueError, match=said):
            next(walk())
