"""The strength of a pair by PEFT's settings, beside the weights or in a file's header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inkdrop.convert.files.settings import read_settings
from inkdrop.weights import parsed_json

HEADER = "lora_adapter_metadata"  # of files that diffusers wrote
CONFIG = "adapter_config.json"
# Settings that change what a pair means, and the values of each that leave it plain.
PLAIN_VALUES: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "layer_replication": (None,),
    "modules_to_save": (None, []),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    # The others change the model's own weights before training begins.
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    **dict.fromkeys(
        ("arrow_config", "kasa_config", "monteclora_config", "velora_config", "megatron_config"),
        (None, {}),
    ),
}
# Of PEFT, for an adapter_config.json without one.
USUAL_ALPHA = 8


@dataclass(frozen=True)
class Strength:
    """The factor of a pair of rank r: alpha / r, or alpha / sqrt(r) if rank-stabilised.

    alpha: None: equal to the rank; patterns: suffixes of layers with an alpha of their own
    """

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    stabilised: bool = False

    def of(self, layer: str, rank: int) -> float:
        """The factor for a layer by its name in PEFT."""
        alpha = self.alpha
        for end, own in self.patterns.items():
            if re.fullmatch(rf"(.*\.)?({end})", layer):
                alpha = own
                break
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.stabilised else rank)


AS_RANK = Strength()


def strength(settings: Mapping[str, Any], where: str) -> Strength:
    """The strength by PEFT's settings; ValueError for a setting that is not read here."""
    for name, plain in PLAIN_VALUES.items():
        if settings.get(name) not in plain:
            raise ValueError(
                f"{where} has {name} = {settings[name]!r}, which is not read here; plain LoRAs"
                f" have {plain[0]!r}"
            )
    for name, value in settings.items():
        if name.startswith("use_") and name not in ("use_rslora", *PLAIN_VALUES) and value:
            raise ValueError(f"{where} has {name} = {value!r}, a variant that is not read here")
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ValueError(f"{where} must map layers to numbers in alpha_pattern")
    for end in patterns:
        if not re.fullmatch(r"[\w.]*", end):
            raise ValueError(f"{where} has the layer {end!r} in alpha_pattern; give plain names")
    return Strength(
        number(settings.get("lora_alpha"), f"{where}, lora_alpha"),
        {end: number(own, f"{where}, {end}") or 0.0 for end, own in patterns.items()},
        bool(settings.get("use_rslora", False)),
    )


def number(value: Any, what: str) -> float | None:
    """A finite number, or None if there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}: a finite number is needed")
    return float(value)


def in_header(
    metadata: Mapping[str, str], parts: tuple[str, ...], where: str
) -> dict[str, Strength]:
    """The strengths of parts that diffusers wrote into a file's header."""
    if HEADER not in metadata:
        return {}
    try:
        settings = parsed_json(metadata[HEADER])
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(f"{where} must have settings as JSON in its header's {HEADER}")
    found = {}
    for part in parts:
        begin = f"{part}."
        own = {k.removeprefix(begin): v for k, v in settings.items() if k.startswith(begin)}
        found[part] = strength(own, f"{where}, {HEADER}, {part}")
    return found


def in_folder(folder: Path) -> Strength:
    """The strength by the settings in a folder of PEFT."""
    settings = {"lora_alpha": USUAL_ALPHA, **read_settings(folder / CONFIG)}
    return strength(settings, str(folder / CONFIG))
