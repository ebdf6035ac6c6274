"""The text encoders of a foreign checkpoint with their tokenizers, as its U-Net reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from inkdrop.conditioning.architectures import CLIPS
from inkdrop.conditioning.architectures import read_settings as read_architecture
from inkdrop.conditioning.chunks import Padding
from inkdrop.conditioning.clip import (
    LAYER,
    PROJECTION,
    ClipSettings,
    build_clip,
    clip_config,
    clip_settings,
    longer,
)
from inkdrop.conditioning.foreign import find_tokenizer
from inkdrop.conditioning.joined import WAVES, JoinedText
from inkdrop.conditioning.text import Pooled, Text, TextConditioner
from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.conditioning.tokenizer_settings import padded_length, padding_id
from inkdrop.convert.files.fill import check_floats
from inkdrop.convert.files.layout import INDEX
from inkdrop.convert.files.report import PartReport
from inkdrop.convert.files.settings import read_settings
from inkdrop.convert.files.stored import Weights, types_of
from inkdrop.convert.sd.clip_words import SIZE, usual_tokenizer
from inkdrop.convert.sd.foreign import Foreign, TextPart
from inkdrop.convert.sd.text_keys import OPEN_CLIP, UNUSED, from_open_clip
from inkdrop.convert.sd.versions import HEAD_CHANNELS, VERSIONS
from inkdrop.networks.clip import Clip

# The layers of OpenCLIP's ViT-H. Stable Diffusion 2 reads the last but one, where folders end.
WHOLE = 24


@dataclass(frozen=True)
class Reading:
    """What a U-Net reads of an encoder; see `ClipConfig`."""

    layer: int
    norm: bool
    pooled: Pooled


PLAIN = Reading(-1, True, "none")
BESIDE = Reading(-2, False, "none")
LAST = Reading(-2, False, "projected")


@dataclass(frozen=True)
class Found:
    """A CLIP text encoder as it was found, its weights under the names of `transformers`.

    padding: the token that fills prompts up, and to which length
    left: weights that its U-Net does not read, and why
    """

    settings: ClipSettings
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    padding: Padding
    left: Mapping[str, str]


def to_text(
    foreign: Foreign, *, dtype: torch.dtype | None = None
) -> tuple[TextConditioner, tuple[PartReport, ...]]:
    """The text encoders of a checkpoint, frozen, and the reports of their weights.

    dtype: of the encoders' weights; None: what they are stored in
    ValueError for encoders or tokenizers that are missing, or that the U-Net does not read.
    """
    parts = [part for part in foreign.text.values() if part.weights]
    width = None if foreign.unet is None else foreign.unet.config.vector_dim
    _check_whole(foreign, len(parts))
    read = zip(parts, readings(width is not None, len(parts)), strict=True)
    built = [_built(foreign, part, reading, dtype) for part, reading in read]
    texts, reports = tuple(text for text, _ in built), tuple(report for _, report in built)
    if width is None:
        return texts[0], reports
    return JoinedText(texts, _sizes(foreign, texts[-1], width), zeros=_zeros(foreign)), reports


def readings(vector: bool, count: int) -> tuple[Reading, ...]:
    """What a U-Net with or without a vector reads of each of its `count` encoders."""
    return (*(BESIDE for _ in range(count - 1)), LAST) if vector else (PLAIN,)


def _check_whole(foreign: Foreign, found: int) -> None:
    """ValueError if text encoders are missing, or if there are more than the U-Net reads."""
    assert foreign.unet is not None
    config, path = foreign.unet.config, foreign.path
    if not found:
        raise ValueError(
            f"{path} has no text encoder, so it cannot read a prompt; get the whole model"
        )
    most = 1 if config.vector_dim is None else 2
    if found > most:
        raise ValueError(f"{path} has {found} text encoders, but its denoiser reads {most}")


def _sizes(foreign: Foreign, text: Text, width: int) -> tuple[float, ...]:
    """The numbers beside words that a U-Net with a vector of this width reads.

    ValueError for a width that neither SDXL nor its refiner leaves for them.
    """
    assert isinstance(text.encoder, Clip) and text.encoder.config.projection is not None
    pooled = text.encoder.config.projection
    for version in VERSIONS:
        if version.vector and width == pooled + WAVES * len(version.sizes):
            return version.sizes
    raise ValueError(
        f"{foreign.path} has a denoiser that reads a vector of {width}, but its text encoder's"
        f" projection has {pooled}, beside which 5 or 6 sizes of {WAVES} numbers are read"
    )


def _zeros(foreign: Foreign) -> bool:
    """True if a model was trained with zeros for the empty prompt, as SDXL was."""
    usual = foreign.version is not None and foreign.version.zeros
    if foreign.layout != "folder":
        return usual
    index = read_settings(foreign.path / INDEX)
    return bool(index.get("force_zeros_for_empty_prompt", usual))


def _built(
    foreign: Foreign, part: TextPart, reading: Reading, dtype: torch.dtype | None
) -> tuple[Text, PartReport]:
    """One encoder with its tokenizer."""
    where = f"{foreign.path}, {part.name}"
    check_floats(where, {n: v for n, v in part.weights.items() if not n.endswith("position_ids")})
    found = _of_folder(foreign, part) if part.folder is not None else _of_single(part, where)
    config = clip_config(
        found.settings,
        where,
        tokenizer=found.tokenizer,
        layer=reading.layer,
        norm=reading.norm,
        pooled=reading.pooled,
    )
    encoder = build_clip(config, found.weights, where, dtype)
    text = Text(found.tokenizer, encoder, found.padding)
    return text, _report(part.name, found)


def _report(name: str, found: Found) -> PartReport:
    numbers = sum(prod(value.shape) for value in found.weights.values())
    return PartReport(
        name, len(found.weights), numbers, types_of(found.weights.values()), left=found.left
    )


def _of_folder(foreign: Foreign, part: TextPart) -> Found:
    """An encoder with settings, and the tokenizer beside it."""
    assert part.folder is not None
    name = part.name.replace("text_encoder", "tokenizer")
    if name not in foreign.text:
        raise ValueError(f"{foreign.path} has {part.name} but no {name}; get the whole model")
    folder = foreign.path / name
    kind, config = read_architecture(part.folder)
    if kind not in CLIPS:
        raise ValueError(
            f"{part.folder} is a {kind}, but the text encoders of Stable Diffusion are CLIP's"
        )
    settings = clip_settings(config, str(part.folder / "config.json"))
    weights = _read(part.weights)
    tokenizer = find_tokenizer(folder, settings.vocab_size)
    length = padded_length(folder, settings.max_position_embeddings)
    return Found(settings, weights, tokenizer, Padding(padding_id(folder, tokenizer), length), {})


def _of_single(part: TextPart, where: str) -> Found:
    """An encoder of a single file, whose settings and vocabulary are CLIP's own."""
    if not any(name.startswith(OPEN_CLIP) for name in part.weights):
        weights = _read(part.weights)
        return _usual(settings_of_shapes(weights, "quick_gelu", where), weights, SIZE - 1, {})
    weights = from_open_clip({name: value.read() for name, value in part.weights.items()})
    left = {name: "used only in training" for name in UNUSED if name in part.weights}
    if part.name.startswith("cond_stage_model"):
        weights, more = _without_last(weights)
        left |= more
    return _usual(settings_of_shapes(weights, "gelu", where), weights, 0, left)


def _usual(
    settings: ClipSettings, weights: dict[str, Tensor], end: int, left: Mapping[str, str]
) -> Found:
    """An encoder with CLIP's own vocabulary; end: the token that fills prompts up."""
    padding = Padding(end, settings.max_position_embeddings)
    return Found(settings, weights, usual_tokenizer(), padding, left)


def _read(weights: Weights) -> dict[str, Tensor]:
    return longer({name: value.read() for name, value in weights.items()})


def _without_last(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What Stable Diffusion 2 reads of a whole OpenCLIP; files made from folders end there."""
    last = _layers(weights) - 1
    projection = f"{PROJECTION}.weight"
    if projection not in weights and last + 1 != WHOLE:
        return weights, {}
    lost = [n for n in weights if n.startswith(f"{LAYER}{last}.") or n == projection]
    kept = {name: value for name, value in weights.items() if name not in lost}
    return kept, {f"its last layer, {len(lost)} weights": "not read by this model"}


def _layers(weights: Mapping[str, Tensor]) -> int:
    numbers = {n.removeprefix(LAYER).split(".")[0] for n in weights if n.startswith(LAYER)}
    return len(numbers)


def settings_of_shapes(
    weights: Mapping[str, Tensor], activation: Literal["quick_gelu", "gelu"], where: str
) -> ClipSettings:
    """The settings of a CLIP from the shapes of its weights; heads have 64 channels."""

    def sizes(name: str) -> torch.Size:
        if name not in weights or weights[name].ndim != 2:
            raise ValueError(f"{where} has no {name} of two axes; it is not CLIP's text encoder")
        return weights[name].shape

    vocabulary, width = sizes("text_model.embeddings.token_embedding.weight")
    places, _ = sizes("text_model.embeddings.position_embedding.weight")
    inner, _ = sizes(f"{LAYER}0.mlp.fc1.weight")
    projection = weights.get(f"{PROJECTION}.weight")
    return ClipSettings(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=_layers(weights),
        num_attention_heads=max(1, width // HEAD_CHANNELS),
        max_position_embeddings=places,
        hidden_act=activation,
        projection_dim=width if projection is None else projection.shape[0],
        eos_token_id=vocabulary - 1,
    )
