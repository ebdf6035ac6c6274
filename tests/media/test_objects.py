"""Settings of InvokeAI, Fooocus and SwarmUI, as these programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from texts import png

from inkdrop.media.objects import from_fooocus, from_invoke, from_swarm
from inkdrop.media.settings import read_settings
from inkdrop.tasks.like import liked

INVOKE = {
    "app_version": "4.2.0", "generation_mode": "txt2img", "positive_prompt": "a red boat",
    "negative_prompt": "fog", "width": 512, "height": 768, "seed": 7, "cfg_scale": 7.5,
    "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1, "strength": 0.7,
    "model": {"key": "0", "name": "v1-5", "base": "sd-1"},
    "loras": [{"model": {"name": "boat"}, "weight": 0.75}],
}  # fmt: skip
FOOOCUS: dict[str, Any] = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "base_model_hash": "aeb7",
    "clip_skip": 2, "full_negative_prompt": ["fog", "blur"], "full_prompt": ["cinematic, a boat"],
    "guidance_scale": 4.0, "lora_combined_1": "offset : 0.1", "loras": [["offset", 0.1, "4852"]],
    "metadata_scheme": "fooocus", "negative_prompt": "fog", "prompt": "a red boat",
    "refiner_model": "None", "resolution": "(896, 1152)", "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "seed": "5350975487230560396", "sharpness": 2.0, "steps": 30,
    "styles": "['Fooocus V2']", "version": "Fooocus v2.5.5",
}  # fmt: skip
SWARM: dict[str, Any] = {
    "sui_image_params": {
        "prompt": "a red boat", "negativeprompt": "fog", "model": "noobai", "seed": 17,
        "steps": 30, "cfgscale": 4.5, "aspectratio": "2:3", "width": 832, "height": 1216,
        "sampler": "euler_ancestral", "scheduler": "sgm_uniform", "usenegpip": True,
        "loras": ["styles/ink", "boat"], "loraweights": ["0.7"], "swarm_version": "0.9.6",
    },
    "sui_extra_data": {"date": "2025-09-01"},
}  # fmt: skip
READ_FOOOCUS = {
    "program": "Fooocus", "prompt": "a red boat <lora:offset:0.1>", "negative": "fog",
    "guidance": 4.0, "steps": 30, "sampler": "dpmpp_2m_sde_gpu", "grid": "karras",
    "model": "juggernautXL_v8", "clip_skip": 2, "seed": 5350975487230560396, "width": 896,
    "height": 1152, "adm_guidance": "(1.5, 0.8, 0.3)", "sharpness": 2.0,
    "styles": "['Fooocus V2']",
}  # fmt: skip
READ_SWARM = {
    "program": "SwarmUI", "prompt": "a red boat <lora:ink:0.7> <lora:boat:1>", "negative": "fog",
    "guidance": 4.5, "steps": 30, "seed": 17, "sampler": "euler_ancestral", "grid": "sgm_uniform",
    "model": "noobai", "width": 832, "height": 1216, "usenegpip": True,
}  # fmt: skip


def test_the_metadata_of_invokeai(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", invokeai_metadata=json.dumps(INVOKE))
    assert read_settings(path) == {
        "program": "InvokeAI", "prompt": "a red boat <lora:boat:0.75>", "negative": "fog",
        "steps": 30, "guidance": 7.5, "seed": 7, "sampler": "dpmpp_2m_k", "width": 512,
        "height": 768, "model": "v1-5", "clip_skip": 2, "strength": 0.7,
    }  # fmt: skip


@pytest.mark.parametrize(("told", "read"), [(FOOOCUS, READ_FOOOCUS), (SWARM, READ_SWARM)])
def test_objects_in_the_place_of_a_text(
    tmp_path: Path, told: dict[str, Any], read: dict[str, Any]
) -> None:
    path = png(tmp_path / "a.png", parameters=json.dumps(told))
    assert read_settings(path) == read
    found, notes = liked(read_settings(path), "a.png", {"model"})
    assert found["size"] == (read["height"], read["width"]) and found["prompt"] == read["prompt"]
    assert found["sampler"] in ("dpmpp_2m_sde", "euler_a") and "not taken from a.png" in notes[0]
    exif = Image.Exif()  # as Fooocus writes them into JPEGs and WebPs
    exif[0x9286], exif[0x927C] = json.dumps(told), "fooocus"
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_settings(tmp_path / "a.jpg") == read


def test_an_unknown_object_is_no_prompt(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", parameters='{"a": 1}')
    with pytest.raises(ValueError, match=r"a\.png holds settings of a program whose JSON is not"):
        read_settings(path)
    path = png(tmp_path / "a.png", parameters='{"a": 1}\nSteps: 3, Sampler: Euler, Seed: 1')
    assert read_settings(path)["prompt"] == '{"a": 1}'  # a prompt like that


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "[]", "{}", '"a"', '{"3": 1}', '{"sui_image_params": 3}',
     '{"sui_image_params": {"loras": 3, "loraweights": [[]]}}',
     '{"prompt": 3, "guidance_scale": 1, "base_model": 2, "loras": [3, [], [1, 2]], "seed": []}'],
)  # fmt: skip
def test_what_is_no_such_object_does_no_harm(text: str) -> None:
    for read in (from_invoke, from_fooocus, from_swarm):
        told = read(text)
        assert told is None or not isinstance(told.get("prompt"), str)
