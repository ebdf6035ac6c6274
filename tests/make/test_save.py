"""`save`: a Step, data or a Made in one file, of the kind that its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import latent_text_model
from PIL import Image

import inkdrop
from inkdrop import Made, Request, Sampling, Step, generate, make, save
from inkdrop.media.settings import read_settings

TWO = Sampling(steps=2, sampler="ddim")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_the_last_step_is_decoded_and_is_what_make_writes(tmp_path: Path) -> None:
    model = latent_text_model()
    for step in generate(model, "a red cat", seed=3, samples=range(3), sampling=TWO):
        last = step
    save(last, tmp_path / "step.png", model=model, columns=3)
    request = Request(prompt="a red cat", seed=3, count=3, columns=3, sampling=TWO)
    *_, made = make(request, model=model)
    assert isinstance(made, Made)
    save(made, tmp_path / "made.png")
    assert np.array_equal(pixels(tmp_path / "step.png"), pixels(tmp_path / "made.png"))
    assert read_settings(tmp_path / "made.png")["prompt"] == "a red cat"
    save(made.samples, str(tmp_path / "samples.npz"), settings={"seed": 3})
    with np.load(tmp_path / "samples.npz") as arrays:
        assert np.array_equal(arrays["samples"], made.samples.numpy())


def test_data_without_a_model_are_pictures(tmp_path: Path) -> None:
    picture = torch.linspace(-1, 1, 3 * 4 * 5).reshape(3, 4, 5)
    save(picture, tmp_path / "a.png", settings={"title": "mine"})
    found = pixels(tmp_path / "a.png")
    assert found.shape[2] == 3 and read_settings(tmp_path / "a.png") == {"title": "mine"}
    cell = found.shape[0] // 4  # small pictures are enlarged by a whole number
    want = ((picture + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(found[::cell, ::cell], want)


@pytest.mark.parametrize(
    ("samples", "name", "said"),
    [
        (Step(0, 1, 0.0, torch.zeros(1, 2, 4, 4), torch.zeros(1)), "a.png", "give model="),
        (torch.zeros(4, 4), "a.png", r"float32 of shape \[4, 4\]; give floating-point"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "a.png", "uint8 of shape"),
        (torch.zeros(1, 3, 4, 4), "a.xyz", "no format of pictures '.xyz'"),
        (torch.zeros(1, 3, 4, 4), ".", "is a folder"),
        (torch.full((1, 3, 4, 4), float("nan")), "a.png", "NaN"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    samples: torch.Tensor | Step, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        inkdrop.save(samples, tmp_path / name)
    assert not list(tmp_path.iterdir())
