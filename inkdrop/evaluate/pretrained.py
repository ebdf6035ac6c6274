"""Features of pretrained vision networks, such as CLIP or DINOv2, from a local folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.conditioning.library import quiet, transformers
from inkdrop.digest import digest, digest_of_weights
from inkdrop.files import must_exist
from inkdrop.weights import read_json


@dataclass(frozen=True)
class Preparation:
    """Preprocessing: resize to `size` (height, width), then (x - mean) / std, x in [0, 1]."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Grey, RGB or RGBA [B, C, H, W] in [-1, 1] -> [B, 3, *size]; alpha is put on white."""
        x = (pictures.float() + 1) / 2
        if x.shape[1] == 4:
            x, alpha = x[:, :3], x[:, 3:]
            x = x * alpha + 1 - alpha
        if x.shape[1] not in (1, 3):
            raise ValueError(
                f"pictures have shape {list(pictures.shape)}; a pretrained network takes"
                " [B, C, H, W] with 1, 3 or 4 channels"
            )
        x = x.expand(-1, 3, -1, -1)
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (x.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (x - mean) / std


class Pretrained(nn.Module):
    """A vision model of `transformers`, as `Features`.

    The features are the image embedding if there is one (CLIP, SigLIP), else the pooled output
    (DINOv2, ViT, ResNet), else the mean of the last layer.
    """

    def __init__(self, network: nn.Module, prepare: Preparation) -> None:
        super().__init__()
        self.network, self.prepare = network, prepare

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights and the preprocessing."""
        kind = type(self.network).__name__
        return digest([kind, self.prepare, digest_of_weights(self.network.state_dict())])

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in [-1, 1] -> [B, D]."""
        x = self.prepare(pictures)
        embed = getattr(self.network, "get_image_features", None)
        said: Any = self.network(pixel_values=x) if embed is None else embed(pixel_values=x)
        if isinstance(said, Tensor):
            return said
        pooled: Tensor | None = getattr(said, "pooler_output", None)
        if pooled is None:
            pooled = said.last_hidden_state.mean(1)
        return pooled.flatten(1)


def open_pretrained(folder: str | Path) -> Pretrained:
    """The frozen vision model in a folder written by `transformers`; nothing is downloaded.

    ValueError if the folder has no model or no preprocessor_config.json with the preprocessing, or
    if `transformers` is not installed.
    """
    models = transformers("a pretrained network for features", "features")
    folder = must_exist(folder, "folder")
    prepare = _preparation(folder / "preprocessor_config.json")
    try:
        with quiet():
            network = models.AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32
            )
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"{folder} has no model that transformers can load ({said}); get it again"
        ) from None
    return Pretrained(network, prepare).eval().requires_grad_(False)


def _preparation(file: Path) -> Preparation:
    """From a preprocessor_config.json; a crop there becomes resizing to the same size here."""
    about = read_json(file)
    size = about.get("crop_size") if about.get("do_center_crop") else None
    size = size or about.get("size")
    if not isinstance(size, dict):
        size = {"shortest_edge": size}
    edge = size.get("shortest_edge")
    sides = [n for n in (size.get("height", edge), size.get("width", edge)) if isinstance(n, int)]
    mean, std = about.get("image_mean"), about.get("image_std")
    if len(sides) < 2 or not _three(mean) or not _three(std):
        raise ValueError(
            f"{file} must have size, image_mean and image_std of three channels, but has"
            f" {json.dumps({k: about.get(k) for k in ('size', 'image_mean', 'image_std')})}"
        )
    assert mean is not None and std is not None
    return Preparation((sides[0], sides[1]), tuple(mean), tuple(std))


def _three(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3
