"""The commands that evaluate a model on data: evaluate, likelihood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from inkdrop.cli.command import command
from inkdrop.cli.options import device_option, given, options_of
from inkdrop.cli.say import say
from inkdrop.config import parse
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.evaluation import Evaluation

_label = click.option("--label", help="The data's column of labels [the run's own].")
_class = click.option(
    "--class", "of_class", help="The class of all of the data [as its labels say]."
)


@command()
@click.argument("run")
@click.option("--data", help="Data to measure against [the run's own].")
@_label
@_class
@options_of(Evaluation)
@options_of(Sampling, without=("picture_guidance",))
@device_option
@click.option("-o", "--out", help="The report's folder [RUN/evaluate].")
def evaluate(run: str, **options: Any) -> None:
    """Measure how close the samples of RUN are to the data, and whether they are copies.

    For an autoencoder, measure its reconstructions. The judge, a small classifier of the data, is
    trained once and kept. An interrupted command continues where it stopped.

    \b
    inkdrop evaluate runs/photos --count 1000 --steps 20
    """
    from inkdrop.cli.training import show_evaluation
    from inkdrop.cli.tune import sampling_of
    from inkdrop.device import pick_device
    from inkdrop.train.evaluate import evaluate as measured
    from inkdrop.train.measured import subject
    from inkdrop.train.source import data_of

    asked = replace(_evaluation(options), sampling=sampling_of(options))
    data = data_of(
        Path(run),
        options["data"],
        subject(run).opening,
        label=options["label"],
        of_class=options["of_class"],
    )
    show_evaluation(
        measured(run, data, asked, options["out"], device=pick_device(options["device"]))
    )


def _evaluation(options: dict[str, Any]) -> Evaluation:
    names = Evaluation.__dataclass_fields__
    asked = {name: value for name, value in given(options).items() if name in names}
    return parse(Evaluation, asked, "")


@command()
@click.argument("run")
@click.option("--data", help="Data to measure on [the run's own].")
@_label
@_class
@click.option("--count", default=16, help="Number of samples of the data.", show_default=True)
@click.option("--steps", default=32, help="Runge-Kutta steps.", show_default=True)
@click.option(
    "--probes", default=4, help="Random vectors to estimate the trace.", show_default=True
)
@click.option("--seed", default=0, show_default=True, help="Seed of those vectors.")
@device_option
def likelihood(run: str, data: str | None, count: int, seed: int, **options: Any) -> None:
    """Measure bits per dimension of data by the probability-flow ODE, with error estimates.

    \b
    inkdrop likelihood runs/digits --count 64
    """
    from inkdrop.cli.tune import opened
    from inkdrop.evaluate.samples import conditions_of
    from inkdrop.registry import medium
    from inkdrop.tasks.likelihood import likelihood as measured
    from inkdrop.train.source import data_of

    if count < 1:
        raise ValueError(f"count is {count}: it must be at least 1 sample")
    model = opened(run, options["device"])
    label, of_class = options["label"], options["of_class"]
    samples = data_of(Path(run), data, label=label, of_class=of_class)
    count = min(count, len(samples))
    rows = [i * len(samples) // count for i in range(count)]
    said = measured(
        model,
        samples.take(rows),
        conditions=conditions_of(model, samples, rows),
        steps=options["steps"],
        probes=options["probes"],
        seed=seed,
    )
    kind, root = medium(samples.medium), count**0.5
    many, over = f"1 {kind.name}", "unknown"  # one sample says nothing about others
    if count > 1:
        many, over = f"{count} {kind.many}", f"{said.bits.std().item() / root:.4f}"
    say(
        f"{said.bits.mean().item():.4f} bits per dimension, mean of {many} (standard error {over}"
        f" over the data and {said.probe_error.square().mean().sqrt().item() / root:.4f} from the"
        f" probes; step error at most {said.step_error.mean().item():.4f})"
    )
