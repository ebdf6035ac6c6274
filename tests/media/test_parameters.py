"""The text other programs read: written as they write it, theirs read as far as it goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkdrop import __version__
from inkdrop.media.parameters import from_parameters, to_parameters

BOAT = {
    "prompt": "a red boat, (calm sea:1.2)\non a lake",
    "negative": "blurry, text",
    "steps": 20,
    "sampler": "dpmpp_2m",
    "guidance": 4.0,
    "seed": 7,
    "model": "boats",
}

# as AUTOMATIC1111's web interface writes it
FOREIGN = (
    "masterpiece, <lora:boat:0.8> a boat\nat night\n"
    "Negative prompt: lowres,\nbad hands\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 3141592653, Size: 512x768,"
    " Model hash: 6ce0161689, Model: v1-5-pruned, Denoising strength: 0.5, Clip skip: 2,"
    ' Lora hashes: "boat: 0a1b, sea: 2c3d", Version: v1.6.0'
)


def test_the_text_is_as_others_write_it() -> None:
    assert to_parameters(BOAT, 64, 48) == (
        "a red boat, (calm sea:1.2)\non a lake\n"
        "Negative prompt: blurry, text\n"
        "Steps: 20, Sampler: dpmpp_2m, CFG scale: 4, Seed: 7, Size: 64x48, Model: boats,"
        f" Version: inkdrop {__version__}"
    )


def test_what_is_not_set_is_left_out() -> None:
    assert to_parameters({"model": None}, 8, 9) == f"Size: 8x9, Version: inkdrop {__version__}"
    assert to_parameters({"prompt": "a", "width": 4, "height": 5}, 8, 9).startswith("a\nSize: 4x5")
    assert "\ud800" not in to_parameters({"prompt": "\0\ud800"}, 8, 9)


def test_a_foreign_text_is_understood() -> None:
    assert from_parameters(FOREIGN) == {
        "prompt": "masterpiece, <lora:boat:0.8> a boat\nat night",
        "negative": "lowres,\nbad hands",
        "steps": 28,
        "sampler": "DPM++ 2M Karras",
        "guidance": 7.5,
        "seed": 3141592653,
        "width": 512,
        "height": 768,
        "Model hash": "6ce0161689",
        "model": "v1-5-pruned",
        "Denoising strength": "0.5",
        "Clip skip": "2",
        "Lora hashes": "boat: 0a1b, sea: 2c3d",
        "Version": "v1.6.0",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"prompt": ""}),
        ("only: a prompt, of: a kind", {"prompt": "only: a prompt, of: a kind"}),
        ("a\nNegative prompt: b", {"prompt": "a", "negative": "b"}),
        ("Steps: many, Seed: 3, stray, x", {"prompt": "", "Steps": "many", "seed": 3}),
        ('p\nSteps: 4, Size: big, Note: "a', {"prompt": "p", "steps": 4, "Size": "big"}),
    ],
)
def test_less_than_everything_is_understood_too(text: str, found: dict[str, Any]) -> None:
    read = from_parameters(text)
    assert read.items() >= found.items()
    assert read.keys() - found.keys() <= {"Note"}


# "Negative prompt:" within a prompt cannot be told apart in this format
WORDS = st.text().map(str.strip).filter(lambda s: "Negative prompt:" not in s and "\0" not in s)


@given(prompt=WORDS, negative=WORDS, model=st.text(min_size=1), seed=st.integers(0, 2**64))
def test_any_text_comes_back(prompt: str, negative: str, model: str, seed: int) -> None:
    settings = {"prompt": prompt, "model": model.replace("\0", "x"), "seed": seed}
    settings |= {"negative": negative} if negative else {}
    told = {"width": 8, "height": 9, "Version": f"inkdrop {__version__}"}
    assert from_parameters(to_parameters(settings, 8, 9)) == settings | told
