from __future__ import annotations

from pathlib import Path

import pytest
import torch
from subjects import subject

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.explain.forward import dissolved, forward_film, forward_section, moments


@pytest.mark.parametrize("process", [Discrete(), VP(), VE(), Flow()])
def test_moments_run_from_data_to_noise(process: Process) -> None:
    on = moments(process, 9)
    assert len(on) == 9
    assert on[0] == 0
    assert float(on[-1]) == pytest.approx(process.t_max)
    assert bool((on[1:] > on[:-1]).all())


def test_a_picture_dissolves_under_one_growing_noise(tmp_path: Path) -> None:
    it = subject(tmp_path)
    x0 = it.real(2)
    on = torch.tensor([0, 0.5, 1], dtype=torch.float64)
    rows = dissolved(it, x0, on)
    assert torch.equal(rows[1][0], x0[1])
    eps = it.noise([0, 1]).initial()
    alpha, sigma = it.model.process.alpha(on[1]), it.model.process.sigma(on[1])
    assert torch.allclose(rows[1][1], (alpha * x0[1] + sigma * eps[1]).float(), atol=1e-6)


@pytest.mark.parametrize("kind", ["discrete", "ve"])
def test_the_section_draws_a_strip_and_a_film(tmp_path: Path, kind: str) -> None:
    it = subject(tmp_path, {"kind": kind}, channels=3)
    section = forward_section(it)
    assert section.figure is not None
    assert ("never shrinks" in section.words) == (kind == "ve")
    film = forward_film(it)
    assert len({frame.size for frame in film}) == 1
    assert film[0].tobytes() != film[-1].tobytes()
