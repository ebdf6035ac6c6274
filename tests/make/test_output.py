"""Files that cannot hold what is made are refused before the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import random_model

from inkdrop.make.make import make
from inkdrop.make.output import check_file, check_result, targets
from inkdrop.media.picture import Picture
from inkdrop.tasks.canvas import Canvas
from inkdrop.tasks.edit import Editing
from inkdrop.tasks.request import Request


def test_transparency_does_not_fit_into_a_jpeg(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.JPEG"):
        with pytest.raises(ValueError, match=rf"{name} cannot hold transparency; use .png or"):
            check_result(tmp_path / name, Picture(), Request(), alpha=True)
        check_result(tmp_path / name, Picture(), Request(), alpha=False)
    check_result(tmp_path / "a.webp", Picture(), Request(), alpha=True)


def test_pictures_with_an_alpha_channel_are_known_before_they_are_made(tmp_path: Path) -> None:
    clear = torch.zeros(1, 4, 8, 8)
    job: Canvas = Editing(Request(), (8, 8), None, "a.png", clear[:, :3], clear)
    assert job.look.alpha
    assert not replace(job, transparent=None).look.alpha  # type: ignore[call-arg]
    model = random_model(tmp_path)
    rgba = replace(model, spec=replace(model.spec, shape=(4, 8, 8)))
    with pytest.raises(ValueError, match=r"a\.jpg cannot hold transparency"):
        next(make(Request(), model=rgba, out=tmp_path / "a.jpg"))


def test_targets_are_one_file_or_one_for_each(tmp_path: Path) -> None:
    assert targets(Path("a.png"), range(3)) == [Path("a.png")]
    assert targets(Path("a%d.png"), range(4, 6)) == [Path("a4.png"), Path("a5.png")]
    (tmp_path / "a0.png").mkdir()
    with pytest.raises(ValueError, match=r"a0\.png is a folder"):
        check_file(tmp_path / "a%d.png")
