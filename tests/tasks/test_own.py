"""The scheduler that came with a model, as the sampler "own"."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import edit
from console import inkdrop, left

from inkdrop.convert.convert import convert
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.find import open_model
from inkdrop.make.make import Made, make
from inkdrop.media.settings import settings_in
from inkdrop.model import Model
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.request import Request
from inkdrop.tasks.sampling import Sampling
from inkdrop.weights import read_json

OWN = Sampling(sampler="own", steps=5)


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    shutil.copytree(sd1, tmp_path / "sd")
    return tmp_path / "sd"


def test_its_sampler_on_its_times(sd1: Path, tmp_path: Path) -> None:
    model = open_model(sd1)
    file = sd1 / "scheduler" / "scheduler_config.json"
    plan = chosen(model, OWN)
    assert plan.sampler == "plms"
    assert torch.equal(plan.times, read_schedule(read_json(file), "here").times(5))
    assert chosen(model).sampler == "unipc"  # not used unless it is asked for
    other = chosen(model, Sampling(sampler="own", grid="karras", steps=5))
    assert other.sampler == "plms" and not torch.equal(other.times, plan.times)
    # It goes along into a folder of ours.
    convert(sd1, tmp_path / "ours")
    again = chosen(Model.load(tmp_path / "ours"), OWN)
    assert again.sampler == "plms" and torch.equal(again.times, plan.times)


def test_a_run_with_it_is_repeated_by_its_settings(folder: Path, tmp_path: Path) -> None:
    # Without an offset the last of its steps goes nowhere and is left out.
    edit(folder / "scheduler" / "scheduler_config.json", steps_offset=0)
    request = Request(model=str(folder), prompt="a boat", size=16, count=1, sampling=OWN)
    *_, made = make(request)
    assert isinstance(made, Made) and made.request.sampling.steps == 5
    made.save(tmp_path / "a.png")
    assert settings_in(tmp_path / "a.png")["sampler"] == "own"
    *_, again = make(made.request)
    assert isinstance(again, Made) and torch.equal(again.samples, made.samples)


def test_info_says_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inkdrop(monkeypatch, "info", folder)
    said = capsys.readouterr().out
    assert "its scheduler: PNDMScheduler, used by --sampler own; without it" in said
    edit(folder / "scheduler" / "scheduler_config.json", skip_prk_steps=False)
    inkdrop(monkeypatch, "info", folder)
    said = capsys.readouterr().out
    assert "PNDMScheduler, which is not followed here: its skip_prk_steps is False" in said
    words = ("generate", "a", "--model", folder, "--sampler", "own", "-o", folder / "x.png")
    assert "its skip_prk_steps is False; leave --sampler" in left(monkeypatch, capsys, *words)


def test_a_model_without_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="came without a scheduler, so there is no sampler 'own'"):
        chosen(open_model("emoji"), OWN)
