"""Settings of ComfyUI and InvokeAI, which write JSON into a PNG's text chunks.

ComfyUI writes the graph of its nodes (`prompt`): from the node that samples, its inputs are
followed back. InvokeAI writes one object (`invokeai_metadata`). What is understood gets our names,
and LoRAs become tags in the prompt, such as <lora:boat:0.8>. The rest keeps its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DEEPEST = 30  # nodes that are followed back
_SAMPLERS = ("KSampler", "KSamplerAdvanced")
_ENDS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def from_comfy(text: str) -> dict[str, Any] | None:
    """The settings in ComfyUI's graph; None if it is no graph that samples."""
    nodes = _object(text)
    found = [each for each in (nodes or {}).values() if _class(each) in _SAMPLERS]
    if nodes is None or not found:
        return None
    graph = _Graph(nodes)
    # Of several, the one from pure noise; the others refine its result.
    first = next((n for n in found if _inputs(n).get("denoise", 1) == 1), found[0])
    inputs = _inputs(first)
    known: dict[str, Any] = {
        "program": "ComfyUI",
        "prompt": graph.first(inputs.get("positive"), "text"),
        "negative": graph.first(inputs.get("negative"), "text"),
        "steps": inputs.get("steps"),
        "guidance": inputs.get("cfg"),
        "seed": inputs.get("seed", inputs.get("noise_seed")),
        "sampler": inputs.get("sampler_name"),
        "grid": inputs.get("scheduler"),
        "width": graph.first(inputs.get("latent_image"), "width"),
        "height": graph.first(inputs.get("latent_image"), "height"),
        "count": graph.first(inputs.get("latent_image"), "batch_size"),
        "model": graph.first(inputs.get("model"), "ckpt_name"),
    }
    layer = graph.first(inputs.get("positive"), "stop_at_clip_layer")
    if isinstance(layer, int):
        known["clip_skip"] = -layer
    loras = [
        (each["lora_name"], each.get("strength_model", 1))
        for each in graph.back(inputs.get("model"))
        if isinstance(each.get("lora_name"), str)
    ]
    if len(found) > 1:
        known["further samplers"] = len(found) - 1
    if inputs.get("denoise", 1) != 1:
        known["denoise"] = inputs["denoise"]
    return _tagged(known, loras)


def from_invoke(text: str) -> dict[str, Any] | None:
    """The settings in InvokeAI's metadata; None if it is no object."""
    told = _object(text)
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
    return _tagged(known, loras)


FOREIGN: Mapping[str, Callable[[str], dict[str, Any] | None]] = {
    "invokeai_metadata": from_invoke,
    "prompt": from_comfy,
}


class _Graph:
    """ComfyUI's nodes by number; an input that is [number, output] is a link to another node."""

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self.nodes = nodes

    def back(self, link: object) -> Iterator[Mapping[str, Any]]:
        """The inputs of the nodes before a link, the nearest first."""
        ahead, seen = [link], set[str]()
        while ahead and len(seen) < DEEPEST:
            number = _number(ahead.pop(0))
            if number is None or number in seen or number not in self.nodes:
                continue
            seen.add(number)
            inputs = _inputs(self.nodes[number])
            yield inputs
            ahead += [value for value in inputs.values() if _number(value) is not None]

    def first(self, link: object, name: str) -> Any:
        """The nearest input of this name that is a value."""
        found = (inputs[name] for inputs in self.back(link) if name in inputs)
        return next((value for value in found if isinstance(value, str | int | float)), None)


def _tagged(known: dict[str, Any], loras: list[tuple[str, Any]]) -> dict[str, Any]:
    """The settings that are there, with LoRAs as tags behind the prompt."""
    tags = " ".join(f"<lora:{_stem(name)}:{weight}>" for name, weight in loras)
    found = {name: value for name, value in known.items() if value is not None}
    if tags:
        found["prompt"] = f"{found.get('prompt', '')} {tags}".strip()
    return found


def _stem(name: str) -> str:
    """A LoRA's name without its folder and suffix."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return next((last.removesuffix(end) for end in _ENDS if last.endswith(end)), last)


def _named(lora: Mapping[str, Any]) -> str:
    """The name in one of InvokeAI's entries for a LoRA, or ""."""
    for key in ("model", "lora"):
        inner = lora.get(key)
        if isinstance(inner, dict):
            return str(inner.get("name", inner.get("model_name", "")))
    return ""


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _class(node: object) -> object:
    return node.get("class_type") if isinstance(node, dict) else None


def _inputs(node: object) -> Mapping[str, Any]:
    found = node.get("inputs") if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: object) -> str | None:
    return str(value[0]) if isinstance(value, list) and len(value) == 2 else None
