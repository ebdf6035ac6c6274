"""LoRAs and embeddings by their paths: applied to a model, described, and written again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from inkdrop.conditioning.chunks import words_in
from inkdrop.convert.adapters.embedding import Embedding, read_embedding, with_embedding
from inkdrop.convert.adapters.kinds import EMBEDDING, LORA
from inkdrop.convert.adapters.lora import WHOLE, read_lora
from inkdrop.convert.adapters.merge import merged
from inkdrop.convert.adapters.parts import texts_of
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.options import ReadOptions
from inkdrop.events import Note
from inkdrop.files import replacing
from inkdrop.model import Model


def with_adapters(
    model: Model,
    loras: Sequence[tuple[str, float]],
    embeddings: Sequence[tuple[str, str]],
    prompts: Sequence[str],
) -> Generator[Note, None, Model]:
    """The model with the LoRAs, each with its weight, and the embeddings in these files.

    embeddings: files with the names of their words, see `read_embedding`; "" for their own
    The words of a LoRA that is also among the embeddings are those named there. Notes say the words
    of every file, and what changes nothing in these prompts.
    """
    for path, names in embeddings:
        embedding = read_embedding(path, names or None)
        model = with_embedding(model, embedding)
        yield Note(f"embedding {path}: its {embedding.about()}{_idle(model, embedding, prompts)}")
    named = {path for path, _ in embeddings}
    for path, weight in loras:
        lora = read_lora(path)
        lora = replace(lora, words={}) if path in named else lora
        model, anything = merged(model, lora, weight)
        if lora.words:
            words = Embedding(lora.path, {word: {} for word in lora.words})
            yield Note(f"LoRA {path}: its {words.about()}{_idle(model, words, prompts)}")
        if not anything:
            why = "its strength is 0" if weight == 0 else "its numbers are 0, or too small to count"
            yield Note(f"LoRA {path}: it changes no weight of the model, because {why}")
    return model


def _idle(model: Model, embedding: Embedding, prompts: Sequence[str]) -> str:
    """Which of an embedding's words stand in no prompt, as the end of a sentence."""
    readers = [text.tokenizer for text in texts_of(model.text).values()][:1]
    used = {word for reader in readers for each in prompts for word in words_in(reader, each)}
    idle = [word for word in embedding.words if word not in used]
    if not idle:
        return ""
    if len(embedding.words) == 1:
        return ", which stands in no prompt, so it changes nothing"
    return f"; in no prompt stand{'s' * (len(idle) == 1)} {', '.join(map(repr, idle))}"


def adapter_lines(path: Path, kind: Kind) -> list[str]:
    """A LoRA or an embedding as `inkdrop info` prints it."""
    return read_lora(path).lines() if kind is LORA else read_embedding(path).lines()


def _file_of(path: Path) -> Path:
    """The file of an adapter; ValueError for a folder of PEFT, which is more than its weights."""
    if not path.is_dir() or (path / WHOLE).is_file():
        return path / WHOLE if path.is_dir() else path
    raise ValueError(
        f"{path} is the folder of a LoRA, whose strength stands in its settings, and a single file"
        " has none; use the folder itself: --lora takes it"
    )


def write_adapter(
    path: Path, kind: Kind, out: Path, options: ReadOptions, *, half: bool = False
) -> tuple[str, ...]:
    """Write an adapter's weights to a safetensors file, under the names that they have.

    Returns notes, such as the words of an embedding. half: ValueError, because weights stay as they
    are stored
    """
    from safetensors.torch import save_file

    file = open_file(_file_of(path), options)
    options.check(path, "an adapter", ())
    if half:
        raise ValueError(f"{path} is an adapter, which stays as it is stored; leave out --half")
    weights = {name: value.read().contiguous() for name, value in file.weights.items()}
    with replacing(out) as beside:
        save_file(weights, beside, dict(file.metadata))
    if kind is not EMBEDDING:
        return ("an adapter, written as it is stored",)
    return (f"an embedding, written as it is stored; its {read_embedding(out).about()}",)
