"""An option that would change nothing is refused in a sentence that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from console import inkdrop, left
from models import random_model
from PIL import Image

from inkdrop.make.make import make, open_job
from inkdrop.tasks.added import Added
from inkdrop.tasks.request import Interpolate, Invert, Request
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.evaluation import Evaluation

WALK = ["interpolate", "m", "--seeds", "1", "2"]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random_model(tmp_path).save("m")
    Image.new("L", (8, 8), 60).save("a.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*WALK, "--seed", "5"], "seed is 5, but a walk between two seeds has those"),
        ([*WALK, "--depth", "0.2"], "depth is 0.2, but it is for a walk between --pictures"),
        ([*WALK, "-o", "w.gif", "--columns", "2"], "--columns is for a sheet, and w.gif is an"),
        (["sample", "m", "-o", "a.npz", "--columns", "2"], "--columns is for a sheet"),
        (["sample", "m", "-o", "a.npy", "--scale", "2"], "--scale is for a sheet, and a.npy is an"),
        (["sample", "m", "-o", "%d.png", "--columns", "2"], "is a file for each sample"),
        (["sample", "m", "--sampler", "adaptive", "--steps", "5"], "chooses its own; leave out"),
        (["sample", "m", "--sampler", "DPM adaptive", "--steps", "5"], "chooses its own; leave"),
        (["sample", "m", "--sampler", "ddim", "--tolerance", "0.1"], "only the sampler 'adaptive'"),
        (["sample", "m", "--guidance", "1", "--two-calls"], "two_calls is True, but guidance is 1"),
        (["invert", "m", "a.png", "--sampler", "ddim"], "there is no option --sampler"),
        (["invert", "m", "a.png", "--eta", "0"], "there is no option --eta"),
        (["invert", "m", "a.png", "--tolerance", "0.1"], "there is no option --tolerance"),
        (["invert", "m", "a.png", "--seed", "3"], "there is no option --seed"),
        (["train", "tiny.npz", "--times", "uniform", "--log-noise-mean", "0"],
         "--log-noise-mean is for --times lognormal"),
        (["distill", "m", "--method", "consistency", "--teacher-steps", "9"], "teacher_steps is 9"),
        (["distill", "m", "--finest", "64"], "finest is 64, but the method 'rollout' does not use"),
        (["evaluate", "m", "--data", "tiny.npz", "--judge", "m", "--judge-updates", "5"],
         "judge_updates is 5, but no judge is trained"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_options_without_effect_are_refused(
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(Path().iterdir())
    assert said in left(monkeypatch, capsys, *words)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sampling": Sampling(sampler="unipc")}, "sampler is unipc, but inversion follows DDIM"),
        ({"sampling": Sampling(eta=0.5)}, "eta is 0.5, but inversion follows DDIM"),
        ({"sampling": Sampling(tolerance=0.5)}, "tolerance is 0.5, but"),
        ({"seed": 3}, "seed is 3, but inversion draws no noise"),
        ({"seed": 3, "task": Interpolate(seeds=(1, 2))}, "seed is 3, but a walk"),
        ({"task": Interpolate(seeds=(1, 2), depth=0.1)}, "depth is 0.1, but it is for"),
    ],
)
def test_the_same_from_python(fields: dict[str, Any], said: str) -> None:
    task = Invert((Added.of("a.png", "picture"),))
    with pytest.raises(ValueError, match=said):
        open_job(Request(**{"task": task, **fields}))
    DistillConfig(method="consistency", finest=64)
    DistillConfig(teacher_steps=9)
    Evaluation(judge=Path("m"))


def test_an_adaptive_run_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--sampler", "adaptive", "--tolerance", "0.1", "--count", 2]
    inkdrop(monkeypatch, "sample", "m", *words, "-o", "one.png")
    inkdrop(monkeypatch, "sample", "--like", "one.png", "-o", "two.png")
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()
    events = list(make(Request(model="m", sampling=Sampling(sampler="adaptive", tolerance=0.1))))
    assert events[-1].request.sampling.steps is None  # type: ignore[union-attr]
