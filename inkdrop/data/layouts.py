"""Layouts of other trainers in a tree of pictures: what is not read as it is there is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from inkdrop.data.names import natural
from inkdrop.data.pictures.prepare import listed

# Subfolders that usually hold no pictures to train on.
_MASKS = {"mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "gt"}


def repeats(folders: Sequence[str]) -> list[str]:
    """A note if all folders are named as in kohya's scripts, 10_cat for ten repeats of cat."""
    if not all(re.fullmatch(r"\d+_.+", folder) for folder in folders):
        return []
    first = folders[0]
    return [
        f"a subfolder's whole name, such as {first}, is its label; the number in it repeats nothing"
    ]


def masks_of(pictures: Sequence[str]) -> set[str]:
    """Pictures that OneTrainer keeps beside a.png: a-masklabel.png and a-condlabel.png."""
    stems = {str(PurePosixPath(name).with_suffix("")) for name in pictures}
    found = {name: re.fullmatch(r"(.+)-(?:mask|cond)label\d*\.\w+", name) for name in pictures}
    return {name for name, match in found.items() if match and match[1] in stems}


def told_masks(masks: Collection[str], labels: Sequence[str]) -> list[str]:
    """Notes on masks that are left out, and on subfolders that look like masks."""
    notes = []
    if masks:
        some = listed(sorted(masks, key=natural), 3)
        each = "mask of a picture is" if len(masks) == 1 else "masks of pictures are"
        notes.append(f"{len(masks):,} {each} not read: {some}")
    folders = [name for name in labels if name.lower() in _MASKS]
    if folders:
        notes.append(
            f"the subfolder {folders[0]} is read as a class; if it holds masks, give the folder of"
            " the pictures alone"
        )
    return notes


def words_of_names(pictures: Sequence[str]) -> list[str]:
    """A note on names such as cat_1.png, which OpenAI's diffusion repositories take for classes."""
    found = [re.match(r"([^\W\d_]+)_", PurePosixPath(name).stem) for name in pictures]
    counts = Counter(match[1] if match else "" for match in found)
    if "" in counts or len(counts) < 2 or min(counts.values()) < 2:
        return []
    words = sorted(counts, key=natural)
    return [
        f"there are no labels: the words that names begin with ({listed(words, 5)}) are not read;"
        " for classes, put pictures into subfolders of these names"
    ]
