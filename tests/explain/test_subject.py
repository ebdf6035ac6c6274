from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from subjects import data, model, subject

from inkdrop.explain.subject import Subject


def test_other_shapes_and_classes_are_refused_in_words(tmp_path: Path) -> None:
    grey, rgb = data(tmp_path), data(tmp_path, channels=3)
    with pytest.raises(ValueError, match="give the data that it was trained on"):
        Subject(model(grey), rgb)
    labelled = data(tmp_path, labels=True)
    with pytest.raises(ValueError, match="does not have the same"):
        Subject(model(labelled), dataclasses.replace(labelled, label_names=("a", "b")))
    with pytest.raises(ValueError, match="does not have the same"):
        Subject(model(labelled), grey)
    sound = model(grey)
    flat = dataclasses.replace(sound, spec=dataclasses.replace(sound.spec, shape=(1, 64)))
    with pytest.raises(ValueError, match=r"makes \(1, 64\) .* give the data that it"):
        Subject(flat, grey)


def test_the_network_is_told_the_labels_of_its_pictures(tmp_path: Path) -> None:
    pictures = data(tmp_path, labels=True)
    it = Subject(model(pictures), pictures, seed=3)
    told = it.cond(7).label
    assert told is not None
    assert pictures.labels is not None
    assert told.tolist() == pictures.labels[it.indices(7)].tolist()
    assert torch.equal(it.real(7), pictures.take(it.indices(7)))
    assert it.labels(3) == [pictures.label_names[i] for i in (0, 1, 0)]


def test_unlabelled_pictures_serve_a_model_that_knows_null(tmp_path: Path) -> None:
    labelled, grey = data(tmp_path, labels=True), data(tmp_path)
    it = Subject(model(labelled, condition_drop=0.1), grey)
    told = it.cond(4).label
    assert told is not None
    assert told.tolist() == [2] * 4


def test_a_run_counts_its_network_calls_and_keeps_what_is_asked(tmp_path: Path) -> None:
    it = subject(tmp_path)
    calls = []
    handle = it.model.network.register_forward_hook(lambda *_: calls.append(1))
    short, whole = it.sample("ddim", 4, 2), it.sample("ddim", 4, 2, keep=True)
    handle.remove()
    assert short.calls + whole.calls == len(calls) == 8
    assert len(short.steps) == 1
    assert len(whole.steps) == 4
    assert torch.equal(short.steps[-1].x, whole.steps[-1].x)
    assert torch.equal(it.sample("heun", 4, 2).x, whole.x)
    assert it.sample("heun", 4, 2).calls == 7


def test_states_of_an_exploding_process_are_shown_at_unit_size(tmp_path: Path) -> None:
    it = subject(tmp_path, {"kind": "ve"})
    t = torch.tensor([80.0], dtype=torch.float64)
    noise = it.noise([0]).initial() * 80
    assert it.shown(noise, t).std() == pytest.approx(1, abs=0.3)
