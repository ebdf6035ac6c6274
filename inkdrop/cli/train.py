"""The commands that train: train, distill."""

from __future__ import annotations

from typing import Any

import click

from inkdrop.cli.options import device_option


@click.command()
@click.argument("data")
@click.option("--out", help="The run's folder [runs/NAME].")
@click.option("--minutes", type=float, help="Train about this long; measured at the start.")
@click.option("--updates", type=int, help="Train this many updates [20000].")
@click.option("--medium", help="picture or series [by the data].")
@click.option("--size", type=int, help="Side of the square pictures [64 or less].")
@click.option("--channels", type=int, help="1 grey, 3 RGB, 4 RGBA [as the data].")
@click.option("--background", default="white", help="Colour behind transparent pictures.")
@click.option("--split", help="The part of the data to use, such as train.")
@click.option("--label", help="A table's column of labels.")
@click.option("--batch", type=int, help="Pictures per update [64].")
@click.option("--accumulate", type=int, help="Parts a batch is split into, to save memory.")
@click.option("--lr", type=float, help="Peak learning rate [0.001].")
@click.option("--warmup", type=int, help="Updates until the peak [200].")
@click.option("--ema", type=float, help="Decay of the averaged weights [0.999].")
@click.option("--loss", help="simple, min_snr, edm or hybrid [edm].")
@click.option("--times", help="uniform or lognormal [lognormal].")
@click.option("--condition-drop", type=float, help="How often labels are dropped [0.1].")
@click.option("--flip", is_flag=True, default=None, help="Mirror pictures at random.")
@click.option("--precision", help="auto, float32 or bfloat16.")
@click.option("--compile", help="auto, on or off.")
@click.option("--seed", type=int, help="Of weights, order, noise and all else [0].")
@click.option("--process", help="cosine, linear, scaled_linear, sigmoid, vp, ve or flow.")
@click.option("--predict", help="What the network predicts: edm, eps, x0, v, velocity, mean.")
@click.option("--width", type=int, help="Channels of the U-Net at full resolution.")
@click.option("--latent", is_flag=True, help="Diffuse in an autoencoder's code, trained first.")
@click.option("--text/--no-text", default=None, help="Read captions [if there are any].")
@click.option("--text-encoder", help="A transformers folder to read captions with, as it is.")
@click.option("--autoencoder", help="A run or folder of one to reuse [trained here].")
@click.option("--autoencoder-updates", type=int, help="Train it this many updates [2000].")
@click.option("--factor", type=int, help="Pixels a side that a place of the code holds [4 or 8].")
@click.option("--code-channels", type=int, help="Channels of the code [8].")
@click.option("--network", help="On the code: dit or unet [dit].")
@click.option("--save-every", type=int, help="Updates between checkpoints [two minutes].")
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard.")
@device_option
def train(**options: Any) -> None:
    """Train on DATA: a folder, zip, array, table or IDX files of pictures, or "digits".

    The same command again resumes exactly where it stopped.

    \b
    inkdrop train ./photos --minutes 30
    inkdrop train digits --updates 2000 --out runs/digits
    """
    from inkdrop.train.show import train_and_show

    train_and_show(options)


@click.command()
@click.argument("run")
@click.option("--steps", type=int, help="Network calls of the student [4].")
@click.option("--method", help="rollout, consistency or training [rollout].")
@click.option("--guidance", type=float, help="Scale to build in [the teacher's own].")
@click.option("--teacher-steps", type=int, help="The teacher's, from noise to data [16].")
@click.option("--data", help="Pictures to distill on [the run's own].")
@click.option("--out", help="The student's run [runs/NAME-STEPS].")
@click.option("--minutes", type=float, help="Train about this long; measured at the start.")
@click.option("--updates", type=int, help="Train this many updates [1000].")
@click.option("--batch", type=int, help="Pictures per update [64].")
@click.option("--lr", type=float, help="Peak learning rate [0.0005].")
@click.option("--seed", type=int, help="Of data order, noise and times [0].")
@click.option("--save-every", type=int, help="Updates between checkpoints [two minutes].")
@device_option
def distill(run: str, **options: Any) -> None:
    """Distill RUN into a student of few steps: a run of its own, sampled like any other.

    The same command again resumes exactly where it stopped.

    \b
    inkdrop distill runs/photos --steps 4
    """
    from inkdrop.cli.tune import opened
    from inkdrop.train.show import distill_and_show

    distill_and_show(opened(run, options["device"]), run, options)
