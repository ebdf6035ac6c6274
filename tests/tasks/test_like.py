"""Settings from a file: another program's translated, and no more than a picture is worth."""

from __future__ import annotations

from typing import Any

import pytest

from inkdrop.media.parameters import from_parameters
from inkdrop.tasks.like import AUTOMATIC, liked
from inkdrop.tasks.request import request_of

A1111 = (
    "a boat <lora:boat:0.8>\nNegative prompt: fog\n"
    "Steps: 28, Sampler: {sampler}, {kind}CFG scale: 7.5, Seed: 7, Size: 512x768, Model hash: 6c,"
    " Model: v1-5, Denoising strength: 0.5, Clip skip: 2, Hires upscale: 2, Version: v1.9.0"
)


def a1111(sampler: str, kind: str = "") -> dict[str, Any]:
    text = A1111.format(sampler=sampler, kind=f"Schedule type: {kind}, " if kind else "")
    return from_parameters(text) | {"program": "another program"}


def test_the_settings_of_a1111_become_a_request() -> None:
    found, notes = liked(a1111("DPM++ 2M Karras"), "a.png", {"model"})
    request = request_of("generate", found, {"model": "m"})
    assert (request.prompt, request.sampling.negative) == ("a boat <lora:boat:0.8>", "fog")
    assert (request.size, request.seed, request.clip_skip) == ((768, 512), 7, 2)
    sampling = request.sampling
    assert (sampling.steps, sampling.guidance) == (28, 7.5)
    assert (sampling.sampler, sampling.grid) == ("dpmpp_2m", "karras")
    assert notes[0] == "not taken from a.png: Denoising strength 0.5, Hires upscale 2"
    assert "the same settings make another picture here" in notes[1]


@pytest.mark.parametrize(
    ("sampler", "kind", "expected"),
    [
        ("DPM++ 2M", "Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "", ("dpmpp_2m", "linspace")),
        ("DPM++ 3M SDE Exponential", "", ("dpmpp_3m_sde", "logsnr")),
        ("Euler a", "Automatic", ("euler_a", "linspace")),
        ("Euler", "Uniform", ("euler", "linspace")),
        ("Euler", "SGM Uniform", ("euler", "uniform")),
        ("DDIM", "", ("ddim", "leading")),
        ("LMS Karras", "", ("lms", "karras")),
    ],
)
def test_the_sampler_and_the_grid_of_a1111(
    sampler: str, kind: str, expected: tuple[str, str]
) -> None:
    found, _ = liked(a1111(sampler, kind), "a.png", {"model"})
    assert (found["sampler"], found["grid"]) == expected


def test_the_fields_of_fooocus_in_a1111s_text() -> None:
    text = (
        "a boat\nSteps: 30, Sampler: Euler, Seed: 5, Size: 64x128, CFG scale: 4, Scheduler: karras,"
        ' Model: xl, Lora hashes: "ink: 48, boat: 53", Lora weights: "ink: 0.1, boat: -1.5",'
        " Sharpness: 2, Version: Fooocus v2.5.5"
    )
    found, notes = liked(from_parameters(text) | {"program": "x"}, "a.png", {"model"})
    assert found["prompt"] == "a boat <lora:ink:0.1> <lora:boat:-1.5>"
    assert (found["sampler"], found["grid"]) == ("euler", "karras")
    assert notes[0] == "not taken from a.png: Sharpness 2"


def test_what_is_not_available_is_said() -> None:
    found, notes = liked(a1111("DPM fast"), "a.png", {"model"})
    assert "sampler" not in found and "grid" not in found
    assert "'DPM fast' of other programs is not available here" in notes[0]
    assert "the default sampler is used" in notes[0]
    request_of("generate", found)
    many = a1111("Euler") | {f"Field {i}": "x" * 500 for i in range(40)}
    assert len(" ".join(liked(many, "a.png", {"model"})[1])) < 1500


def test_the_model_of_another_program_is_asked_for() -> None:
    with pytest.raises(
        ValueError, match=r"made by another program with the model 'v1-5'; .*--model"
    ):
        liked(a1111("Euler"), "a.png", ())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"count": 10_000},
            "a.png asks for count 10000, but a file alone may ask for at most 1000",
        ),
        ({"steps": 5000}, "say so with --steps 5000"),
        ({"frames": 900}, "asks for frames 900"),
        ({"batch": 1000}, "asks for batch 1000"),
        ({"count": 64, "size": [4096, 4096]}, "64 samples of 4096x4096, which is more than"),
        ({"count": 64, "size": 4096}, "64 samples of 4096x4096, which is more than"),
    ],
)
def test_a_file_alone_asks_for_no_more_than_a_picture_is_worth(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        liked(settings, "a.png", ())
    assert liked(settings, "a.png", {"size", *settings})[0] == settings


def test_a_folder_to_search_is_the_users_to_say() -> None:
    assert liked({"lora_dir": "/", "seed": 1}, "a.png", ()) == ({"seed": 1}, [])


def test_automatic_is_of_samplers_that_there_are() -> None:
    from inkdrop.diffusion.samplers import SAMPLERS
    from inkdrop.diffusion.times import GRIDS

    assert AUTOMATIC.keys() <= SAMPLERS.keys() and set(AUTOMATIC.values()) <= GRIDS.keys()
