"""Data divided into parts for training and testing: how the parts are called."""

from __future__ import annotations

from collections.abc import Iterable

# In the order in which one is chosen.
PARTS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def divided(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The names in each part by what is left without it: x_train and train_x are both x of train.

    Names without a part, or with several, are left out.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        words = name.split("_")
        parts = [word.lower() for word in words if word.lower() in PARTS]
        rest = [word for word in words if word.lower() not in PARTS]
        if len(parts) == 1 and rest:
            found.setdefault(parts[0], {})["_".join(rest)] = name
    return {part: found[part] for part in PARTS if part in found}
