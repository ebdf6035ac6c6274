"""LoRAs (Hu et al. 2021) read from files: their pairs, and the strength of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from inkdrop.convert.adapters.lora_keys import (
    NUMBERED,
    TRANSFORMERS,
    other_kind,
    part_of,
    split_name,
)
from inkdrop.convert.adapters.lora_numbered import listed_classes
from inkdrop.convert.adapters.lora_settings import AS_RANK, CONFIG, Strength, in_folder, in_header
from inkdrop.convert.adapters.parts import PARTS
from inkdrop.convert.files.fill import check_floats
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.report import shapes_of
from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import Stored, Weights, types_of
from inkdrop.convert.sd.versions import VERSIONS
from inkdrop.files import must_exist
from inkdrop.weights import listed

# The file of weights in a folder of PEFT, and in one of diffusers.
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE = "pytorch_lora_weights.safetensors"
EMBED = "<embed>"  # the entry for a word in lora_diffusion's header


@dataclass(frozen=True, eq=False)
class Pair:
    """The edit of one weight [out, in, *kernel]: up [out, r], down [r, in, *kernel].

    mid: for a convolution that LoCon factors further, [r, r, *kernel]; down has a kernel of 1 then
    alpha: stored beside it; else `strength` gives it for the layer
    """

    base: str
    up: Stored
    down: Stored
    mid: Stored | None = None
    alpha: Stored | None = None
    strength: Strength = AS_RANK

    @property
    def rank(self) -> int:
        """r."""
        return self.down.shape[0]

    @property
    def weights(self) -> dict[str, Stored]:
        """The weights that are multiplied, by their names in messages."""
        three = {"up": self.up, "down": self.down, "mid": self.mid}
        return {f"{self.base}, {role}": each for role, each in three.items() if each is not None}

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether it edits a weight of this shape."""
        kernel = (self.down if self.mid is None else self.mid).shape[2:]
        inner = prod(self.down.shape[1:2]) * prod(kernel)
        return self.up.shape[0] == shape[0] and inner == prod(shape[1:])

    def edited(self, old: Tensor, weight: float) -> Tensor:
        """old + weight * alpha / r * up @ down, in float32."""
        up, down = (_finite(self.base, each).flatten(1) for each in (self.up, self.down))
        if self.mid is not None:
            mid = _finite(self.base, self.mid)
            down = torch.einsum("pq...,qi->pi...", mid, down).flatten(1)
        factors = up.to(old.device), down.to(old.device)
        new = torch.addmm(old.float().flatten(1), *factors, alpha=weight * self._scale())
        return new.view(old.shape)

    def _scale(self) -> float:
        if self.alpha is None:
            return self.strength.of(self.base.partition(".")[2], self.rank)
        alpha = _finite(f"{self.base}, alpha", self.alpha)
        return float(alpha) / self.rank


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA whose weights are read when it is applied.

    layout: the library whose names it has; pairs: by their names, made uniform
    words: embeddings that come with it, [D] each; classes: for numbered pairs, those that have some
    """

    path: Path
    layout: str
    pairs: Mapping[str, Pair]
    words: Mapping[str, Stored]
    classes: Mapping[str, tuple[str, ...]]

    @property
    def version(self) -> str | None:
        """The version of Stable Diffusion that it is for, by the width of cross-attention."""
        if any(re.match(TRANSFORMERS, base) for base in self.pairs):
            return "a transformer, such as Flux or SD 3"
        pairs = [pair for base, pair in self.pairs.items() if part_of(base) == "unet"]
        named = [pair for pair in pairs if re.search(r"attn2[._]to_[kv]$", pair.base)]
        some = named or [p for p in pairs if self.layout == NUMBERED and p.down.shape[1] != 1280]
        widths = {pair.down.shape[1] for pair in some}
        return next((each.name for each in VERSIONS if each.context in widths), None)

    def lines(self) -> list[str]:
        """The LoRA as `inkdrop info` prints it."""
        ranks = sorted({pair.rank for pair in self.pairs.values()})
        parts = Counter(part_of(base) for base in self.pairs)
        weights = [each for pair in self.pairs.values() for each in pair.weights.values()]
        numbers = sum(prod(each.shape) for each in weights)
        return [
            f"layout: a LoRA with names of {self.layout}",
            f"family: {self.version or 'unknown from its weights'}",
            f"rank: {ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else ""),
            f"edits: {len(self.pairs)} weights, {numbers / 1e6:.1f} million numbers,"
            f" {' and '.join(types_of(weights))}",
            *(f"{part}: {count} weights" for part, count in parts.items()),
            *([f"words: {', '.join(self.words)}"] if self.words else []),
        ]


class _Source(NamedTuple):
    """A file of a LoRA: its weights by names that include their part, and the parts' strengths."""

    weights: Weights
    metadata: Mapping[str, str]
    strengths: Mapping[str, Strength]


def read_lora(path: str | Path, options: ReadOptions = PLAIN) -> Lora:
    """The LoRA in a file, or in a folder of PEFT or diffusers; no weight is read yet.

    ValueError in one line for an adapter of another kind and for weights that form no pairs.
    """
    path = must_exist(path, "LoRA")
    pairs, layouts, words = dict[str, Pair](), set[str](), dict[str, Stored]()
    classes = dict[str, tuple[str, ...]]()
    for source in _sources(path, options):
        kind = next((what for name in source.weights if (what := other_kind(name))), None)
        if kind is not None:
            raise ValueError(f"{path} is {kind}, which is not read here; plain LoRAs are")
        own = in_order(n for n in source.weights if source.metadata.get(n) == EMBED)
        words |= {name: source.weights[name] for name in own}
        rest = {name: value for name, value in source.weights.items() if name not in own}
        # An alpha may be a whole number: kohya's merging script writes it so.
        check_floats(str(path), {n: v for n, v in rest.items() if not n.endswith(".alpha")})
        pairs |= _pairs(path, rest, source.strengths, layouts)
        if NUMBERED in layouts:
            parts = sorted({part_of(base) for base in pairs})
            classes |= {p: listed_classes(source.metadata, p, str(path)) for p in parts}
    if len(layouts) != 1:
        found = f"pairs of {' and '.join(sorted(layouts))}" if layouts else "no pair of weights"
        raise ValueError(f"{path} holds {found}; a LoRA has pairs of one layout")
    return Lora(path, layouts.pop(), pairs, words, classes)


def in_order(words: Iterable[str]) -> list[str]:
    """Words in an order that only they decide: <s1>, <s2>, <s10>."""
    return sorted(words, key=lambda word: (len(word), word))


def _sources(path: Path, options: ReadOptions) -> list[_Source]:
    """The files of a LoRA."""
    if path.is_dir() and (path / WHOLE).is_file():
        path = path / WHOLE
    if path.is_file():
        file = open_file(path, options)
        return [_Source(*file, in_header(file.metadata, PARTS, str(path)))]
    found = [part for part in PARTS if (path / part / CONFIG).is_file()]
    if (path / CONFIG).is_file():
        return [_of_peft(path, "", options)]
    if not found:
        raise ValueError(f"{path} is not the folder of a LoRA: it has neither {CONFIG} nor {WHOLE}")
    return [_of_peft(path / part, f"{part}.", options) for part in found]


def _of_peft(folder: Path, begin: str, options: ReadOptions) -> _Source:
    """A folder of PEFT; its name is that of a part, or the names in it include their parts."""
    file: SafeFile | None = None
    for name in ADAPTERS:
        if (folder / name).is_file():
            file = open_file(folder / name, options)
            break
    if file is None:
        raise ValueError(f"{folder} has no {ADAPTERS[0]}")
    own = in_folder(folder)
    cut = {begin + n.removeprefix("base_model.model."): v for n, v in file.weights.items()}
    return _Source(cut, {}, dict.fromkeys(PARTS, own))


def _pairs(
    path: Path, weights: Weights, strengths: Mapping[str, Strength], layouts: set[str]
) -> dict[str, Pair]:
    """The pairs that weights form; adds to `layouts`. ValueError for a weight without a pair."""
    roles = dict[str, dict[str, Stored]]()
    strays = list[str]()
    for name, value in weights.items():
        ending = split_name(name)
        if ending is None:
            strays.append(name)
            continue
        if ending.role in roles.setdefault(ending.base, {}):
            raise ValueError(f"{path} has two weights for {ending.base}, {ending.role}: {name}")
        roles[ending.base][ending.role] = value
        layouts |= {ending.layout} - {""}
    if strays:
        raise ValueError(
            f"{path} holds {len(strays)} weights that are not a LoRA's: "
            f"{listed(shapes_of(weights, strays))}"
        )
    made = dict[str, Pair]()
    for base, found in roles.items():
        for role in ("up", "down"):
            if role not in found:
                raise ValueError(f"{path} lacks the weight {role} of the pair {base}")
        made[base] = Pair(base, **found, strength=strengths.get(part_of(base), AS_RANK))
        _check(path, made[base])
    return made


def _check(path: Path, pair: Pair) -> None:
    """ValueError unless the shapes of a pair can be multiplied."""
    up, down, mid = pair.up.shape, pair.down.shape, pair.mid
    two = len(up) >= 2 and len(down) >= 2 and pair.rank > 0
    beside = mid is None or (mid.shape[:2] == (pair.rank,) * 2 and prod(down[2:]) == 1)
    if not two or prod(up[1:]) != pair.rank or not beside:
        other = "" if mid is None else f" and {list(mid.shape)}"
        raise ValueError(
            f"{path} has for {pair.base} the shapes {list(up)} and {list(down)}{other}, which"
            " cannot be multiplied"
        )
    if pair.alpha is not None and prod(pair.alpha.shape) != 1:
        raise ValueError(f"{path} has an alpha of {list(pair.alpha.shape)} for {pair.base}")


def all_finite(value: Tensor) -> bool:
    """True if a weight has no NaN or infinity, which its sum in float64 would keep."""
    return bool(value.sum(dtype=torch.float64).isfinite())


def _finite(what: str, stored: Stored) -> Tensor:
    """A weight in float32; ValueError if it is not finite."""
    value = stored.read().float()
    if not all_finite(value):
        raise ValueError(f"the LoRA has NaN or infinite numbers in {what}; it is damaged")
    return value
