"""The files that commands write: each format, numbers, what is replaced, and checks before work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from console import inkdrop, left, same
from models import random_model
from PIL import Image

from inkdrop.make.make import make
from inkdrop.media.settings import read_settings
from inkdrop.tasks.request import Request
from inkdrop.tasks.sampling import Sampling

SHORT = ["--steps", 2, "--scale", 1]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random_model(tmp_path).save("m")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "npz"])
def test_every_file_with_settings_is_made_again(
    suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inkdrop(monkeypatch, "sample", "m", *SHORT, "--count", 2, "-o", f"a.{suffix}")
    inkdrop(monkeypatch, "sample", "--like", f"a.{suffix}", "-o", f"b.{suffix}")
    assert Path(f"a.{suffix}").read_bytes() == Path(f"b.{suffix}").read_bytes()
    capsys.readouterr()
    inkdrop(monkeypatch, "info", f"a.{suffix}")
    assert "model: m\n" in capsys.readouterr().out


def test_a_file_without_settings_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inkdrop(monkeypatch, "sample", "m", *SHORT, "-o", "a.bmp")
    assert "a.bmp cannot hold its settings" in capsys.readouterr().err


def test_a_file_for_each_sample_and_each_again_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inkdrop(monkeypatch, "sample", "m", *SHORT, "--count", 3, "--first", 4, "-o", "pic_%02d.png")
    assert "in pic_04.png to pic_06.png" in capsys.readouterr().out
    assert len(list(Path().glob("pic_*.png"))) == 3
    inkdrop(monkeypatch, "sample", "--like", "pic_05.png", "-o", "again.png")
    assert same(Path("pic_05.png"), Path("again.png"))
    told = read_settings("pic_05.png")
    assert (told["first"], told["count"]) == (5, 1)
    # The sixth of a larger set, by itself.
    inkdrop(monkeypatch, "sample", "m", *SHORT, "--count", 6, "-o", "all.npz")
    inkdrop(monkeypatch, "sample", "m", *SHORT, "--count", 1, "--first", 5, "-o", "one.npz")
    whole, one = np.load("all.npz")["samples"], np.load("one.npz")["samples"]
    np.testing.assert_allclose(whole[5:], one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", ["webp", "apng", "gif"])
def test_a_walk_is_an_animation(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = ["interpolate", "m", "--seeds", 1, 2, "--frames", 3, *SHORT]
    inkdrop(monkeypatch, *walk, "-o", f"walk.{suffix}")
    with Image.open(f"walk.{suffix}") as picture:
        assert picture.n_frames == 3  # type: ignore[attr-defined]
    assert [path.name for path in Path().glob("walk.*")] == [f"walk.{suffix}"]
    if suffix != "gif":
        inkdrop(monkeypatch, "interpolate", "--like", f"walk.{suffix}", "-o", f"again.{suffix}")
        assert Path(f"again.{suffix}").read_bytes() == Path(f"walk.{suffix}").read_bytes()


def test_a_walk_in_single_files(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = ["interpolate", "m", "--seeds", 1, 2, "--frames", 3, *SHORT]
    inkdrop(monkeypatch, *walk, "-o", "frame_{}.png")
    inkdrop(monkeypatch, *walk, "-o", "walk.png")
    for i in range(3):
        with Image.open(f"frame_{i}.png") as frame, Image.open("walk.png") as strip:
            left = i * (frame.width + 2)
            found = strip.crop((left, 0, left + frame.width, frame.height))
            assert np.array_equal(np.asarray(found), np.asarray(frame))
    assert read_settings("frame_1.png")["seeds"] == [1, 2]


def test_what_is_replaced_is_said_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ["sample", "m", *SHORT, "--count", 2, "-o"]
    walk = ["interpolate", "m", "--seeds", 1, 2, "--frames", 2, *SHORT, "-o", "w.png"]
    for words, said in (
        ([*sample, "a.png"], "a.png exists and will be replaced"),
        ([*sample, "p%d.png"], "p0.png to p1.png exist and will be replaced"),
        (walk, "w.png to w.webp exist and will be replaced"),
    ):
        for there in (False, True):
            capsys.readouterr()
            inkdrop(monkeypatch, *words)
            assert (said in capsys.readouterr().err) == there


def test_files_are_checked_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    Path("folder.png").mkdir()
    long = "x" * 252 + ".png"
    for words, said in (
        (["sample", "m", "-o", "a.xyz"], "no file format '.xyz'"),
        (["sample", "m", "-o", "file/a.png"], "is a file, so"),
        (["sample", "m", "-o", "%d_%d.png"], "has 2 places for a number"),
        (["sample", "m", "-o", long], "too long"),
        (["sample", "m", "-o", "a.apng"], "no file format '.apng'"),
        (["interpolate", "m", "--seeds", 1, 2, "-o", "file/a.gif"], "is a file, so"),
        (["interpolate", "m", "--seeds", 1, 2, "-o", "folder.png"], "folder.png is a folder"),
        (["generate", "a", "-o", "a.gif"], "a.gif cannot hold its settings; give --out one of"),
        (["tune", "emoji"], "the built-in model emoji cannot be changed"),
        (["tune", "file"], "file is a file; give a model folder or a run"),
        (["explain", "m", "--data", "tiny.npz", "-o", "file"], "file is a file"),
        (["evaluate", "m", "--data", "tiny.npz", "-o", "file"], "file is a file"),
        (["convert", "m", "file/out"], "is a file, so"),
    ):
        assert said in left(monkeypatch, capsys, *words), words


def test_settings_too_long_for_a_format_are_refused_before_the_first_step() -> None:
    request = Request(prompt="x" * 70_000, sampling=Sampling(steps=2))
    with pytest.raises(ValueError, match="at most 65000 fit into a JPEG"):
        for event in make(request, out=Path("a.jpg")):
            assert type(event).__name__ == "Note"
