"""Settings that LoRAs carry in their headers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import peft
import pytest

from inkdrop.convert.adapters.lora_numbered import listed_classes
from inkdrop.convert.adapters.lora_settings import (
    CONFIG,
    HEADER,
    PLAIN_VALUES,
    in_folder,
    in_header,
    strength,
)

DEEP = "[" * 100_000


@pytest.mark.parametrize("text", [DEEP, "", "[1]", "null", '{"a": 1, "a": 2}'])
def test_settings_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=f"must have settings as JSON in its header's {HEADER}"):
        in_header({HEADER: text}, ("unet",), "here")


@pytest.mark.parametrize("text", [DEEP, "", "{}", "[1]", "null"])
def test_classes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must have in its header a list of classes for unet"):
        listed_classes({"unet": text}, "unet", "here")


# Fields of PEFT's configuration that say nothing about what a finished pair computes: where it
# came from, which layers have one (its weights say so), and how it was trained.
WITHOUT_EFFECT = {
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "target_modules", "exclude_modules", "lora_dropout",
    "layers_to_transform", "layers_pattern", "rank_pattern", "megatron_core", "loftq_config",
    "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying",
}  # fmt: skip
FOLLOWED = {"lora_alpha", "alpha_pattern", "use_rslora"}


def test_no_field_of_theirs_is_forgotten() -> None:
    for field in dataclasses.fields(peft.LoraConfig):
        variant = field.name.startswith("use_")
        assert variant or field.name in {*WITHOUT_EFFECT, *FOLLOWED, *PLAIN_VALUES}


def test_the_defaults_are_read(tmp_path: Path) -> None:
    peft.LoraConfig(r=4, lora_alpha=6).save_pretrained(tmp_path)
    assert in_folder(tmp_path).of("x", 4) == 1.5
    settings = json.loads((tmp_path / CONFIG).read_text())
    del settings["lora_alpha"]
    (tmp_path / CONFIG).write_text(json.dumps(settings))
    assert in_folder(tmp_path).of("x", 4) == peft.LoraConfig().lora_alpha / 4


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True}, {"use_qalora": True}, {"use_bdlora": {"a": 1}}, {"use_new": True},
        {"lora_bias": True}, {"bias": "all"}, {"fan_in_fan_out": True}, {"peft_type": "LOHA"},
        {"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"},
        {"layer_replication": [[0, 1]]}, {"modules_to_save": ["conv_in"]},
        {"trainable_token_indices": [1]}, {"target_parameters": ["a"]},
        {"alora_invocation_tokens": [1]}, {"kasa_config": {"a": 1}}, {"lora_alpha": "8"},
        {"lora_alpha": float("nan")}, {"alpha_pattern": {"(a+)+": 1}}, {"alpha_pattern": [1]},
    ],
)  # fmt: skip
def test_variants_are_refused_by_name(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=f"here.*{name}|here, {name}"):
        strength({"r": 4, "lora_alpha": 4, **change}, "here")
