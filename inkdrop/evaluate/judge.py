"""A judge: a small picture classifier, whose features also serve for distances."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.config import dump, parse
from inkdrop.digest import digest, digest_of_weights
from inkdrop.files import commit_folder
from inkdrop.folder import NAME, described, read_description, write_description
from inkdrop.networks.layers import conv
from inkdrop.networks.resample import blocks, pool
from inkdrop.networks.resblock import BlockStyle, ResBlock
from inkdrop.weights import load_weights, save_weights

# The label of a picture without a label for a head; it counts neither in the loss nor in accuracy.
UNKNOWN = -100


@dataclass(frozen=True)
class JudgeConfig:
    """Configuration of a judge.

    heads: the label sets, each with the names of its labels
    channels: of the pictures
    patch: side of the blocks of pixels that are first folded into channels, which saves time
    widths: channels of each level; each level after the first halves the size
    blocks: residual blocks per level
    features: number of features before the heads
    norm_groups: of the group norms
    ValueError for values that fit no network.
    """

    heads: dict[str, tuple[str, ...]]
    channels: int = 3
    patch: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: int = 1
    features: int = 64
    norm_groups: int = 8

    def __post_init__(self) -> None:
        if not self.heads or not self.widths:
            raise ValueError("heads or widths is empty; a judge needs at least one of each")
        for name, labels in self.heads.items():
            if len(labels) < 2:
                raise ValueError(f"head {name!r} has {len(labels)} labels; it needs at least 2")
        for name in ("channels", "patch", "blocks", "features", "norm_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)} but must be at least 1")
        for width in self.widths:
            if width < 1 or width % self.norm_groups:
                raise ValueError(
                    f"widths contains {width}, not a multiple of norm_groups, {self.norm_groups};"
                    " change widths or norm_groups"
                )


class Judge(nn.Module):
    """Pictures [B, C, H, W] in [-1, 1] -> features [B, D] and the logits of every head.

    With group norms, the result for a picture does not depend on the rest of the batch. Any size is
    possible, down to one pixel at the lowest level.
    """

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        style = BlockStyle(2, groups=config.norm_groups)
        last = config.widths[0]
        self.input = conv(2, config.channels * config.patch**2, last)
        self.levels = nn.ModuleList()
        for width in config.widths:
            before = [last] + [width] * (config.blocks - 1)
            self.levels.append(nn.Sequential(*(ResBlock(style, n, width) for n in before)))
            last = width
        self.norm = style.norm(last)
        self.output = nn.Linear(last, config.features)
        self.heads = nn.ModuleList(
            nn.Linear(config.features, len(labels)) for labels in config.heads.values()
        )

    @property
    def fingerprint(self) -> str:
        """sha256 of the configuration and the weights."""
        return digest([json.dumps(dump(self.config)), digest_of_weights(self.state_dict())])

    def features(self, pictures: Tensor) -> Tensor:
        """[B, C, H, W] in [-1, 1] -> [B, D], in the weights' dtype; ValueError as in `maps`."""
        y: Tensor = self.output(F.silu(self.norm(self.maps(pictures)[-1])).mean((2, 3)))
        return y

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """[B, C, H, W] in [-1, 1] -> the map [B, C', h, w] of each level, for a perceptual loss.

        ValueError for other channels, too small a size, or sides that the patch does not divide.
        """
        config, shape = self.config, list(pictures.shape)
        patch, least = config.patch, config.patch * 2 ** (len(config.widths) - 1)
        if len(shape) != 4 or shape[1] != config.channels or min(shape[2:]) < least:
            raise ValueError(
                f"pictures have shape {shape}; this judge takes [B, {config.channels}, H, W] with"
                f" sides of at least {least}"
            )
        if shape[2] % patch or shape[3] % patch:
            raise ValueError(
                f"pictures have shape {shape}; this judge takes sides that are multiples of {patch}"
            )
        x = pictures.to(self.output.weight.dtype)
        h, found = self.input(x if patch == 1 else blocks(x, patch)), list[Tensor]()
        for level in self.levels:
            h = level(pool(h) if found else h)
            found.append(h)
        return found

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Pictures [B, C, H, W] in [-1, 1] -> the logits [B, labels] of every head, by name."""
        h = F.silu(self.features(pictures))
        return {name: head(h) for name, head in zip(self.config.heads, self.heads, strict=True)}

    def loss(self, pictures: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        """The cross-entropy, summed over heads, averaged over the batch; labels [B] int64 each."""
        return cross_entropies(self(pictures), labels).mean()

    def save(self, folder: str | Path) -> None:
        """Write model.json and network.safetensors as a folder that is committed by a rename."""
        with commit_folder(folder) as beside:
            self.write(beside)

    def write(self, folder: Path) -> None:
        """Write model.json and network.safetensors into an existing folder."""
        write_description(folder, judge_description(self.config))
        save_weights(self, folder / "network.safetensors")

    @staticmethod
    def load(folder: str | Path) -> Judge:
        """The judge in a folder, frozen and in evaluation mode; ValueError for a broken folder."""
        folder = Path(folder)
        about = read_description(folder, "judge")
        judge = Judge(parse(JudgeConfig, about["judge"], str(folder / NAME)))
        load_weights(judge, folder / "network.safetensors")
        return judge.eval().requires_grad_(False)


def judge_description(config: JudgeConfig) -> dict[str, Any]:
    """The content of model.json for a judge."""
    return described("judge", {"judge": dump(config)})


def cross_entropies(said: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """The per-sample cross-entropy [B], summed over heads; 0 for a label UNKNOWN.

    said: logits [B, labels] of each head; labels: [B] int64 for each head. ValueError unless there
    are labels for exactly these heads.
    """
    if set(labels) != set(said):
        raise ValueError(
            f"there are labels for {', '.join(labels) or 'no head'}, but the heads are"
            f" {', '.join(said)}; give one set of labels for each"
        )
    parts = [
        F.cross_entropy(logits.float(), labels[name], ignore_index=UNKNOWN, reduction="none")
        for name, logits in said.items()
    ]
    return torch.stack(parts).sum(0)


@torch.no_grad()
def accuracy(
    judge: Judge, batches: Iterable[tuple[Tensor, Mapping[str, Tensor]]], *, k: int = 1
) -> dict[str, float]:
    """The top-k accuracy of each head, 0 to 1.

    batches: pictures [B, C, H, W] with labels [B] for every head. A head without any known label is
    left out.
    """
    right, seen = dict[str, int](), dict[str, int]()
    for pictures, labels in batches:
        for name, logits in judge(pictures).items():
            known = labels[name] != UNKNOWN
            best = logits.topk(min(k, logits.shape[1])).indices == labels[name][:, None]
            right[name] = right.get(name, 0) + int(best.any(1)[known].sum())
            seen[name] = seen.get(name, 0) + int(known.sum())
    return {name: right[name] / count for name, count in seen.items() if count}
