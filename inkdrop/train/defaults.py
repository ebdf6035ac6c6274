"""The default model for a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inkdrop.config import choose
from inkdrop.data.dataset import Dataset
from inkdrop.folder import described
from inkdrop.train.aims.latent_config import LATENT_NETWORKS
from inkdrop.train.config import TrainConfig
from inkdrop.train.request import TrainRequest


def spread(data: Dataset) -> float:
    """The standard deviation of the data's values, from at most 1,000 samples; at least 0.05."""
    count = min(len(data), 1000)
    pixels = data.take([i * len(data) // count for i in range(count)])
    return round(max(float(pixels.std()), 0.05), 3)


def channels_beside(data: Dataset, name: str) -> int:
    """The channels (or vector length) of the extra condition `name`; 0 if the data has none."""
    if name not in data.beside:
        return 0
    return int(data.take_beside([0])[name].shape[1])


def network(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: int | None = None,
    variance: bool = False,
    concat: int = 0,
    vector: int = 0,
) -> dict[str, Any]:
    """The configuration of a U-Net for samples of this shape; larger pictures get a wider one.

    variance: double the output channels to predict the log variance, for loss "hybrid"
    concat, vector: channels of `Cond.concat` and length of `Cond.vector` that it reads
    """
    size = max(shape[1:])
    # At 28x28 and four minutes on two cores, the middle one beat wider, deeper and patched
    # networks, because it is fast enough to see more pictures (benchmarks/RESULTS.md).
    multipliers: tuple[int, ...]
    shaped: dict[str, Any]
    if size <= 16:
        multipliers, shaped = (1, 2), {"width": 32, "blocks": 2}
    elif size <= 48:
        multipliers, shaped = (1, 2, 4), {"width": 32, "blocks": 1, "resample": "pool"}
    else:
        multipliers, shaped = (1, 2, 2, 4), {"width": 64, "blocks": 2}
    if width is not None:
        # Group and head sizes must divide the width, which need not be a multiple of 32.
        lowest = width * max(multipliers)
        shaped |= {"width": width, "norm_groups": math.gcd(width, 32)}
        shaped |= {"head_channels": math.gcd(lowest, 32)}
    return {
        "kind": "unet",
        "dims": len(shape) - 1,
        "in_channels": shape[0],
        "out_channels": 2 * shape[0] if variance else None,
        "num_classes": classes or None,
        "multipliers": multipliers,
        **shaped,
        **({"concat_channels": concat} if concat else {}),
        **({"vector_dim": vector} if vector else {}),
    }


def latent_network(
    shape: tuple[int, ...],
    classes: int,
    tokens: int | None,
    kind: str = "dit",
    sketched: bool = True,
    variance: bool = False,
) -> dict[str, Any]:
    """The configuration of a network for latents: 7 (dit) or 11 (unet) million parameters.

    tokens: width of the text tokens, or None for a model without text
    sketched: whether the network also receives a sketch computed from the text
    variance: double the output channels to predict the log variance, for loss "hybrid"
    """
    choose("network for latents", kind, LATENT_NETWORKS)
    common = {"kind": kind, "dims": len(shape) - 1, "in_channels": shape[0]}
    common |= {"out_channels": 2 * shape[0]} if variance else {}
    common |= {"num_classes": classes or None, "vector_dim": tokens}
    common |= {"concat_channels": shape[0] if tokens is not None and sketched else 0}
    if kind == "unet":
        return common | {
            "width": 64, "multipliers": (1, 2, 3), "blocks": 2, "attention": (1, 2),
            "head_channels": 32, "cross_attention_dim": tokens,
        }  # fmt: skip
    return common | {
        "patch": 2, "width": 224, "depth": 6, "heads": 4,
        "text": "none" if tokens is None else "cross", "tokens_dim": tokens,
    }  # fmt: skip


def model_description(
    data: Dataset, config: TrainConfig, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of model.json for this data and training; `changes` replaces parts by name."""
    labels = tuple(data.label_names) if data.labels is not None else ()
    variance, drop = config.loss == "hybrid", config.condition_drop if labels else 0.0
    concat, vector = channels_beside(data, "concat"), channels_beside(data, "vector")
    told = f"{concat} channel{'s' * (concat > 1)} of a picture that belongs to each sample"
    whole: dict[str, Any] = {
        "process": {"kind": "discrete", "schedule": "cosine", "steps": 1000},
        "parameterization": {"kind": "edm", "sigma_data": spread(data)},
        "network": network(
            data.shape, len(labels), variance=variance, concat=concat, vector=vector
        ),
        "codec": {"kind": "identity"},
        "spec": {
            "medium": data.medium,
            "shape": tuple(data.shape),
            "span": data.span,
            "labels": labels,
            "condition_drop": drop,
            "learned_variance": variance,
            "guidance": 2.0 if drop else 1.0,
            **({"notes": {"concat": told}} if concat else {}),
        },
    }
    whole |= changes or {}
    if whole["parameterization"] == {"kind": "edm"}:
        whole["parameterization"] = {"kind": "edm", "sigma_data": spread(data)}
    return described("model", whole)


def description(data: Dataset, request: TrainRequest) -> dict[str, Any]:
    """The content of model.json for a run's request."""
    return model_description(data, request.config, request.model)
