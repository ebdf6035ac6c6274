from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from subjects import subject

from inkdrop.diffusion.discrete import Discrete, betas
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.explain.schedules import clock, known, name_of, schedules_figure


@pytest.mark.parametrize(
    ("process", "name"),
    [
        (Discrete("linear"), "linear"),
        (Discrete("cosine", 50), "cosine, T = 50"),
        (Discrete("linear", zero_terminal_snr=True), "linear, T = 1000, zero terminal SNR"),
        (VP(), "continuous VP"),
        (VE(), "VE"),
        (Flow(), "flow"),
    ],
)
def test_every_process_has_a_name(process: Process, name: str) -> None:
    assert name_of(process) == name


def test_clocks_run_from_the_least_noise_to_the_most() -> None:
    for process in known().values():
        ends = clock(process, torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert ends.tolist() == pytest.approx([process.t_min, process.t_start])


def test_the_curves_are_the_products_of_the_chain(tmp_path: Path) -> None:
    figure = schedules_figure(subject(tmp_path))
    share, level = figure.axes[0], figure.axes[1]
    labels = [str(line.get_label()) for line in level.lines]
    assert labels[-1] == "cosine, T = 50 (this model)"
    assert len(share.lines) == len(level.lines) - 1 == 6
    u, drawn = (np.asarray(values, float) for values in share.lines[0].get_data())
    bar = (1 - betas("linear", 1000)).cumprod(0).numpy()
    entry = (u * 999).round().astype(int)
    assert np.abs(drawn - bar[entry]).max() < 2e-3  # half an entry apart at most
    widths = [line.get_linewidth() for line in level.lines]
    assert widths.index(max(widths)) == len(widths) - 1
