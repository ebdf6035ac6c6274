"""Settings of programs that write one JSON object into a picture: InvokeAI, Fooocus, SwarmUI.

What is understood gets our names, and LoRAs become tags in the prompt, such as <lora:boat:0.8>. The
rest keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from inkdrop.media.graphs import from_comfy, json_object, tagged

Read = Callable[[str], dict[str, Any] | None]


def from_invoke(text: str) -> dict[str, Any] | None:
    """The settings in InvokeAI's metadata; None if it is no object."""
    told = json_object(text)
    if told is None:
        return None
    taken = {"positive_prompt": "prompt", "negative_prompt": "negative", "cfg_scale": "guidance",
             "scheduler": "sampler", "steps": "steps", "seed": "seed", "width": "width",
             "height": "height"}  # fmt: skip
    known: dict[str, Any] = {"program": "InvokeAI"}
    known |= {ours: told[theirs] for theirs, ours in taken.items() if theirs in told}
    model = told.get("model")
    if isinstance(model, dict):
        known["model"] = model.get("name", model.get("model_name"))
    if isinstance(told.get("clip_skip"), int):
        known["clip_skip"] = told["clip_skip"] + 1  # there, 0 is the last layer
    loras = [
        (_named(each), each.get("weight", 1)) for each in _list(told.get("loras")) if _named(each)
    ]
    rest = {"model", "clip_skip", "loras", "app_version", "generation_mode", "rand_device", *taken}
    known |= {name: value for name, value in told.items() if name not in rest}
    return tagged(known, loras)


def from_fooocus(text: str) -> dict[str, Any] | None:
    """The settings that Fooocus writes; None if it is another program's object."""
    told = json_object(text)
    if told is None or not {"prompt", "guidance_scale", "base_model"} <= told.keys():
        return None
    taken = {"prompt": "prompt", "negative_prompt": "negative", "guidance_scale": "guidance",
             "steps": "steps", "sampler": "sampler", "scheduler": "grid", "base_model": "model",
             "clip_skip": "clip_skip"}  # fmt: skip
    known = _known("Fooocus", told, taken)
    if re.fullmatch(r"\d{1,20}", str(told.get("seed"))):
        known["seed"] = int(told["seed"])
    sides = re.fullmatch(r"\((\d{1,9}), (\d{1,9})\)", str(told.get("resolution")))
    if sides:
        known |= {"width": int(sides[1]), "height": int(sides[2])}
    loras = told.get("loras")
    pairs = [
        (each[0], each[1])
        for each in (loras if isinstance(loras, list) else [])
        if isinstance(each, list) and len(each) >= 2 and isinstance(each[0], str)
    ]
    # The full prompts are those with the texts of `styles`, which are named as not taken.
    silent = {"seed", "resolution", "loras", "full_prompt", "full_negative_prompt", "version",
              "metadata_scheme", "base_model_hash"}  # fmt: skip
    silent |= {name for name in told if name.startswith("lora_combined_")}
    rest = _rest(told, {*silent, *taken})
    plain = {name: value for name, value in rest.items() if value not in ("None", "", [])}
    return tagged(known | plain, pairs)


def from_swarm(text: str) -> dict[str, Any] | None:
    """The settings that SwarmUI writes; None if it is another program's object."""
    told = (json_object(text) or {}).get("sui_image_params")
    if not isinstance(told, dict):
        return None
    taken = {"prompt": "prompt", "negativeprompt": "negative", "cfgscale": "guidance",
             "steps": "steps", "seed": "seed", "sampler": "sampler", "scheduler": "grid",
             "model": "model", "width": "width", "height": "height"}  # fmt: skip
    names, weights = (_texts(told.get(name)) for name in ("loras", "loraweights"))
    pairs = zip(names, (*weights, *["1"] * len(names)), strict=False)
    rest = _rest(told, {"loras", "loraweights", "aspectratio", "swarm_version", "images", *taken})
    return tagged(_known("SwarmUI", told, taken) | rest, list(pairs))


# By the name of the text in the picture.
FOREIGN: Mapping[str, tuple[Read, ...]] = {
    "parameters": (from_fooocus, from_swarm),
    "invokeai_metadata": (from_invoke,),
    "prompt": (from_comfy,),
}


def _known(program: str, told: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
    """The settings that only have another name."""
    return {"program": program} | {taken[name]: told[name] for name in taken if name in told}


def _rest(told: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in without}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _named(lora: Mapping[str, Any]) -> str:
    """The name in one of InvokeAI's entries for a LoRA, or ""."""
    for key in ("model", "lora"):
        inner = lora.get(key)
        if isinstance(inner, dict):
            return str(inner.get("name", inner.get("model_name", "")))
    return ""


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
