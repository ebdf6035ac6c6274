"""Samples to be measured: asked for as the data is, and made a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.data.order import batch_indices
from inkdrop.diffusion.noise import key
from inkdrop.model import Condition, Model, Prompt
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import DEFAULT, Sampling


def conditions_like(
    model: Model, data: Dataset, count: int, *, seed: int = 0
) -> list[Condition] | None:
    """What `count` samples are asked to be, distributed as in the data; None asks for nothing.

    Pictures are drawn without replacement while there are enough, and each sample is asked to be
    what its picture is: its class, or its caption and class. What the data does not say is not
    asked for. ValueError if the data's classes are not the model's, or a model of classes finds
    none.
    """
    rows = batch_indices(len(data), count, key(seed, "conditions"), 0)
    return conditions_of(model, data, [int(row) for row in rows])


def conditions_of(model: Model, data: Dataset, rows: Sequence[int]) -> list[Condition] | None:
    """What samples are asked to be that are to be what these pictures are; see conditions_like."""
    classes = None
    if model.spec.labels and data.labels is not None:
        strange = [name for name in data.label_names if name not in model.spec.labels]
        if strange:
            raise ValueError(
                f"{data.name} has the class {strange[0]!r}, which the model does not know; its"
                f" classes are {', '.join(model.spec.labels)}"
            )
        classes = [data.label_names[int(data.labels[row])] for row in rows]
    if model.text is not None:
        texts = [""] * len(rows) if data.captions is None else [data.captions[row] for row in rows]
        return [Prompt(text, classes[i] if classes else None) for i, text in enumerate(texts)]
    if model.spec.labels and classes is None:
        raise ValueError(
            f"the model was trained with classes, but {data.name} has none that say how often each"
            " is to be asked for; name its column of them with --label"
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
    """Samples 0 ... count - 1 of `seed` as pictures [B, C, *spatial] in [-1, 1], on the CPU."""
    for first in range(0, count, batch):
        rows = range(first, min(first + batch, count))
        some = None if conditions is None else conditions[rows.start : rows.stop]
        for step in generate(model, seed=seed, samples=rows, conditions=some, sampling=sampling):
            x = step.x
        yield model.codec.decode(x).detach().float().clamp(-1, 1).cpu()
