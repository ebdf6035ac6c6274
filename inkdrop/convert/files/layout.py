"""What a path holds: a folder of diffusers, a single file, an adapter, one of ours, or no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from inkdrop.weights import read_json

Layout = Literal["inkdrop", "folder", "part", "single", "lora", "embedding", "control"]

CONTROL_CLASS = "ControlNetModel"
CONTROL = r"control_model\.|controlnet_|input_hint_block\."

# What the names in a file begin with or hold, and what the file then is; the first that fits.
MARKS: tuple[tuple[str, Layout], ...] = (
    (r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.|conditioner\.", "single"),
    (r"(.*\.)?(lora_(up|down|A|B)|lora\.(up|down))\.|lora_(unet|te\d?)_|.*\.hada_w\d", "lora"),
    (r".*[._]lora(_linear_layer)?\.(up|down)\.|(unet|text_encoder(_2)?):\d+:(up|down)$", "lora"),
    (r"emb_params$|string_to_param|clip_[lg]$|<.*>$", "embedding"),
    (CONTROL, "control"),
    (r"(encoder|decoder)\.(conv_in|down|up|mid)\.", "single"),
    (r"(encoder\.|decoder\.)?\d+\.(conv\.\d\.)?(weight|bias)$", "single"),
)

# The file that says what a folder holds; the first that is there.
FOLDERS: dict[str, Layout] = {
    "model.json": "inkdrop",
    "model_index.json": "folder",
    "config.json": "part",
    "adapter_config.json": "lora",
    "pytorch_lora_weights.safetensors": "lora",
    # Of PEFT, a folder for each part.
    "unet/adapter_config.json": "lora",
    "text_encoder/adapter_config.json": "lora",
    "text_encoder_2/adapter_config.json": "lora",
}

ADAPTERS = {
    "lora": "a LoRA, which changes a model and is none by itself",
    "embedding": "an embedding for a text encoder, which is no model by itself",
    "control": "a control network, which guides a model and is none by itself (--control takes it)",
}


def marked(folder: Path) -> Layout | None:
    """What a folder holds, by the file that says it; None if none does."""
    return next((what for name, what in FOLDERS.items() if (folder / name).is_file()), None)


def is_control_folder(folder: Path) -> bool:
    """True for a folder of diffusers of a control network, of whatever class."""
    if marked(folder) != "part":
        return False
    name = read_json(folder / "config.json").get("_class_name")
    return isinstance(name, str) and name.startswith(CONTROL_CLASS.removesuffix("Model"))


def layout_of_folder(folder: Path) -> Layout:
    """What a folder holds, by its files; ValueError if it is no model."""
    layout = marked(folder)
    if layout is not None:
        return layout
    weights = sorted(file.name for file in folder.glob("*.safetensors"))
    inside = f"; give one of its files: {', '.join(weights[:10])}" if weights else ""
    raise ValueError(
        f"{folder} is not a model: it has no model.json, model_index.json or config.json{inside}"
    )


def holds_control(names: Iterable[str]) -> bool:
    """True for the names of a control network's weights, with or without a model beside."""
    return any(re.match(CONTROL, name) for name in names)


def layout_of_names(names: Iterable[str], where: str) -> Layout:
    """What a file holds, by the names of its weights; ValueError if it is no model."""
    names = list(names)
    for pattern, layout in MARKS:
        if any(re.match(pattern, name) for name in names):
            return layout
    if any(re.match(r"(down_blocks|conv_in|text_model|encoder)\.", name) for name in names):
        raise ValueError(
            f"{where} is one part of a diffusers folder; give the folder, whose config.json says"
            " its shape"
        )
    found = ", ".join(names[:10]) or "nothing"
    raise ValueError(f"{where} is not a model that is read here; its weights are {found}")
