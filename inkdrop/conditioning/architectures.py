"""The supported text encoders of `transformers`, in one explicit table with their settings.

Only this table decides which class is built, and only the settings listed here are taken from a
folder's config.json, so a file cannot bring in code. They are the settings that determine what a
trained network computes, in every version of the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdrop.config import nearest, short
from inkdrop.weights import read_json

# The names of the setting for the number of layers, and a limit far above any encoder's.
LAYERS = ("num_hidden_layers", "num_layers", "n_layers")
MOST_LAYERS = 256


@dataclass(frozen=True)
class Architecture:
    """One family of text encoders.

    model: its class in `transformers`
    family: prefix of the names of all classes whose weights contain such an encoder
    settings: the settings that are kept
    final_norm: whether a norm called final_layer_norm follows the layers; it is applied to the
        output of any layer
    context: the longest sequence, in tokens (None: the number of positions less `reserved`)
    reserved: positions that are never used, such as RoBERTa's for padding
    """

    model: str
    family: str
    settings: tuple[str, ...]
    final_norm: bool = False
    context: int | None = None
    reserved: int = 0

    def check(self, settings: Mapping[str, Any]) -> None:
        """ValueError for a setting that is not listed, absurd or missing."""
        for name in settings:
            if name not in self.settings:
                raise ValueError(
                    f"the settings of {self.model} have an unknown key {name!r}."
                    f"{nearest(name, self.settings)}"
                )
        for name in LAYERS:
            if not 0 <= settings.get(name, 1) <= MOST_LAYERS:
                raise ValueError(
                    f"{name} is {settings[name]} in the settings of {self.model} but must be from"
                    f" 0 to {MOST_LAYERS}"
                )
        places = () if self.context else ("max_position_embeddings",)
        for name in ("vocab_size", *places):
            if not isinstance(settings.get(name), int):
                raise ValueError(
                    f"{name} is {settings.get(name)!r} in the settings of {self.model} but must be"
                    " an integer"
                )


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
    # Its positions are relative, so any length works, but it was trained on 512 tokens.
    return Architecture(f"{family}EncoderModel", family, settings, final_norm=True, context=512)


def _bert(family: str, settings: tuple[str, ...] = _BERT, reserved: int = 0) -> Architecture:
    return Architecture(f"{family}Model", family, settings, reserved=reserved)


ARCHITECTURES: dict[str, Architecture] = {  # by model_type in config.json
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


# Settings with another value than this change what an encoder computes, and are not followed.
_FIXED = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}

# CLIP is implemented here (networks/clip.py).
CLIPS = ("clip", "clip_text_model")
FAMILIES = dict.fromkeys(CLIPS, "CLIP") | {n: kind.family for n, kind in ARCHITECTURES.items()}


def read_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """The architecture's name and the unfiltered settings in a folder's config.json.

    For a complete CLIP they are those of its text encoder. ValueError for an architecture that is
    not in the table, or a key that could load code.
    """
    file = folder / "config.json"
    data = read_json(file)
    name = str(data.get("model_type", ""))
    if name not in FAMILIES:
        raise ValueError(
            f"model_type is {short(name)} in {file}; the supported text encoders are"
            f" {', '.join(sorted(FAMILIES))}.{nearest(name, FAMILIES)}"
        )
    family = FAMILIES[name]
    for key in ("auto_map", "quantization_config"):
        if key in data:
            raise ValueError(
                f"{file} has {key!r}, which needs custom code or quantized weights; neither is"
                " supported, so get the plain text encoder"
            )
    for key, value in _FIXED.items():
        if data.get(key, value) not in (value, None):
            raise ValueError(
                f"{file} has {key} {data[key]!r}, which is not supported; it must be {value!r}"
            )
    classes = data.get("architectures") or []
    if not isinstance(classes, list):
        raise ValueError(f"{file} has architectures {short(classes)}; it must be a list of names")
    for found in (data.get("_class_name", family), *classes):
        if not str(found).startswith(family):
            raise ValueError(
                f"{file} names the class {short(found)}, which is not a {family}; correct one of"
                " them"
            )
    return name, _text_side(data, file) if "text_config" in data else data


def _text_side(data: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The text part of a complete CLIP's settings; its projection has the width of the image's."""
    text = data["text_config"]
    if not isinstance(text, dict):
        raise ValueError(
            f"text_config is {short(text)} in {file} but must be an object of settings"
        )
    return {**text, "projection_dim": data.get("projection_dim", text.get("projection_dim", 512))}


def complete(
    kind: Architecture, cls: Any, settings: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The settings that are kept, completed with the defaults of the configuration class `cls`.

    Other settings, for training or text generation, are dropped. ValueError for a value that the
    class rejects.
    """
    try:
        whole = cls.from_dict(dict(settings))  # also accepts the names of older versions
    except Exception as error:  # the library raises many types
        said = " ".join(str(error).split())
        raise ValueError(f"{where} has settings that {cls.__name__} rejects: {said}") from None
    values: dict[str, Any] = whole.to_dict()
    return {name: values[name] for name in kind.settings if name in values}
