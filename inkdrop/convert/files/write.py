"""Networks of ours written under the names of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.layout import CONFIG
from inkdrop.convert.files.settings import write_settings

WEIGHTS = "diffusion_pytorch_model.safetensors"  # in diffusers' folder of a network


def under_names(network: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """A network's weights under another library's names, on the CPU."""
    return {
        naming.theirs(name): value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }


def write_part(
    folder: Path, settings: Mapping[str, Any], network: nn.Module, naming: Naming
) -> None:
    """A network's config.json and weights, into a folder that exists."""
    from safetensors.torch import save_file

    write_settings(folder / CONFIG, settings)
    save_file(under_names(network, naming), folder / WEIGHTS, {"format": "pt"})
