"""Samples for evaluation: conditions distributed as in the data, and generation in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from inkdrop.conditioning.prompt import escape
from inkdrop.data.dataset import Dataset
from inkdrop.data.order import batch_indices
from inkdrop.diffusion.noise import key
from inkdrop.model import Condition, Model, Prompt
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import DEFAULT, Sampling


def conditions_like(
    model: Model, data: Dataset, count: int, *, seed: int = 0
) -> list[Condition] | None:
    """The conditions of `count` samples, distributed as in the data; None for no condition.

    Pictures are drawn without replacement as long as there are enough, and each one's class, or
    caption and class, becomes a condition; what the data lacks is left out. ValueError if the data
    has a class that the model lacks, or if a class-conditional model gets data without classes.
    """
    rows = batch_indices(len(data), count, key(seed, "conditions"), 0)
    return conditions_of(model, data, [int(row) for row in rows])


def conditions_of(model: Model, data: Dataset, rows: Sequence[int]) -> list[Condition] | None:
    """The conditions that describe these pictures of the data; see conditions_like."""
    classes = None
    if model.spec.labels and data.labels is not None:
        strange = [name for name in data.label_names if name not in model.spec.labels]
        if strange:
            raise ValueError(
                f"{data.name} has the class {strange[0]!r}, which the model lacks; its classes are"
                f" {', '.join(model.spec.labels)}"
            )
        classes = [data.label_names[int(data.labels[row])] for row in rows]
    if model.text is not None:
        texts = [""] * len(rows) if data.captions is None else [data.captions[row] for row in rows]
        texts = [escape(text) for text in texts]  # captions are literal, as in training
        return [Prompt(text, classes[i] if classes else None) for i, text in enumerate(texts)]
    if model.spec.labels and classes is None:
        raise ValueError(
            f"the model is class-conditional, but {data.name} has no classes; name its column of"
            " classes with --label, or the class of all of it with --class"
        )
    return None if classes is None else list(classes)


def drawn(
    model: Model,
    conditions: Sequence[Condition] | None,
    count: int,
    *,
    seed: int = 0,
    batch: int = 64,
    sampling: Sampling = DEFAULT,
) -> Iterator[Tensor]:
    """Samples 0 ... count - 1 of `seed` in batches [B, C, *spatial] in [-1, 1], on the CPU."""
    for first in range(0, count, batch):
        rows = range(first, min(first + batch, count))
        some = None if conditions is None else conditions[rows.start : rows.stop]
        for step in generate(model, seed=seed, samples=rows, conditions=some, sampling=sampling):
            x = step.x
        yield model.codec.decode(x).detach().float().clamp(-1, 1).cpu()
