"""The text encoders of `transformers` that are read here: one explicit table, and their settings.

A class is chosen by this table alone, and of a folder's config.json only the settings listed here
are kept, so nothing in a file can bring in code. They are those that decide what a trained network
computes, in every version of the library alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdrop.config import nearest
from inkdrop.weights import read_json

# What settings call the number of layers, and more than any encoder has.
LAYERS = ("num_hidden_layers", "num_layers", "n_layers")
MOST_LAYERS = 256


@dataclass(frozen=True)
class Architecture:
    """One family of text encoders.

    model: the class of `transformers`
    family: what the names of all classes begin with whose weights have such an encoder in them
    settings: of its configuration, those that are kept
    final_norm: whether a norm called final_layer_norm follows the layers; it suits any of them
    context: the longest sequence; None: as many as it has places, `reserved` of them for nothing
    """

    model: str
    family: str
    settings: tuple[str, ...]
    final_norm: bool = False
    context: int | None = None
    reserved: int = 0

    def check(self, settings: Mapping[str, Any]) -> None:
        """ValueError for a setting that is not listed, and for one that must be there."""
        for name in settings:
            if name not in self.settings:
                raise ValueError(
                    f"the settings of {self.model} have an unknown key {name!r}."
                    f"{nearest(name, self.settings)}"
                )
        for name in LAYERS:
            if not 0 <= settings.get(name, 1) <= MOST_LAYERS:
                raise ValueError(
                    f"the settings of {self.model} say {name} {settings[name]}: 0 to {MOST_LAYERS}"
                    " is sane"
                )
        places = () if self.context else ("max_position_embeddings",)
        for name in ("vocab_size", *places):
            if not isinstance(settings.get(name), int):
                raise ValueError(f"the settings of {self.model} must say {name}, a whole number")


_COMMON = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "pad_token_id",
)  # fmt: skip
_BERT = (*_COMMON, "hidden_act", "layer_norm_eps", "type_vocab_size")


def _t5(family: str) -> Architecture:
    settings = (
        "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "feed_forward_proj",
        "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon",
        "pad_token_id",
    )  # fmt: skip
    # Its places are relative, so that any length goes; it was trained on 512.
    return Architecture(f"{family}EncoderModel", family, settings, final_norm=True, context=512)


def _bert(family: str, settings: tuple[str, ...] = _BERT, reserved: int = 0) -> Architecture:
    return Architecture(f"{family}Model", family, settings, reserved=reserved)


ARCHITECTURES: dict[str, Architecture] = {  # by what config.json calls model_type
    "t5": _t5("T5"),
    "mt5": _t5("MT5"),
    "umt5": _t5("UMT5"),
    "bert": _bert("Bert"),
    "distilbert": _bert(
        "DistilBert",
        (
            "vocab_size", "dim", "hidden_dim", "n_layers", "n_heads", "max_position_embeddings",
            "pad_token_id", "activation", "sinusoidal_pos_embds",
        ),
    ),
    "electra": _bert("Electra", (*_BERT, "embedding_size")),
    "modernbert": _bert(
        "ModernBert",
        (
            *_COMMON, "hidden_activation", "norm_eps", "norm_bias", "attention_bias", "mlp_bias",
            "layer_types", "rope_parameters", "local_attention",
        ),
    ),
    "mpnet": _bert("MPNet", (*_BERT, "relative_attention_num_buckets"), reserved=2),
    "roberta": _bert("Roberta", reserved=2),
    "xlm-roberta": _bert("XLMRoberta", reserved=2),
}  # fmt: skip


# CLIP's are networks of our own (networks/clip.py).
CLIPS = ("clip", "clip_text_model")
FAMILIES = dict.fromkeys(CLIPS, "CLIP") | {n: kind.family for n, kind in ARCHITECTURES.items()}


def read_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """The architecture's name in a folder's config.json, and its settings as they stand there.

    A whole CLIP gives those of its text side. ValueError for an architecture that is not in the
    table, and for what could load code.
    """
    file = folder / "config.json"
    data = read_json(file)
    name = str(data.get("model_type", ""))
    if name not in FAMILIES:
        raise ValueError(
            f"{file} has the model_type {name!r}; text encoders are read of"
            f" {', '.join(sorted(FAMILIES))}.{nearest(name, FAMILIES)}"
        )
    family = FAMILIES[name]
    for key in ("auto_map", "quantization_config"):
        if key in data:
            raise ValueError(
                f"{file} has {key!r}: it asks for code or for packed weights; plain text encoders"
                " of transformers have neither"
            )
    for found in (data.get("_class_name", family), *(data.get("architectures") or ())):
        if not str(found).startswith(family):
            raise ValueError(f"{file} names the class {found!r}, which is no {family}; mend it")
    return name, _text_side(data, file) if "text_config" in data else data


def _text_side(data: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The text side of a whole CLIP's settings; its projection is as wide as the picture's."""
    text = data["text_config"]
    if not isinstance(text, dict):
        raise ValueError(f"{file} must hold settings in text_config, not {text!r}")
    return {**text, "projection_dim": data.get("projection_dim", text.get("projection_dim", 512))}


def complete(
    kind: Architecture, cls: Any, settings: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The settings that are kept, with the defaults of the configuration class `cls`.

    Files of others also hold how it was trained, and how it writes if it can; that is left out.
    ValueError for a value that the class refuses.
    """
    try:
        whole = cls.from_dict(dict(settings))  # which knows the names of older versions
    except Exception as error:  # the library has many
        said = " ".join(str(error).split())
        raise ValueError(f"{where} has settings that {cls.__name__} refuses: {said}") from None
    values: dict[str, Any] = whole.to_dict()
    return {name: values[name] for name in kind.settings if name in values}
