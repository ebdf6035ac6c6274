"""The command explain."""

from __future__ import annotations

from pathlib import Path

import click

from inkdrop.cli.command import command
from inkdrop.cli.options import device_option
from inkdrop.cli.say import say


@command()
@click.argument("run")
@click.option("--data", help="Data to explain with [the run's own].")
@click.option("-o", "--out", help="The report's folder [RUN/explain].")
@click.option("--seed", default=0, show_default=True, help="Seed of all randomness.")
@click.option("--quick", is_flag=True, help="At most 100 steps, and shorter training.")
@device_option
def explain(
    run: str, data: str | None, out: str | None, seed: int, quick: bool, device: str | None
) -> None:
    """Draw the figures of a lecture on diffusion from your own model, as an HTML report.

    Needs matplotlib: pip install 'inkdrop[explain]'.

    \b
    inkdrop explain runs/photos --quick
    """
    from inkdrop.cli.tune import opened
    from inkdrop.explain.report import explain as figures
    from inkdrop.train.source import data_of, report_folder

    model = opened(run, device)
    samples = data_of(Path(run), data)
    folder = Path(out) if out else report_folder(run, "explain")
    for title, path in figures(model, samples, folder, seed=seed, quick=quick):
        say(f"{title}: {path}")
