"""Settings of ComfyUI, as it writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from texts import png

from inkdrop.media.graphs import from_comfy
from inkdrop.media.settings import read_settings

# ComfyUI's default workflow with a LoRA and a skipped layer, in its API format.
GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 156680208700286, "steps": 20, "cfg": 8, "sampler_name": "euler_ancestral",
        "scheduler": "karras", "denoise": 1, "model": ["10", 0], "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage",
          "inputs": {"width": 512, "height": 768, "batch_size": 2}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red boat", "clip": ["11", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["11", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "10": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "styles\\boat.safetensors", "strength_model": 0.8, "strength_clip": 1,
        "model": ["4", 0], "clip": ["4", 1]}},
    "11": {"class_type": "CLIPSetLastLayer",
           "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}},
}  # fmt: skip
COMFY = {
    "program": "ComfyUI", "prompt": "a red boat <lora:boat:0.8>", "negative": "fog", "steps": 20,
    "guidance": 8, "seed": 156680208700286, "sampler": "euler_ancestral", "grid": "karras",
    "width": 512, "height": 768, "count": 2, "model": "v1-5.safetensors", "clip_skip": 2,
}  # fmt: skip


def test_the_graph_of_comfyui_is_followed(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", prompt=json.dumps(GRAPH), workflow="{}")
    assert read_settings(path) == COMFY


def test_of_several_samplers_the_first_counts() -> None:
    inputs = GRAPH["3"]["inputs"] | {"denoise": 0.5, "latent_image": ["3", 0]}
    second = {"class_type": "KSampler", "inputs": inputs}
    told = from_comfy(json.dumps({"1": second, **GRAPH}))
    assert told == COMFY | {"further samplers": 1}
    told = from_comfy(json.dumps(GRAPH | {"3": second, "20": {}}))
    assert told is not None and told["denoise"] == 0.5 and "width" not in told


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "[]", "{}", '"a"', '{"3": 1}', '{"3": {"class_type": "KSampler"}}',
     '{"3": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "model": [[], 0]}}}'],
)  # fmt: skip
def test_what_is_no_graph_does_no_harm(text: str) -> None:
    told = from_comfy(text)
    assert told is None or "prompt" not in told


def test_long_chains_and_rings_end() -> None:
    ring = {
        str(i): {"inputs": {"model": [str(i + 1), 0], "a": [str(i - 1), 0]}} for i in range(999)
    }
    ring["x"] = {"class_type": "KSampler", "inputs": {"model": ["0", 0]}}  # type: ignore[dict-item]
    assert from_comfy(json.dumps(ring)) == {"program": "ComfyUI"}
