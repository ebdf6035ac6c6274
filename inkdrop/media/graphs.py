"""Settings of ComfyUI, which writes the graph of its nodes into a PNG as JSON (`prompt`).

From the node that samples, its inputs are followed back. What is understood gets our names, and
LoRAs become tags in the prompt, such as <lora:boat:0.8>.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 30  # nodes that are followed back
_SAMPLERS = ("KSampler", "KSamplerAdvanced")
_ENDS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def from_comfy(text: str) -> dict[str, Any] | None:
    """The settings in ComfyUI's graph; None if it is no graph that samples."""
    nodes = json_object(text)
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
    return tagged(known, loras)


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


def tagged(known: dict[str, Any], loras: list[tuple[str, Any]]) -> dict[str, Any]:
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


def json_object(text: str) -> dict[str, Any] | None:
    """The object that a text is as JSON; None if it is none."""
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
