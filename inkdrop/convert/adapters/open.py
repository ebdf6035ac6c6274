"""LoRAs and embeddings by their paths: applied to a model, described, and written again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inkdrop.convert.adapters.embedding import read_embedding, with_embedding
from inkdrop.convert.adapters.kinds import LORA
from inkdrop.convert.adapters.lora import read_lora
from inkdrop.convert.adapters.merge import with_lora
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.options import ReadOptions
from inkdrop.files import replacing
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


def adapter_lines(path: Path, kind: Kind) -> list[str]:
    """A LoRA or an embedding as `inkdrop info` prints it."""
    return read_lora(path).lines() if kind is LORA else read_embedding(path).lines()


def write_adapter(path: Path, out: Path, options: ReadOptions, *, half: bool = False) -> None:
    """Write an adapter's weights to a safetensors file, under the names that they have.

    half: ValueError, because they stay as they are stored
    """
    from safetensors.torch import save_file

    file = open_file(path, options)
    options.check(path, "an adapter", ())
    if half:
        raise ValueError(f"{path} is an adapter, which stays as it is stored; leave out --half")
    weights = {name: value.read().contiguous() for name, value in file.weights.items()}
    with replacing(out) as beside:
        save_file(weights, beside, dict(file.metadata))
