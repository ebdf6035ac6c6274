"""Models whose weights are edited by LoRAs (Hu et al. 2021).

    W <- W + weight * alpha / r * up @ down

An edit is made once, so steps cost the same as before, and in a new model: the given one stays as
it was, and both share every weight that is not edited.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from inkdrop.convert.adapters.embedding import with_words
from inkdrop.convert.adapters.lora import Lora, Pair, all_finite, read_lora
from inkdrop.convert.adapters.lora_keys import (
    NUMBERED,
    Target,
    hint,
    networks_of,
    part_of,
    targets,
    version_title,
)
from inkdrop.convert.adapters.lora_numbered import numbered
from inkdrop.convert.adapters.parts import UNET, texts_of, with_texts, with_weights
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.stored import Stored
from inkdrop.model import Model
from inkdrop.weights import listed


def with_lora(
    model: Model, lora: Lora | str | Path, weight: float = 1.0, options: ReadOptions = PLAIN
) -> Model:
    """A new model with a LoRA applied; call it again to add another.

    lora: the result of `read_lora`, or a path; weight: its strength, any finite number
    Words that come with it become words of prompts.
    ValueError in one line unless every pair finds the weight that it edits, with its shape.
    """
    return merged(model, lora, weight, options)[0]


def merged(
    model: Model, lora: Lora | str | Path, weight: float = 1.0, options: ReadOptions = PLAIN
) -> tuple[Model, bool]:
    """As `with_lora`, and whether any weight is another one than before."""
    if not math.isfinite(weight):
        raise ValueError(f"the weight of a LoRA is {weight}; it must be finite, such as 0.8")
    found = lora if isinstance(lora, Lora) else read_lora(lora, options)
    networks = networks_of(model, str(found.path))
    changed, anything = defaultdict[str, dict[str, Tensor]](dict), False
    for target, pair in _placed(found, model, networks).items():
        old = networks[target.part].get_parameter(target.name)
        new = _edited(found, pair, old, weight)
        anything = anything or not torch.equal(new, old)
        changed[target.part][target.name] = new
    model = _replaced(model, changed)
    if found.words:
        words = {name: {"": value.read()} for name, value in found.words.items()}
        model = with_words(model, words, str(found.path))
    return model, anything


def _edited(lora: Lora, pair: Pair, old: Tensor, weight: float) -> Tensor:
    """The edited weight, of the type and on the device of the old one; summed in float32."""
    new = pair.edited(old, weight).to(old.dtype)
    if not all_finite(new):
        raise ValueError(
            f"{lora.path} with the weight {weight} makes {pair.base} larger than {old.dtype} holds;"
            " give a smaller weight"
        )
    return new


def _replaced(model: Model, changed: Mapping[str, Mapping[str, Tensor]]) -> Model:
    """The model with some weights replaced."""
    texts = {
        name: dataclasses.replace(
            text,
            encoder=with_weights(
                text.encoder,  # type: ignore[type-var]
                changed[name],
            ),
        )
        for name, text in texts_of(model.text).items()
        if name in changed
    }
    model = with_texts(model, texts)
    if UNET not in changed:
        return model
    return dataclasses.replace(model, network=with_weights(model.network, changed[UNET]))


def _placed(lora: Lora, model: Model, networks: Mapping[str, nn.Module]) -> dict[Target, Pair]:
    """The pair that edits each weight; ValueError unless every pair has a weight of its own."""
    known = targets(networks) if lora.layout != NUMBERED else dict(_counted(lora, networks))
    lost = {base: pair for base, pair in lora.pairs.items() if base not in known}
    if lost:
        first = hint(next(iter(lost)), known, lora.version, model)
        raise ValueError(
            f"{lora.path} does not fit this model ({version_title(model)}): {len(lost)} of its"
            f" {len(lora.pairs)} pairs find no weight: {listed(_shapes(lost))}{first}"
        )
    placed = {known[base]: pair for base, pair in lora.pairs.items()}
    if len(placed) < len(lora.pairs):
        raise ValueError(f"{lora.path} has two pairs for one weight, under names of two layouts")
    shapes = {t: tuple(networks[t.part].get_parameter(t.name).shape) for t in placed}
    wrong = {pair.base: pair for t, pair in placed.items() if not pair.fits(shapes[t])}
    if wrong:
        first = hint("", {}, lora.version, model)
        raise ValueError(
            f"{lora.path} does not fit this model ({version_title(model)}): {len(wrong)} of its"
            f" {len(lora.pairs)} pairs are for weights of other shapes: {listed(_shapes(wrong))}"
            f"{first}"
        )
    return placed


def _counted(lora: Lora, networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, Target]]:
    """The names of numbered pairs with their weights, in the order whose shapes fit."""
    for part in sorted({part_of(base) for base in lora.pairs} & set(networks)):
        network = networks[part]
        pairs = {b: p for b, p in lora.pairs.items() if part_of(b) == part}
        orders = list(numbered(part, network, lora.classes[part]))
        if len(orders[0]) != len(pairs):
            raise ValueError(
                f"{lora.path} numbers {len(pairs)} pairs for {part}, but this model has"
                f" {len(orders[0])} such weights; it is for another model"
            )
        tables = [{f"{part}:{n}": target for n, target in enumerate(order)} for order in orders]
        yield from next((t for t in tables if _all_fit(t, pairs, network)), tables[-1]).items()


def _all_fit(table: Mapping[str, Target], pairs: Mapping[str, Pair], network: nn.Module) -> bool:
    return all(
        base in pairs and pairs[base].fits(tuple(network.get_parameter(target.name).shape))
        for base, target in table.items()
    )


def _shapes(pairs: Mapping[str, Pair]) -> dict[str, tuple[int, ...]]:
    """The shape of the weight that each pair edits, for messages."""

    def of(up: Stored, down: Stored) -> tuple[int, ...]:
        return (up.shape[0], *down.shape[1:])

    return {base: of(pair.up, pair.down) for base, pair in pairs.items()}
