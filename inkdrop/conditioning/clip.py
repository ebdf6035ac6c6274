"""CLIP text encoders in the format of `transformers`: settings, and a table of weight names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from inkdrop.conditioning.text import Pooled
from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.config import parse
from inkdrop.networks.clip import Clip, ClipConfig
from inkdrop.weights import check_same, on_meta, put_weights

# Parts of weight names, ours and theirs. Newer files omit the prefix `WITHIN`.
WITHIN, PROJECTION = "text_model.", "text_projection"
LAYER = f"{WITHIN}encoder.layers."
PAIRS = (
    ("layers.", LAYER),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attention.q.", ".self_attn.q_proj."),
    (".attention.k.", ".self_attn.k_proj."),
    (".attention.v.", ".self_attn.v_proj."),
    (".attention.out.", ".self_attn.out_proj."),
    (".first.", ".mlp.fc1."),
    (".second.", ".mlp.fc2."),
)
# Names of weights outside the layers.
PLACES = {
    "embedding.weight": f"{WITHIN}embeddings.token_embedding.weight",
    "place": f"{WITHIN}embeddings.position_embedding.weight",
    "norm.weight": f"{WITHIN}final_layer_norm.weight",
    "norm.bias": f"{WITHIN}final_layer_norm.bias",
    "project.weight": f"{PROJECTION}.weight",
}
# Prefixes of the weights of a complete CLIP that its text encoder does not use.
_OTHERS = ("logit_scale", f"{PROJECTION}.", "vision_model.", "visual_projection.")


@dataclass(frozen=True)
class ClipSettings:
    """The settings in config.json that determine what a trained CLIP computes, with defaults."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    eos_token_id: int = 49407


def clip_settings(told: Mapping[str, Any], where: str) -> ClipSettings:
    """The relevant settings from the content of a config.json.

    Other settings, for training or text generation, are dropped. ValueError for a value of the
    wrong type; where: the file's name, for the message.
    """
    names = [field.name for field in dataclasses.fields(ClipSettings)]
    return parse(ClipSettings, {name: told[name] for name in names if name in told}, where)


def clip_config(
    settings: ClipSettings,
    where: str,
    *,
    tokenizer: Tokenizer,
    layer: int = -1,
    norm: bool = True,
    pooled: Pooled = "none",
) -> ClipConfig:
    """The configuration for these settings; layer, norm, pooled: see `ClipConfig`.

    ValueError, which begins with `where`, for settings that fit no CLIP.
    """
    end = settings.eos_token_id
    if end == 2:
        # Old config.json files give 2 for every CLIP, which is wrong: take the tokenizer's
        # end-of-text token.
        end = (*tokenizer.frame[1], settings.vocab_size - 1)[0]
    try:
        return ClipConfig(
            vocabulary=settings.vocab_size,
            end=end,
            width=settings.hidden_size,
            inner=settings.intermediate_size,
            layers=settings.num_hidden_layers,
            heads=settings.num_attention_heads,
            context=settings.max_position_embeddings,
            activation=settings.hidden_act,
            eps=settings.layer_norm_eps,
            layer=layer,
            norm=norm,
            pooled=pooled,
            projection=settings.projection_dim if pooled == "projected" else None,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def settings_of(config: ClipConfig) -> ClipSettings:
    """The inverse of `clip_config`."""
    return ClipSettings(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.inner,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.context,
        hidden_act=config.activation,
        layer_norm_eps=config.eps,
        projection_dim=config.projection or config.width,
        eos_token_id=config.end,
    )


def theirs(name: str) -> str:
    """The name of our weight `name` in their files."""
    if name in PLACES:
        return PLACES[name]
    for ours, other in PAIRS:
        name = name.replace(ours, other)
    return name


def longer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's weights by their names with prefix, without the buffer of position ids."""
    whole = any(name.startswith(WITHIN) for name in weights)
    return {
        name if whole or name.startswith(_OTHERS) else WITHIN + name: value
        for name, value in weights.items()
        if not name.endswith("position_ids")
    }


def build_clip(
    config: ClipConfig,
    weights: Mapping[str, Tensor],
    where: str,
    dtype: torch.dtype | None = torch.float32,
) -> Clip:
    """The frozen encoder with these weights, named as in their files.

    where: name of the source, for messages
    dtype: of all weights (None: their own, the widest if there are several)
    ValueError for a weight that is missing, has another shape, or belongs neither to the text
    encoder nor to another part of a complete CLIP.
    """
    with on_meta():
        network = Clip(config)
    wanted = {theirs(name): (name, value.shape) for name, value in network.state_dict().items()}
    given = {
        name: value
        for name, value in longer(weights).items()
        if name in wanted or not name.startswith(_OTHERS)
    }
    check_same(where, {name: shape for name, (_, shape) in wanted.items()}, given)
    return put_weights(network, {ours: given[name] for name, (ours, _) in wanted.items()}, dtype)
