"""Weights of diffusers' U-Nets and autoencoders under our names, by the key maps of `convert`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from inkdrop.convert.files.keys import Naming


def translated(
    weights: Mapping[str, Tensor], network: nn.Module, naming: Naming
) -> dict[str, Tensor]:
    """All weights under our names; the label table gets a last row of zeros, the null label."""
    ours = {mine: weights[theirs] for mine, theirs in naming.table(network.state_dict()).items()}
    assert len(ours) == len(weights), "weights that find no place"
    if "label.weight" in ours:
        ours["label.weight"] = nn.functional.pad(ours["label.weight"], (0, 0, 0, 1))
    return ours
