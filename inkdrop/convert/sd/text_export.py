"""Text encoders written as folders of `transformers`, or under LDM's names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from inkdrop.conditioning.clip import clip_config, settings_of, theirs
from inkdrop.conditioning.foreign import MERGES, VOCABULARY
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START
from inkdrop.convert.files.layout import CONFIG
from inkdrop.convert.files.settings import write_settings
from inkdrop.convert.sd.clip_words import SIZE, usual_tokenizer
from inkdrop.convert.sd.text import Reading, readings, settings_of_shapes
from inkdrop.convert.sd.text_keys import to_open_clip
from inkdrop.convert.sd.versions import Encoder, version_of
from inkdrop.model import Model
from inkdrop.networks.clip import Clip
from inkdrop.networks.unet import UNet

# The classes of `transformers`, without and with a projection.
CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")


def write_text_folders(model: Model, folder: Path) -> dict[str, Any]:
    """Write text_encoder, tokenizer and second ones into a folder; returns their index entries."""
    if model.text is None:
        return {}
    parts = _parts(model)
    index: dict[str, Any] = {}
    first = 2 if isinstance(model.text, JoinedText) and len(parts) == 1 else 1
    for number, part in enumerate(parts, first):
        end = "" if number == 1 else f"_{number}"
        kind = _write_encoder(part, folder / f"text_encoder{end}")
        _write_tokenizer(part, folder / f"tokenizer{end}")
        index[f"text_encoder{end}"] = ["transformers", kind]
        index[f"tokenizer{end}"] = ["transformers", "CLIPTokenizer"]
    if isinstance(model.text, JoinedText):
        index["force_zeros_for_empty_prompt"] = model.text.zeros
    return index


def single_text(model: Model) -> dict[str, Tensor]:
    """The weights of the text encoders under their full names in a single file.

    ValueError for text encoders that would be read back as others: such a file has no settings.
    """
    if model.text is None:
        return {}
    parts = _parts(model)
    assert isinstance(model.network, UNet)
    version = version_of(model.network.config)
    if version is None or len(version.text) != len(parts):
        raise ValueError(
            f"a single file is for SD 1, SD 2, SDXL or its refiner, but this model, with"
            f" {len(parts)} text encoders, is none of them; export a folder"
        )
    found = dict[str, Tensor]()
    for part, place in zip(parts, version.text, strict=True):
        _check_usual(part, place)
        weights = _weights(_encoder(part))
        named = to_open_clip(weights) if place.open_clip else weights
        found |= {place.prefix + name: value for name, value in named.items()}
    zeros = isinstance(model.text, JoinedText) and model.text.zeros
    if zeros != version.zeros:
        raise ValueError(
            f"the empty prompt is encoded {'as zeros' if zeros else 'like any other'}, but a single"
            f" file of {version.name} implies otherwise; export a folder"
        )
    return found


def _parts(model: Model) -> tuple[Text, ...]:
    """The text encoders, if they are read as U-Nets of this family read them."""
    text = model.text
    parts = text.parts if isinstance(text, JoinedText) else (text,)
    if not all(isinstance(part, Text) for part in parts):
        raise ValueError(
            f"a text that is a {type(text).__name__} cannot be written in these layouts"
        )
    texts = tuple(part for part in parts if isinstance(part, Text))
    if any(part.tokenizer.words for part in texts):
        raise ValueError(
            "the text has words of embeddings, which have no place in these layouts; export the"
            " model without them"
        )
    usual = readings(isinstance(text, JoinedText), len(texts))
    for part, meant in zip(texts, usual, strict=True):
        config = _encoder(part).config
        if Reading(config.layer, config.norm, config.pooled) != meant:
            raise ValueError(
                f"the text's layer is {config.layer}, norm {config.norm}, pooled {config.pooled},"
                f" but these layouts imply {meant.layer}, {meant.norm} and {meant.pooled}"
            )
    return texts


def _encoder(part: Text) -> Clip:
    encoder = part.encoder
    if not isinstance(encoder, Clip):
        raise ValueError("a text encoder that is not CLIP's cannot be written in these layouts")
    if part.padding is None:
        raise ValueError("prompts are not filled up, but these layouts imply that they are")
    return encoder


def _write_encoder(part: Text, folder: Path) -> str:
    """Write config.json and weights of an encoder; returns its class."""
    from safetensors.torch import save_file

    encoder = _encoder(part)
    kind = CLASSES[encoder.config.projection is not None]
    folder.mkdir()
    write_settings(folder / CONFIG, _settings(part, kind))
    save_file(_weights(encoder), folder / "model.safetensors", {"format": "pt"})
    return kind


def _settings(part: Text, kind: str) -> dict[str, Any]:
    """The config.json of an encoder."""
    assert part.padding is not None
    ids = {"bos_token_id": part.tokenizer.frame[0][0], "pad_token_id": part.padding.id}
    settings = dataclasses.asdict(settings_of(_encoder(part).config))
    return {"architectures": [kind], "model_type": "clip_text_model", **ids, **settings}


def _weights(encoder: Clip) -> dict[str, Tensor]:
    """The weights under the names of `transformers`."""
    return {
        theirs(name): value.detach().cpu().contiguous()
        for name, value in encoder.state_dict().items()
    }


def _check_usual(part: Text, place: Encoder) -> None:
    """ValueError for a vocabulary or settings that a single file cannot express."""
    encoder, padding = _encoder(part), part.padding
    assert padding is not None
    activation: Literal["gelu", "quick_gelu"] = "gelu" if place.open_clip else "quick_gelu"
    settings = settings_of_shapes(_weights(encoder), activation, place.prefix)
    means = clip_config(settings, place.prefix, tokenizer=part.tokenizer)
    for name in ("heads", "activation", "eps", "end"):  # all else is in the shapes of weights
        if getattr(encoder.config, name) != getattr(means, name):
            raise ValueError(
                f"{name} of the text encoder is {getattr(encoder.config, name)!r}, but a single"
                f" file implies {getattr(means, name)!r}; export a folder"
            )
    usual = usual_tokenizer()
    if part.tokenizer.backend.get_vocab() != usual.backend.get_vocab():
        raise ValueError(
            f"the tokenizer has {part.tokenizer.size} entries that are not CLIP's own {SIZE}, which"
            " a single file implies; export a folder"
        )
    filled = 0 if place.open_clip else SIZE - 1
    if padding.id != filled or padding.length != means.context:
        raise ValueError(
            f"prompts are filled up to {padding.length} with the token {padding.id}, but a single"
            f" file implies {means.context} with {filled}; export a folder"
        )


def _write_tokenizer(part: Text, folder: Path) -> None:
    """Write vocab.json and merges.txt, which all of `transformers` reads, and what they lack."""
    assert part.padding is not None
    folder.mkdir()
    pairs = json.loads(part.tokenizer.backend.to_str())["model"]
    merges = (" ".join(pair) if isinstance(pair, list) else pair for pair in pairs["merges"])
    lines = ["#version: 0.2", *merges]
    write_settings(folder / VOCABULARY, part.tokenizer.backend.get_vocab())
    (folder / MERGES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {
        "bos_token": CLIP_START,
        "eos_token": CLIP_END,
        "unk_token": CLIP_END,
        "pad_token": part.tokenizer.backend.id_to_token(part.padding.id),
    }
    write_settings(folder / "special_tokens_map.json", special)
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": part.padding.length}
    write_settings(folder / "tokenizer_config.json", {**about, **special})
