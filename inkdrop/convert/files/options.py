"""Options for reading the checkpoints of others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class ReadOptions:
    """How to read a checkpoint whose files are silent or wrong.

    prediction: what the network predicts: eps, v or x0
    zero_terminal_snr: whether the schedule ends in pure noise
    variant: of the weights in a folder, such as fp16; default: the plain ones, or the only ones
    averaged: read the averaged weights (model_ema) of a single file
    ignore: prefixes of weight names in a single file to leave out
    trust_pickle: open pickles with the restricted loader (`inkdrop convert --i-trust-this-pickle`)
    """

    prediction: str | None = None
    zero_terminal_snr: bool | None = None
    variant: str | None = None
    averaged: bool = False
    ignore: tuple[str, ...] = ()
    trust_pickle: bool = False

    def check(self, path: Path, what: str, takes: Collection[str]) -> None:
        """ValueError for an option that is set but has no effect on this kind of file."""
        for each in fields(self):
            known = each.name in {*takes, "trust_pickle"}
            if not known and getattr(self, each.name) != each.default:
                raise ValueError(
                    f"{path} is {what}, where --{each.name.replace('_', '-')} changes nothing;"
                    " leave it out"
                )


PLAIN = ReadOptions()
SCHEDULE_OPTIONS = ("prediction", "zero_terminal_snr")  # what any file may get wrong
