"""What training would see in a data set: counts, sizes, captions, labels, copies and damage."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from inkdrop.data.dataset import Dataset
from inkdrop.data.pictures.survey import Survey
from inkdrop.registry import medium

SHOWN = 10  # entries of each list
LONG = 200  # characters of a caption
BATCH = 256  # samples read at a time to find copies


def checked(data: Dataset) -> Iterator[str]:
    """Lines about opened data, one for each fact, for people."""
    yield data.describe()
    if data.survey is not None:
        yield from _files(data.survey)
    yield from _labels(data)
    yield from _captions(data)
    yield from _copies(data)
    yield from _damaged(data)
    for note in data.notes:
        yield f"note: {note}"


def _files(survey: Survey) -> Iterator[str]:
    sizes = survey.sizes
    least, most = (find(sizes, key=lambda size: size[0] * size[1]) for find in (min, max))
    shown = [f"{_size(size)} ({count:,})" for size, count in sizes.most_common(SHOWN)]
    ends = f"; from {_size(least)} to {_size(most)}" if len(sizes) > 1 else ""
    yield f"sizes: {_list(shown, len(sizes))}{ends}"
    modes = [f"{mode} ({count:,})" for mode, count in survey.modes.most_common()]
    yield f"stored as: {_list(modes, len(modes))}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _list(shown: Sequence[str], total: int) -> str:
    more = total - min(len(shown), SHOWN)
    return ", ".join(shown[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _labels(data: Dataset) -> Iterator[str]:
    if data.labels is None:
        yield "labels: none"
        return
    counts = np.bincount(data.labels, minlength=len(data.label_names))
    shown = [f"{name} ({n:,})" for name, n in zip(data.label_names, counts.tolist(), strict=True)]
    few = int(counts.argmin())
    end = f"; fewest: {data.label_names[few]} ({counts[few]:,})" if len(shown) > SHOWN else ""
    yield f"labels: {len(shown):,}: {_list(shown, len(shown))}{end}"


def _captions(data: Dataset) -> Iterator[str]:
    if data.captions is None:
        yield "captions: none"
        return
    texts = [text for i in range(len(data)) for text in data.texts(i)]
    said = [text for text in texts if text.strip()]
    if not said:
        yield "captions: all empty"
        return
    lengths = sorted(map(len, said))
    empty = f" ({len(texts) - len(said):,} more are empty)" if len(said) < len(texts) else ""
    yield (
        f"captions: {len(said):,}{empty}, {len(set(said)):,} distinct, of {lengths[0]:,} to"
        f" {lengths[-1]:,} characters, median {lengths[len(lengths) // 2]:,}"
    )
    for text in dict.fromkeys(said[i] for i in (0, len(said) // 2, len(said) - 1)):
        yield f"  such as: {_cut(text)}"
    yield f"  longest: {_cut(max(said, key=len))}"


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]} ... ({len(text):,} characters)"


def _copies(data: Dataset) -> Iterator[str]:
    """Samples that are copies of earlier ones: equal files or, without files, equal values."""
    digests = _digests(data) if data.survey is None else data.survey.digests
    first = dict[bytes, int]()
    pairs = [(i, first[d]) for i, d in enumerate(digests) if first.setdefault(d, i) != i]
    if not pairs:
        yield "copies: none"
        return
    shown = [f"{data.called(i)} = {data.called(j)}" for i, j in pairs[:SHOWN]]
    many = medium(data.medium)
    kind = many.name if len(pairs) == 1 else many.many
    yield f"copies: {len(pairs):,} {kind} equal to earlier ones: {_list(shown, len(pairs))}"
    if data.labels is not None:
        other = Counter(bool(data.labels[i] != data.labels[j]) for i, j in pairs)[True]
        if other:
            yield f"  {other:,} of them with another label"


def _digests(data: Dataset) -> Iterator[bytes]:
    for start in range(0, len(data), BATCH):
        for sample in data.take(range(start, min(start + BATCH, len(data)))).numpy():
            yield hashlib.sha256(np.ascontiguousarray(sample).data).digest()


def _damaged(data: Dataset) -> Iterator[str]:
    if data.survey is not None and data.survey.skipped:
        yield f"damaged and skipped: {len(data.survey.skipped):,}"
        for reason in data.survey.skipped:
            yield f"  {reason}"
    found = list(_undecodable(data)) if data.survey is not None else []
    if found:
        yield f"damaged, and training would end there: {len(found):,}"
        yield from (f"  {reason}" for reason in found)


def _undecodable(data: Dataset) -> Iterator[str]:
    """A sentence for each sample whose damage only shows when it is decoded."""
    for start in range(0, len(data), BATCH):
        rows = range(start, min(start + BATCH, len(data)))
        try:
            data.take(rows)
        except ValueError:
            for row in rows:
                try:
                    data.take([row])
                except ValueError as error:
                    yield str(error)
