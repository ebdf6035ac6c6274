"""Pretrained text encoders, frozen: CLIP, and the T5 and BERT families through `transformers`.

A folder has the format of that library: config.json, safetensors and a tokenizer. Nothing is
downloaded, no code in it is run, and the library is imported with the first encoder that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from inkdrop.conditioning.architectures import (
    ARCHITECTURES,
    CLIPS,
    Architecture,
    complete,
    read_settings,
)
from inkdrop.conditioning.chunks import Padding
from inkdrop.conditioning.clip import build_clip, clip_config, clip_settings
from inkdrop.conditioning.foreign import find_tokenizer
from inkdrop.conditioning.library import quiet, transformers
from inkdrop.conditioning.text import Pooled, Text, TokenEncoder
from inkdrop.conditioning.tokenizer_settings import padded_length, padding_id
from inkdrop.config import choose
from inkdrop.files import must_exist
from inkdrop.shards import read_shards, shard_places
from inkdrop.weights import check_fit, on_meta, read_weights, widest


@dataclass(frozen=True)
class PretrainedConfig:
    """Configuration of a text encoder of `transformers` and of its outputs.

    architecture: a key of `ARCHITECTURES`; settings: the settings listed there
    layer: the layer whose output is used: -1 the last, -2 the one before it ("clip skip" 2)
    norm: whether the final norm, if there is one, is applied to that output
    pooled: what becomes cond.vector: nothing, or the mean token
    ValueError for values that fit no encoder.
    """

    architecture: str
    settings: dict[str, Any]
    layer: int = -1
    norm: bool = True
    pooled: Pooled = "mean"

    def __post_init__(self) -> None:
        kind = self.kind
        if self.layer >= 0:
            raise ValueError(f"layer is {self.layer} but must be -1, the last layer, or below")
        if self.pooled not in get_args(Pooled):
            raise ValueError(
                f"pooled is {self.pooled!r} but must be one of {', '.join(get_args(Pooled))}"
            )
        if self.pooled == "projected":
            raise ValueError(
                f"pooled is 'projected', but {kind.model} has no projection, only CLIP has; use"
                " 'mean' or 'none'"
            )
        if not self.norm and not (kind.final_norm and self.layer < -1):
            raise ValueError(
                f"norm is False at layer {self.layer}, but {kind.model} does not return that layer"
                " without its norm; leave it True"
            )
        kind.check(self.settings)

    @property
    def kind(self) -> Architecture:
        """The entry in `ARCHITECTURES`."""
        return choose("text encoder", self.architecture, ARCHITECTURES)

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        places: int = self.kind.context or self.settings["max_position_embeddings"]
        return places - self.kind.reserved


class Pretrained(nn.Module):
    """A text encoder of `transformers` as a `TokenEncoder`; its weights are frozen."""

    sketch = None

    def __init__(self, config: PretrainedConfig, network: nn.Module) -> None:
        super().__init__()
        self.config, self.network = config, network

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        return self.config.context

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return int(self.config.settings["vocab_size"])

    @property
    def pooled(self) -> Pooled:
        """What becomes cond.vector."""
        return self.config.pooled

    @property
    def width(self) -> int:
        """D of the tokens."""
        return int(cast(Any, self.network).config.hidden_size)

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """The tokens, and None: there is no separate pooled output; see `forward`."""
        return self(ids, mask), None

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [B, L] int64, mask [B, L] bool (True = a real token) -> tokens [B, L, D]."""
        config, last = self.config, self.config.layer == -1
        seen = None if bool(mask.all()) else mask.long()
        said: Any = self.network(ids, attention_mask=seen, output_hidden_states=not last)
        tokens: Tensor = said.last_hidden_state if last else said.hidden_states[config.layer]
        return self._normed(tokens) if config.norm and not last else tokens

    def _normed(self, tokens: Tensor) -> Tensor:
        """The final norm applied to tokens [B, L, D], if there is one."""
        if not self.config.kind.final_norm:
            return tokens
        names = dict(self.network.named_modules())
        norm = next(names[name] for name in names if name.split(".")[-1] == "final_layer_norm")
        out: Tensor = norm(tokens)
        return out


# Prefixes of the weights of larger models that their text encoder does not use.
_OTHERS = (
    "classifier", "cls.", "decoder.", "discriminator_", "generator_", "head.", "lm_head", "pooler.",
    "pre_classifier", "qa_outputs", "vocab_",
)  # fmt: skip


def build_pretrained(
    config: PretrainedConfig,
    weights: Mapping[str, Tensor],
    where: str,
    dtype: torch.dtype | None = torch.float32,
) -> Pretrained:
    """The frozen encoder with these weights, named as in `transformers`.

    where: name of the source, for messages
    dtype: of all weights (None: their own, the widest if there are several)
    ValueError for a weight that is missing or that belongs neither to the encoder nor to another
    part of a larger model, and for settings that fit no network.
    """
    library = transformers("a pretrained text encoder", "text")
    model = config.kind.model
    cls = getattr(library, model)
    try:
        with quiet():
            _check_size(cls, config, weights)
            network, found = cls.from_pretrained(
                None,
                config=cls.config_class(**config.settings),
                state_dict=dict(weights),
                dtype=dtype or widest({value.dtype for value in weights.values()}),
                ignore_mismatched_sizes=True,  # reported in `found` and rejected below
                output_loading_info=True,
            )
    except Exception as error:  # settings that fit no network
        said = " ".join(str(error).split())
        raise ValueError(f"{where} cannot be opened as {model}: {said[:300]}") from None
    if getattr(network, "pooler", None) is not None:
        network.pooler = None  # not used, and often untrained
    _check_found(f"{where}, for {model},", network, weights, found)
    layers = network.config.num_hidden_layers
    if config.layer < -1 - layers:
        raise ValueError(
            f"layer is {config.layer}, but this {model} has {layers} layers; give -1 to"
            f" {-1 - layers}"
        )
    return Pretrained(config, network).eval().requires_grad_(False)


MOST_MADE = 8  # largest ratio of the network's size to the size of the weights in the files


def _check_size(cls: Any, config: PretrainedConfig, weights: Mapping[str, Tensor]) -> None:
    """ValueError, before memory is allocated, for a network far larger than its weights."""
    with on_meta():
        made = sum(p.numel() for p in cls(cls.config_class(**config.settings)).parameters())
    there = sum(value.numel() for value in weights.values())
    if made > MOST_MADE * there:
        raise ValueError(f"its settings give {made} parameters, but there are {there} weights")


def _check_found(
    where: str, network: nn.Module, weights: Mapping[str, Tensor], found: Mapping[str, Any]
) -> None:
    """ValueError unless the library reports that all weights fit."""
    missing = [name for name in found["missing_keys"] if not name.startswith("pooler.")]
    extra = [name for name in found["unexpected_keys"] if not _of_another(name)]
    # The library may have removed the first part of a name.
    given = {name.split(".", cut)[-1]: v for name, v in weights.items() for cut in (0, 1)}
    check_fit(
        where,
        missing=_shapes(missing, network.state_dict()),
        extra=_shapes(extra, given),
        misshapen={name: shape for name, shape, _ in found["mismatched_keys"]},
    )


def _shapes(names: Iterable[str], weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weights[name].shape) if name in weights else () for name in names}


def _of_another(name: str) -> bool:
    return name.startswith(_OTHERS) or name.endswith("position_ids")


def load_pretrained(config: PretrainedConfig, file: Path, dtype: torch.dtype | None) -> Pretrained:
    """The encoder with weights from a safetensors file of a Model folder."""
    return build_pretrained(config, read_weights(file), str(file), dtype)


def open_pretrained(
    folder: str | Path,
    *,
    tokenizer: str | Path | None = None,
    layer: int = -1,
    norm: bool = True,
    pooled: Pooled = "mean",
    padded: bool = False,
) -> Text:
    """The frozen text encoder in a folder written by `transformers`, with its tokenizer.

    tokenizer: its folder (None: the same folder); layer, norm, pooled: see `PretrainedConfig`
    padded: whether chunks are padded to the encoder's context and the denoiser attends to the
        padding, as in Stable Diffusion; see `chunks.tokenize`
    ValueError for a folder without safetensors, a tokenizer or a supported architecture.
    """
    folder = must_exist(folder, "folder")
    words = must_exist(folder if tokenizer is None else tokenizer, "folder")
    name, found = read_settings(folder)
    encoder: TokenEncoder
    if name in CLIPS:
        told = clip_settings(found, str(folder / "config.json"))
        reader = find_tokenizer(words, told.vocab_size)
        clip = clip_config(
            told, str(folder), tokenizer=reader, layer=layer, norm=norm, pooled=pooled
        )
        encoder = build_clip(clip, _weights(folder), str(folder))
    else:
        kind = ARCHITECTURES[name]
        library = transformers("a pretrained text encoder", "text")
        with quiet():
            settings = complete(kind, getattr(library, kind.model).config_class, found, str(folder))
        config = PretrainedConfig(name, settings, layer, norm, pooled)
        encoder = build_pretrained(config, _weights(folder), str(folder))
        reader = find_tokenizer(words, encoder.vocabulary)
    if not padded:
        return Text(reader, encoder)
    padding = Padding(padding_id(words, reader), padded_length(words, encoder.context))
    return Text(reader, encoder, padding)


INDEX = "model.safetensors.index.json"


def _weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder of `transformers`, from one file or from shards."""
    if (folder / INDEX).is_file():
        return read_shards(folder / INDEX, read_weights)
    (file,) = weight_files(folder)
    return read_weights(file)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files in a folder of `transformers`; ValueError if there are none."""
    index = folder / INDEX
    if index.is_file():
        return [folder / name for name in sorted({*shard_places(index).values()})]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1 or (folder / "model.safetensors") in found:
        return found if len(found) == 1 else [folder / "model.safetensors"]
    if found:
        raise ValueError(
            f"{folder} has {len(found)} safetensors files but no {INDEX} that lists them; get the"
            " folder again"
        )
    pickles = sorted(p.name for kind in ("*.bin", "*.pt", "*.ckpt") for p in folder.glob(kind))
    if pickles:
        raise ValueError(
            f"the weights in {folder} are {pickles[0]}, a pickle, which can run code and is not"
            " opened; save them as safetensors"
        )
    raise ValueError(f"there is no model.safetensors in {folder}; get the folder again")
