from __future__ import annotations

from pathlib import Path

import pytest
import torch
from subjects import subject

from inkdrop.diffusion.discrete import Discrete, betas
from inkdrop.explain.derivation import check, derivation_section, entries, weights


@pytest.mark.parametrize("schedule", ["linear", "cosine", "scaled_linear", "sigmoid"])
def test_the_weight_is_the_papers(schedule: str) -> None:
    beta = betas(schedule, 100)
    alpha = 1 - beta
    bar = alpha.cumprod(0)
    tilde = beta[1:] * (1 - bar[:-1]) / (1 - bar[1:])
    expected = beta[1:] ** 2 / (2 * tilde * alpha[1:] * (1 - bar[1:]))
    t = torch.arange(2, 101, dtype=torch.float64) / 100
    assert torch.allclose(weights(Discrete(schedule, 100), t), expected, rtol=1e-9)


@pytest.mark.parametrize("zero", [False, True])
def test_the_kl_of_a_step_is_the_weighted_error(tmp_path: Path, zero: bool) -> None:
    process = {"kind": "discrete", "schedule": "linear", "steps": 50, "zero_terminal_snr": zero}
    it = subject(tmp_path, process)
    assert isinstance(it.model.process, Discrete)
    checks = check(it, it.model.process, 3)
    assert checks[0].entry == 2
    assert checks[-1].entry == (49 if zero else 50)
    for one in checks:
        assert one.kl > 0
        assert one.kl == pytest.approx(one.weighted, rel=1e-8)


def test_entries_are_whole_and_in_order() -> None:
    found = entries(Discrete(steps=3))
    assert found == [2, 3]
    assert entries(Discrete())[-1] == 1000


def test_a_continuous_process_keeps_the_story_and_says_what_is_left_out(tmp_path: Path) -> None:
    section = derivation_section(subject(tmp_path, {"kind": "flow"}))
    assert section.figure is None
    assert "Left out" in section.words
    assert "(Flow) is continuous" in section.words
    discrete = derivation_section(subject(tmp_path))
    assert discrete.after.count("<tr>") > 5
    assert "Left out" not in discrete.words
