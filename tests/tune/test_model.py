"""Tuning and comparing a model in its folder, from Python and from the command line."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import tiny
import torch
from models import random_model
from PIL import Image

from inkdrop import runs
from inkdrop.cli import main
from inkdrop.model import Model, Tuned
from inkdrop.model import folder as folders
from inkdrop.tasks.generate import generate
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.run import train
from inkdrop.tune.compare import Row, compare
from inkdrop.tune.fit import FIRST, Fitted, fit, posed
from inkdrop.tune.problem import Problem


def inkdrop(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["inkdrop", *map(str, words)])
    main()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_model(tmp_path).save(tmp_path / "model")
    return tmp_path / "model"


def test_the_tuned_grid_is_kept_and_used(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (saved / "network.safetensors").read_bytes()
    inkdrop(monkeypatch, "tune", saved, "--steps", 3, "--minutes", 1, "--count", 8)
    said = capsys.readouterr().out
    model = Model.load(saved)
    assert (saved / "network.safetensors").read_bytes() == weights
    if "nothing was saved" in said:  # then it says so, and nothing is
        assert model.spec.tuned == ()
        return
    (tuned,) = model.spec.tuned
    assert "on other noises:" in said and "saved in" in said
    assert tuned.steps == 3 and tuned.times[0] == 1 and tuned.times[-1] == 0
    assert chosen(model, Sampling(steps=3))[1].tolist() == list(tuned.times)
    steps = list(generate(model, conditions=[0], sampling=Sampling(steps=3)))
    assert [step.t for step in steps] == list(tuned.times[1:])


def test_it_is_judged_on_other_noises_than_a_user_draws_or_it_was_fitted_to(saved: Path) -> None:
    model = Model.load(saved)
    *trials, fitted = fit(model, 3, minutes=1, count=8, samplers=("ddim", "dpmpp_2m"))
    assert isinstance(fitted, Fitted) and not isinstance(trials[-1], Fitted)
    assert fitted.after != trials[-1].error
    x, _ = posed(model, FIRST, 2)
    y, _ = posed(model, 0, 2)
    assert not torch.isclose(x, y).any()


def test_a_run_keeps_it_in_its_newest_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    list(train(tiny.data(tmp_path), out, tiny.ask()))
    folder, _ = runs.own_folder(out)
    spec = dataclasses.replace(Model.load(folder).spec, tuned=(Tuned(2, "ddim", (1.0, 0.4, 0.0)),))
    assert folders.amend(out, spec) == folder
    assert runs.damage(folder.parent) is None
    assert Model.load(runs.own_folder(out)[0]).spec == spec
    # and the run goes on from there
    list(train(tiny.data(tmp_path), out, tiny.ask()))


def test_too_little_time_is_said_before_the_search(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"minutes is 1e-05, but a call for 8 noises .* need"):
        next(fit(Model.load(saved), 3, minutes=1e-5, count=8))
    # What is asked for is always more than what was given, however it is rounded.
    for minutes in (1e-5, 1e-4, 3e-4):
        with pytest.raises(ValueError, match="need more") as error:
            next(fit(Model.load(saved), 3, minutes=minutes, count=8))
        assert float(str(error.value).split("--minutes ")[1].split(",")[0]) > minutes
    with pytest.raises(ValueError, match="count is 2: it must be from 4 to"):
        next(fit(Model.load(saved), 3, minutes=1, count=2))
    with pytest.raises(ValueError, match="steps is 0"):
        next(fit(Model.load(saved), 0, minutes=1))


def test_compare_counts_calls_and_falls_to_the_answer(saved: Path) -> None:
    events = list(compare(Model.load(saved), steps=(4, 16, 64), samplers=("ddim", "heun"), count=3))
    problem, *rows = events
    assert isinstance(problem, Problem)
    found = {(row.sampler, row.steps): row for row in rows if isinstance(row, Row)}
    assert [found["ddim", n].calls for n in (4, 16, 64)] == [4, 16, 64]
    assert [found["heun", n].calls for n in (4, 16, 64)] == [7, 31, 127]
    for name in ("ddim", "heun"):
        assert found[name, 64].error < found[name, 16].error < found[name, 4].error
        want = problem.errors(found[name, 4].x).mean()
        assert found[name, 4].error == pytest.approx(float(want))


def test_compare_writes_table_and_picture(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compare.png"
    words = ["compare", saved, "--steps", 3, 5, "--samplers", "ddim", "unipc", "--count", 2]
    inkdrop(monkeypatch, *words, "-o", out)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["ddim", "3", "3"], ["ddim", "5", "5"], ["unipc", "3", "3"], ["unipc", "5", "5"],
    ]  # fmt: skip
    with Image.open(out) as picture:
        assert picture.size[0] > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "--samplers", "ddpm"], "ddpm draws fresh noise"),
        (["compare", "--samplers", "unipk"], "Did you mean 'unipc'"),
        (["compare", "--steps", "0"], "steps is 0"),
        (["compare", "--count", "0"], "count is 0"),
        (["tune", "--steps", "1"], "one step leaves no time to tune"),
        (["tune", "--minutes", "0.00001"], "give --minutes "),
    ],
)
def test_bad_words_are_one_sentence(
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    before = (saved / "model.json").read_bytes()
    with pytest.raises(SystemExit) as left:
        inkdrop(monkeypatch, words[0], saved, *words[1:])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    assert (saved / "model.json").read_bytes() == before
