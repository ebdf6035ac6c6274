from __future__ import annotations

from pathlib import Path

import torch
from subjects import subject

from inkdrop.explain.reverse import (
    compare,
    reverse_section,
    solvers_figure,
    solvers_section,
    steps_at_most,
)


def test_both_samplers_begin_with_the_same_noise(tmp_path: Path) -> None:
    found = compare(subject(tmp_path, labels=True))
    assert list(found.runs) == [10, 20, 50]
    for count, pair in found.runs.items():
        assert pair["ddpm"].calls == pair["ddim"].calls == count
        assert torch.equal(pair["ddpm"].x, pair["ddim"].x)
        assert not torch.equal(pair["ddpm"].steps[-1].x, pair["ddim"].steps[-1].x)


def test_what_is_left_out_stands_in_the_figure_and_in_the_words(tmp_path: Path) -> None:
    it = subject(tmp_path)
    found = compare(it)
    assert found.left_out == "left out: 100, 1000 steps (the table has 50 levels)"
    figure = solvers_figure(it, found)
    assert found.left_out in [text.get_text() for text in figure.axes[0].texts]
    assert "Left out: 100, 1000 steps" in solvers_section(it).words


def test_quick_leaves_out_the_longest(tmp_path: Path) -> None:
    it = subject(tmp_path, {"kind": "flow"})
    assert compare(it, quick=True).left_out == "left out: 1000 steps (the quick report)"


def test_a_table_shorter_than_every_count_is_walked_whole(tmp_path: Path) -> None:
    it = subject(tmp_path, {"kind": "discrete", "steps": 4})
    assert list(compare(it).runs) == [4]
    assert steps_at_most(it.model.process, 12) == 4
    assert "Two runs of 4 steps" in reverse_section(it).words


def test_the_trajectory_pairs_each_state_with_what_was_predicted_from_it(tmp_path: Path) -> None:
    it = subject(tmp_path)
    figure = reverse_section(it).figure
    assert figure is not None
    # 2 samples, 13 states and 12 predictions each
    assert len(figure.axes[0].images) == 2 * (13 + 12)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert "t = 1" in labels
    assert "0" in labels
