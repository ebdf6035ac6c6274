"""`inkdrop data check`: what training would say of data, without training."""

from __future__ import annotations

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inkdrop", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check(*words: object) -> subprocess.CompletedProcess[str]:
    return run("data", "check", *words)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of two classes and sizes with captions; one is a copy of another."""
    for i in range(24):
        folder = tmp_path / "photos" / ("cat" if i % 3 else "dog [b]")
        folder.mkdir(parents=True, exist_ok=True)
        mode, size = ("L", (20, 16)) if i == 5 else ("RGB", (16, 16))
        Image.new(mode, size, 10 * i).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture {i}" if i else "")
    Image.new("RGB", (16, 16), 10).save(tmp_path / "photos" / "dog [b]" / "30.png")
    return tmp_path / "photos"


def test_what_is_there_is_said(photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    done = check(photos)
    assert done.returncode == 0 and not done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "photos: 25 pictures, 16x16 RGB, 2 labels (cat, dog [b]), captions",
        "sizes: 16x16 (24), 20x16 (1); from 16x16 to 20x16",
        "stored as: RGB (24), L (1)",
        "labels: 2: cat (16), dog [b] (9)",
    ]
    assert lines[4].startswith("captions: 23 (2 more are empty), 23 distinct, of 9 to 10")
    assert "copies: 1 picture equal to earlier ones: dog [b]/30.png = cat/1.png" in lines
    assert "  1 of them with another label" in lines
    assert any(line.startswith("note: 1 of 25 pictures is without a caption") for line in lines)
    assert any("24 to train on and 1 held out" in line for line in lines)
    assert lines[-1].startswith("the captions are not read")
    assert sorted(photos.rglob("*")) == before


def test_options_are_those_of_training(photos: Path) -> None:
    done = check(photos, "--size", 8, "--channels", 1)
    assert "photos: 25 pictures, 8x8 grey" in done.stdout
    done = check(photos, "--caption", ".md")
    assert done.returncode == 2 and "no captions for caption='.md'" in done.stderr


def test_every_damaged_file_is_named(photos: Path) -> None:
    for i in range(6):
        (photos / f"broken{i}.png").write_bytes(b"")
    done = check(photos)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line.startswith("damaged: ")] == [
        f"damaged: broken{i}.png is empty (0 bytes); copy or save it again" for i in range(6)
    ]
    assert "6 of 31 pictures in photos cannot be used" in done.stderr


def test_a_few_damaged_files_are_skipped_and_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(120):
            Image.new("L", (8, 8), i).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"{i}.png")
        archive.writestr("bad.png", b"text")
    done = check(tmp_path / "a.zip")
    assert done.returncode == 0
    assert "damaged and skipped: 1\n  bad.png is not a picture" in done.stdout


def test_arrays_and_copies_in_them(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    images[4] = images[2]
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(6) % 2)
    done = check(tmp_path / "a.npz")
    assert done.returncode == 0
    assert "copies: 1 picture equal to earlier ones: sample 4 = sample 2\n" in done.stdout
    assert "labels: 2: 0 (3), 1 (3)\ncaptions: none\n" in done.stdout


@pytest.mark.parametrize("words", [("missing",), ()])
def test_what_cannot_be_read_is_one_sentence(words: tuple[str, ...]) -> None:
    done = check(*words)
    assert done.returncode == 2 and done.stderr.startswith("inkdrop: ")
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom inkdrop.cli import main\n"
        "sys.argv = ['inkdrop', 'data', 'check', '--help']\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: inkdrop data check" in done.stdout
    assert not set(done.stderr.split()) & {"torch", "numpy", "PIL", "pydantic"}


def test_training_says_what_it_does_not_read_and_its_command_can_be_typed(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my 'runs'" / "$a b"
    done = run("train", photos, "--out", out, "--updates", 1, "--batch", 2, "--width", 8)
    assert done.returncode == 0, done.stderr
    assert "the captions are not read: a model of words is trained with --latent" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("more: ")]
    assert shlex.split(line)[1:] == ["inkdrop", "sample", str(out), "-o", "more.png"]
