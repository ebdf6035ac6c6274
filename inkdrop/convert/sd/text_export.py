"""Text encoders of ours in the layouts of others: folders of `transformers`, names of LDM."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from inkdrop.conditioning.clip import clip_config, settings_of, theirs
from inkdrop.conditioning.foreign import CLIP_END, CLIP_START, MERGES, VOCABULARY
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import Text
from inkdrop.convert.files.settings import write_settings
from inkdrop.convert.sd.clip_words import SIZE, usual_tokenizer
from inkdrop.convert.sd.families import family_of
from inkdrop.convert.sd.text import Reading, readings, told_by_shapes
from inkdrop.convert.sd.text_keys import to_open_clip
from inkdrop.model import Model
from inkdrop.networks.clip import Clip
from inkdrop.networks.unet import UNet

# Where single files of a family have their text encoders, and whether by OpenCLIP's names.
PLACES = {
    "sd1": (("cond_stage_model.transformer.", False),),
    "sd2": (("cond_stage_model.model.", True),),
    "sdxl": (
        ("conditioner.embedders.0.transformer.", False),
        ("conditioner.embedders.1.model.", True),
    ),
    "sdxl refiner": (("conditioner.embedders.0.model.", True),),
}
# The classes of `transformers`, without and with a projection.
CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")


def write_text_folders(model: Model, folder: Path) -> dict[str, Any]:
    """text_encoder, tokenizer and their second ones into a folder; what model_index.json says."""
    from safetensors.torch import save_file

    if model.text is None:
        return {}
    parts = _parts(model)
    index: dict[str, Any] = {}
    first = 2 if isinstance(model.text, JoinedText) and len(parts) == 1 else 1
    for number, part in enumerate(parts, first):
        end = "" if number == 1 else f"_{number}"
        encoder = _encoder(part)
        (folder / f"text_encoder{end}").mkdir()
        (folder / f"tokenizer{end}").mkdir()
        kind = CLASSES[encoder.config.projection is not None]
        write_settings(folder / f"text_encoder{end}" / "config.json", _settings(part, kind))
        weights = _weights(encoder)
        save_file(weights, folder / f"text_encoder{end}" / "model.safetensors", {"format": "pt"})
        _write_tokenizer(part, folder / f"tokenizer{end}")
        index[f"text_encoder{end}"] = ["transformers", kind]
        index[f"tokenizer{end}"] = ["transformers", "CLIPTokenizer"]
    if isinstance(model.text, JoinedText):
        index["force_zeros_for_empty_prompt"] = model.text.zeros
    return index


def single_text(model: Model) -> dict[str, Tensor]:
    """The weights of the text encoders under their whole names in a single file.

    ValueError for a text that would be another when it is read from such a file.
    """
    if model.text is None:
        return {}
    parts = _parts(model)
    assert isinstance(model.network, UNet)
    family = family_of(model.network.config)
    assert family is not None  # `single_weights` refuses others
    found = dict[str, Tensor]()
    for part, (prefix, open_clip) in zip(parts, PLACES[family.name], strict=True):
        _check_usual(part, prefix, open_clip)
        weights = _weights(_encoder(part))
        named = to_open_clip(weights) if open_clip else weights
        found |= {prefix + name: value for name, value in named.items()}
    zeros = isinstance(model.text, JoinedText) and model.text.zeros
    if zeros != (family.name == "sdxl"):
        raise ValueError(
            f"the empty prompt says {'zeros' if zeros else 'what its encoder does'}, but a single"
            f" file of {family.name} means otherwise; export a folder"
        )
    return found


def _parts(model: Model) -> tuple[Text, ...]:
    """The texts, if they are read as the denoiser's family reads them."""
    text = model.text
    parts = text.parts if isinstance(text, JoinedText) else (text,)
    if not all(isinstance(part, Text) for part in parts):
        raise ValueError(f"a text that is a {type(text).__name__} has no place in these layouts")
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
                f" but these layouts mean {meant.layer}, {meant.norm} and {meant.pooled}"
            )
    return texts


def _encoder(part: Text) -> Clip:
    encoder = part.encoder
    if not isinstance(encoder, Clip):
        raise ValueError("a text encoder that is not CLIP's has no place in these layouts")
    if part.padding is None:
        raise ValueError("prompts are not filled up, but these layouts mean that they are")
    return encoder


def _settings(part: Text, kind: str) -> dict[str, Any]:
    """A config.json."""
    assert part.padding is not None
    ids = {"bos_token_id": part.tokenizer.frame[0][0], "pad_token_id": part.padding.id}
    told = dataclasses.asdict(settings_of(_encoder(part).config))
    return {"architectures": [kind], "model_type": "clip_text_model", **ids, **told}


def _weights(encoder: Clip) -> dict[str, Tensor]:
    """By the names of `transformers`."""
    return {
        theirs(name): value.detach().cpu().contiguous()
        for name, value in encoder.state_dict().items()
    }


def _check_usual(part: Text, prefix: str, open_clip: bool) -> None:
    """ValueError for words or settings that a single file cannot say."""
    encoder, padding = _encoder(part), part.padding
    assert padding is not None
    told = told_by_shapes(_weights(encoder), "gelu" if open_clip else "quick_gelu", prefix)
    means = clip_config(told, prefix, tokenizer=part.tokenizer)
    for name in ("heads", "activation", "eps", "end"):  # all else is in the shapes of weights
        if getattr(encoder.config, name) != getattr(means, name):
            raise ValueError(
                f"{name} of the text encoder is {getattr(encoder.config, name)!r}, but a single"
                f" file means {getattr(means, name)!r}; export a folder"
            )
    usual = usual_tokenizer()
    if part.tokenizer.backend.get_vocab() != usual.backend.get_vocab():
        raise ValueError(
            f"the tokenizer has {part.tokenizer.size} entries that are not CLIP's own {SIZE}, which"
            " a single file means; export a folder"
        )
    filled = 0 if open_clip else SIZE - 1
    if padding.id != filled or padding.length != means.context:
        raise ValueError(
            f"prompts are filled up to {padding.length} with the token {padding.id}, but a single"
            f" file means {means.context} with {filled}; export a folder"
        )


def _write_tokenizer(part: Text, folder: Path) -> None:
    """vocab.json and merges.txt, which every version of the library reads, and what they lack."""
    assert part.padding is not None
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
