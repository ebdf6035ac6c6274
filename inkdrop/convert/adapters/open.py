"""Files that change a model and are none by themselves: which they are, and a model with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inkdrop.convert.adapters.embedding import read_embedding, with_embedding
from inkdrop.convert.adapters.lora import read_lora
from inkdrop.convert.adapters.merge import with_lora
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.layout import ADAPTERS, Layout, layout_of_names, marked
from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.sd.foreign import PLAIN, ReadOptions
from inkdrop.files import replacing
from inkdrop.model import Model

WORDS = 8  # of one file, at most


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
    layout = _layout(open_file(path, PLAIN), path)
    if layout == "lora":
        return read_lora(path).lines()
    return read_embedding(path).lines() if layout == "embedding" else None


def without_pickle(path: Path, out: Path, options: ReadOptions, *, half: bool = False) -> bool:
    """Writes an adapter's weights as safetensors; False for what is none, or none that is asked.

    half: ValueError, for they stay as they are stored.
    """
    if not path.is_file() or out.suffix != ".safetensors":
        return False
    file = open_file(path, options)
    if _layout(file, path) not in ADAPTERS:
        return False
    options.check(path, "an adapter", ())
    if half:
        raise ValueError(f"{path} is an adapter, which stays as it is stored; leave out --half")
    from safetensors.torch import save_file

    weights = {name: value.read().contiguous() for name, value in file.weights.items()}
    with replacing(out) as beside:
        save_file(weights, beside, dict(file.metadata))
    return True


def _layout(file: SafeFile, path: Path) -> Layout:
    """What a file holds; a few vectors by names of any kind are the words of a diffusers file."""
    flat = all(len(value.shape) in (1, 2) for value in file.weights.values())
    plain = not any("." in name or ":" in name for name in file.weights)
    if 1 <= len(file.weights) <= WORDS and flat and plain:
        return "embedding"
    return layout_of_names(file.weights, str(path))
