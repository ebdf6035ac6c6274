"""--like with a stranger's file: nothing is fetched, nothing hangs; other programs' are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from console import inkdrop, left
from models import latent_text_model
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inkdrop.find import find
from inkdrop.media.settings import read_settings
from inkdrop.media.sheet import save_image

BLANK = Image.new("L", (8, 8))
FILE = {"path": "", "sha256": "0123456789abcdef", "weight": 1.0}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def contacted(*args: object, **kwargs: Any) -> None:
        assert kwargs["local_files_only"], "the Hub was contacted"
        raise OSError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", contacted)
    os.mkfifo("pipe")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "hf:evil/model"}, "the file asks for the model evil/model of the Hub, which is"),
        ({"model": "evil/model"}, "there is no model folder or run evil/model here"),
        ({"model": "pipe"}, "pipe is neither a file nor a folder"),
        ({"model": "/dev/zero"}, "/dev/zero is neither a file nor a folder"),
        ({"model": "emoji", "weak": "hf:evil/model"}, "asks for the model evil/model of the Hub"),
        ({"loras": [{**FILE, "path": "/dev/zero"}]}, "/dev/zero is neither a file nor a folder"),
        ({"loras": [{**FILE, "path": "pipe"}]}, "pipe is neither a file nor a folder"),
        ({"loras": [{**FILE, "path": "/usr"}]}, "/usr"),
        ({"embeddings": [{**FILE, "path": "pipe"}]}, "pipe is neither a file nor a folder"),
        ({"controls": [{"control": {**FILE, "path": "pipe"}, "hint": FILE}]}, "pipe is neither"),
        ({"loras": [{**FILE, "path": "a\0b"}]}, "the LoRA a\\x00b, which does not exist"),
        ({"loras": [FILE] * 1000}, "there are 1000 loras: give at most 64"),
        ({"count": 10_000}, "asks for count 10000, but a file alone may ask for at most 1000"),
        ({"guidance": 1e308}, "guidance is 1e+308: it must be from -1000 to 1000"),
        ({"steps": 10**9}, "asks for steps 1000000000"),
        ({"size": 10**9}, "which is more than a file alone may ask for"),
        ({"seed": 10**50}, "seed is a number of 167 bits"),
        ({"prompt": "a" * 200_000}, "prompt has 200,000 characters"),
        ({"negative": ["a"] * 9}, "negative"),
        ({"sampler": "x" * 10_000}, "there is no sampler"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_strangers_settings_do_no_harm(
    settings: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_image(BLANK, "a.png", {"task": "generate", "prompt": "a", "steps": 1, **settings})
    sentence = left(monkeypatch, capsys, "generate", "--like", "a.png", "-o", "b.png")
    assert said in sentence and len(sentence) < 1000
    assert not Path("b.png").exists()


def test_what_the_user_says_is_the_users(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latent_text_model().save("m")
    hostile = {"model": "hf:evil/model", "count": 10_000, "guidance": 1e308}
    save_image(BLANK, "a.png", {"task": "generate", "prompt": "a", "steps": 2, **hostile})
    said = left(monkeypatch, capsys, "generate", "--like", "a.png", "--model", "m", "--count", 1)
    assert "guidance is 1e+308" in said


A1111 = (
    "a cat\nNegative prompt: fog\nSteps: 3, Sampler: DPM++ 2M Karras, CFG scale: 2.5, Seed: 9,"
    " Size: 16x16, Model: v1-5, Denoising strength: 0.5, Version: v1.9.0"
)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_file_of_a1111_is_repeated_with_a_model_of_here(
    suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latent_text_model().save("m")
    if suffix == "png":
        chunks = PngInfo()
        chunks.add_text("parameters", A1111)
        BLANK.save("a.png", pnginfo=chunks)
    else:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
        BLANK.convert("RGB").save(f"a.{suffix}", exif=exif)
    like = ["generate", "--like", f"a.{suffix}", "-o", "b.png"]
    assert "with the model 'v1-5'; say which" in left(monkeypatch, capsys, *like)
    inkdrop(monkeypatch, *like, "--model", "m", "--size", 16)
    said = capsys.readouterr().err
    assert f"not taken from a.{suffix}: Denoising strength 0.5" in said
    told = read_settings("b.png")
    asked = {"prompt": "a cat", "negative": "fog", "steps": 3, "guidance": 2.5, "seed": 9,
             "sampler": "dpmpp_2m", "grid": "karras", "weights": find("m").weights}  # fmt: skip
    assert told.items() >= asked.items()
