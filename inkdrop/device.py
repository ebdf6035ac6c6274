"""The device on which things are computed."""

from __future__ import annotations

import torch


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`, or a GPU if there is one, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which a device without values, such as meta, cannot
    except (RuntimeError, AssertionError):
        raise ValueError(f"the device {name!r} cannot be used here; leave --device out") from None
    return device
