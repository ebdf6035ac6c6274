"""Models with random weights, small enough for a test, with every part in its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tiny
import torch

from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer import train_tokenizer
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.networks.text import TextEncoder, TextEncoderConfig

TEXT = TextEncoderConfig(vocabulary=300, width=16, layers=1, heads=2, context=12)


def latent_text_model() -> Model:
    """Random weights, but every part in its place: words, a style, an autoencoder's code."""
    torch.manual_seed(0)
    description = {
        "format_version": 1,
        "process": {"kind": "discrete"},
        "parameterization": {"kind": "edm", "sigma_data": 1.0},
        "network": {
            "kind": "dit", "in_channels": 2, "width": 16, "depth": 1, "heads": 2,
            "num_classes": 2, "text": "cross", "tokens_dim": 16,
        },
        "codec": {
            "kind": "latent", "shift": [0.0, 0.0], "scale": [1.0, 1.0],
            "autoencoder": {
                "latent_channels": 2, "width": 8, "multipliers": [1, 1], "norm_groups": 4,
            },
        },
        "spec": {
            "shape": [3, 16, 16], "labels": ["flat", "round"], "condition_drop": 0.1,
            "clip": False, "steps": 4, "guidance": 2.0,
        },
    }  # fmt: skip
    made = build_model(description, "the test's model")
    for part in (made.network, made.codec):
        assert isinstance(part, torch.nn.Module)
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        part.eval().requires_grad_(False)
    encoder = TextEncoder(TEXT).eval().requires_grad_(False)
    text = Text(train_tokenizer(["a red cat", "웃는 고양이"], 300), encoder)
    return Model(made.network, made.process, made.parameterization, made.spec, made.codec, text)


def random_model(folder: Path, condition_drop: float = 0.1) -> Model:
    torch.manual_seed(0)
    model = tiny.model(tiny.data(folder), condition_drop=condition_drop)
    torch.nn.init.normal_(model.network.output.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    model.network.eval()
    return model


def unet_model(
    *, latent: bool, beside: int = 0, channels: int = 3, words: bool = False, **spec: Any
) -> Model:
    """A U-Net with random weights for pictures of 16x16, on pixels or on a code of factor 4.

    beside: channels that it takes next to x; words: it reads prompts, else it has no condition
    """
    torch.manual_seed(0)
    code: dict[str, Any] = {
        "kind": "latent", "shift": [0.1, -0.2], "scale": [1.5, 0.5],
        "autoencoder": {
            "channels": channels, "latent_channels": 2, "width": 8, "multipliers": [1, 1, 1],
            "norm_groups": 4,
        },
    }  # fmt: skip
    description = {
        "format_version": 1,
        "process": {"kind": "discrete"},
        "parameterization": {"kind": "edm"},
        "network": {
            "kind": "unet", "in_channels": 2 if latent else channels, "concat_channels": beside,
            "width": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8, "norm_groups": 4,
            "cross_attention_dim": 16 if words else None,
        },
        "codec": code if latent else {"kind": "identity"},
        "spec": {
            "shape": [channels, 16, 16], "steps": 3, "clip": not latent,
            "condition_drop": 0.1 if words else 0.0,
            "notes": {"concat": f"{beside} channels"} if beside else {}, **spec,
        },
    }  # fmt: skip
    made = build_model(description, "the test's model")
    for part in made.networks:
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        part.eval().requires_grad_(False)
    if not words:
        return made
    encoder = TextEncoder(TEXT).eval().requires_grad_(False)
    text = Text(train_tokenizer(["a red cat", "웃는 고양이"], 300), encoder)
    return dataclasses.replace(made, text=text)
