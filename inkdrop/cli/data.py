"""The commands about data: data check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from inkdrop.cli.command import Command
from inkdrop.cli.options import given, options_of
from inkdrop.cli.say import say
from inkdrop.data.options import DataOptions

if TYPE_CHECKING:
    from inkdrop.data.dataset import Dataset

UNREAD = "the captions are not read: a model of words is trained with --latent"


@click.group()
def data() -> None:
    """Look at data without training on it.

    \b
    inkdrop data check ./photos
    """


@data.command(cls=Command)
@click.argument("path")
@options_of(DataOptions)
def check(path: str, **options: Any) -> None:
    """Say what training would find at PATH: a folder, zip, array, table or IDX files.

    Everything is opened and decoded as by `inkdrop train`, with the same options, and nothing is
    written. The exit code is 2 if training would refuse the data; every damaged file is named.

    \b
    inkdrop data check ./photos
    inkdrop data check table.parquet --caption description
    """
    from inkdrop.data.check import checked
    from inkdrop.data.open import open_data
    from inkdrop.data.pictures.survey import DamagedError

    try:
        opened = open_data(path, **given(options))
    except DamagedError as error:
        for reason in error.reasons:
            say(f"damaged: {reason}")
        raise
    for line in (*checked(opened), *_training(opened)):
        say(line)


def _training(opened: Dataset) -> Iterator[str]:
    """What `inkdrop train` would do with this data by default."""
    from inkdrop.model.folder import build_model
    from inkdrop.train import defaults
    from inkdrop.train.config import TrainConfig
    from inkdrop.train.feed import split_rows

    description = defaults.model_description(opened, TrainConfig())
    network = build_model(description, "the default model", meta=True).network
    millions = sum(weight.numel() for weight in network.parameters()) / 1e6
    training, held = split_rows(len(opened), TrainConfig().seed)
    yield (
        f"inkdrop train: {opened.describe_shape()}, a U-Net of width"
        f" {description['network']['width']} ({millions:.1f} million weights), {len(training):,} to"
        f" train on and {len(held):,} held out"
    )
    if opened.captions is not None:
        yield UNREAD
