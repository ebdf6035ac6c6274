"""Files that change a model and are none by themselves: which they are, and a model with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inkdrop.convert.embedding import read_embedding, with_embedding
from inkdrop.convert.files import open_file
from inkdrop.convert.foreign import PLAIN
from inkdrop.convert.layout import layout_of_names, marked
from inkdrop.convert.lora import read_lora
from inkdrop.convert.merge import with_lora
from inkdrop.model import Model


def with_adapters(
    model: Model, loras: Iterable[tuple[str, float]], embeddings: Iterable[str]
) -> Model:
    """The model with the LoRAs, each with its weight, and the embeddings in these files."""
    for path in embeddings:
        model = with_embedding(model, path)
    for path, weight in loras:
        model = with_lora(model, path, weight)
    return model


def adapter_lines(path: Path) -> list[str] | None:
    """What a LoRA or an embedding is, in lines; None for anything else."""
    if path.is_dir():
        return read_lora(path).lines() if marked(path) == "lora" else None
    weights = open_file(path, PLAIN).weights
    words = len(weights) <= 8 and all(len(value.shape) in (1, 2) for value in weights.values())
    if words and not any("." in name or ":" in name for name in weights):
        return read_embedding(path).lines()  # the words of diffusers' files may be any
    layout = layout_of_names(weights, str(path))
    if layout not in ("lora", "embedding"):
        return None
    return (read_lora(path) if layout == "lora" else read_embedding(path)).lines()
