"""The commands that train: train, distill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from inkdrop.cli.command import command
from inkdrop.cli.data import UNREAD
from inkdrop.cli.options import device_option, given, options_of
from inkdrop.cli.say import say
from inkdrop.config import dump, parse
from inkdrop.data.options import DataOptions
from inkdrop.printable import printable
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import DISTILL_TRAINING, LATENT_TRAINING, TrainConfig
from inkdrop.train.request import TrainRequest

if TYPE_CHECKING:
    from inkdrop.data.dataset import Dataset
    from inkdrop.data.latents import Encoding
    from inkdrop.train.events import Event

WORDS = 80  # characters of an example prompt


@command()
@click.argument("data")
@click.option("--out", help="The run's folder [runs/NAME].")
@options_of(TrainRequest)
@options_of(DataOptions)
@options_of(TrainConfig)
@click.option("--process", help="cosine, linear, scaled_linear, sigmoid, vp, ve or flow [cosine].")
@click.option("--predict", help="edm, eps, x0, v, velocity, score or mean [edm].")
@click.option("--width", type=int, help="Channels of the U-Net at full size [by the data].")
@click.option("--latent", is_flag=True, help="Diffuse in an autoencoder's code.")
@options_of(Latents)
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard.")
@device_option
def train(**options: Any) -> None:
    """Train on DATA: a folder, zip, array, table or IDX files, or "digits".

    No configuration is needed. The same command again resumes exactly where it stopped. With
    --latent an autoencoder is trained first and, where there are captions, a text encoder.

    \b
    inkdrop train ./photos
    inkdrop train ./captioned --latent --minutes 60
    torchrun --nproc-per-node 2 -m inkdrop train ./photos
    """
    from inkdrop.cli.stopping import stopping
    from inkdrop.cli.training import show_training
    from inkdrop.data.open import open_data
    from inkdrop.device import pick_device
    from inkdrop.train.aims.latent import train_latent
    from inkdrop.train.parallel import world
    from inkdrop.train.run import train as trained

    opened = _fields(DataOptions, options)
    path = _absolute(options["data"])
    data = open_data(options["data"], **opened)
    out = Path(options["out"] or Path("runs") / Path(path).stem)
    latents = _latents(options)
    config = _config(TrainConfig() if latents is None else LATENT_TRAINING, options)
    request = TrainRequest(
        config,
        options["minutes"],
        _parts(data, config, options),
        options["save_every"],
        {"path": path, "options": opened},
    )
    with stopping() as stop, world(pick_device(options["device"]), stop.event) as here:
        events: Iterator[Event | Encoding]
        if latents is None:
            if data.captions is not None and here.main:
                say(UNREAD)
            more = ["sample", str(out)]
            events = trained(data, out, request, world=here)
        else:
            reads = latents.reads(data)
            words = ["generate", _words(data), "--model", str(out)]
            more = words if reads else ["sample", str(out)]
            events = train_latent(data, out, request, latents, world=here)
        log = out / "tensorboard" if options["tensorboard"] else None
        show_training(events, data, more, stop, here=here, tensorboard=log)


@command()
@click.argument("run")
@click.option("--data", help="Data to distill on [the run's own].")
@click.option("--out", help="The student's run [runs/NAME-STEPS].")
@options_of(DistillConfig)
@options_of(TrainRequest)
@options_of(
    TrainConfig,
    without=("condition_drop", "low_discrepancy", "log_noise_mean", "log_noise_std", "times"),
    defaults=dump(DISTILL_TRAINING),
)
@device_option
def distill(run: str, **options: Any) -> None:
    """Distill RUN into a student of few steps: a run of its own, sampled like any other.

    The same command again resumes exactly where it stopped.

    \b
    inkdrop distill runs/photos --steps 4
    """
    from inkdrop.cli.stopping import stopping
    from inkdrop.cli.training import show_training
    from inkdrop.cli.tune import opened
    from inkdrop.data.open import open_data
    from inkdrop.train.aims.distill import check
    from inkdrop.train.aims.distill import distill as distilled
    from inkdrop.train.parallel import world
    from inkdrop.train.source import opening, source_of

    config = parse(DistillConfig, _fields(DistillConfig, options), "")
    training = _config(DISTILL_TRAINING, options)
    teacher = opened(run, options["device"])
    check(teacher, config)
    source = source_of(Path(run), options["data"], opening(teacher.spec))
    source["path"] = _absolute(source["path"])
    data = open_data(source["path"], **source["options"])
    name = Path(run).resolve().name
    out = Path(options["out"] or Path("runs") / f"{name}-{config.steps}")
    save_every = options["save_every"]
    request = TrainRequest(training, options["minutes"], save_every=save_every, source=source)
    with stopping() as stop, world(teacher.device, stop.event) as here:
        events = distilled(teacher, data, out, config, request, name=name, world=here)
        show_training(events, data, ["sample", str(out)], stop, here=here)


def _fields(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given and are fields of a value."""
    names = cls.__dataclass_fields__
    return {name: value for name, value in given(options).items() if name in names}


def _config(usual: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """The usual TrainConfig with what was given."""
    if options["minutes"] is not None and options["updates"] is not None:
        raise ValueError("say how long to train either with --minutes or with --updates, not both")
    if options.get("times") == "uniform":
        for name in ("log_noise_mean", "log_noise_std"):
            if options[name] is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} is for --times lognormal; leave one of them out"
                )
    return parse(TrainConfig, {**dump(usual), **_fields(TrainConfig, options)}, "")


def _latents(options: Mapping[str, Any]) -> Latents | None:
    """How the autoencoder's code is made and read; None without --latent."""
    asked = _fields(Latents, options)
    if not options["latent"]:
        for name in asked:
            raise ValueError(f"--{name.replace('_', '-')} needs --latent")
        return None
    if options["width"] is not None:
        raise ValueError("--width is for the U-Net on pixels; with --latent, leave it out")
    for name in asked.keys() & {"autoencoder", "text_encoder"}:
        asked[name] = Path(asked[name])
    return Latents(**asked)


def _parts(data: Dataset, config: TrainConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of model.json that the command line replaces."""
    from inkdrop.config import choose
    from inkdrop.diffusion.discrete import SCHEDULES
    from inkdrop.registry import PARAMETERIZATIONS
    from inkdrop.train import defaults

    parts: dict[str, Any] = {}
    process, predict, width = options["process"], options["predict"], options["width"]
    if process is not None:
        continuous = {"vp": {"kind": "vp"}, "ve": {"kind": "ve"}, "flow": {"kind": "flow"}}
        tables = {name: {"kind": "discrete", "schedule": name} for name in SCHEDULES}
        parts["process"] = choose("process", process, tables | continuous)
    if predict is not None:
        choose("prediction", predict, PARAMETERIZATIONS)
        parts["parameterization"] = {"kind": predict}
    if width is not None:
        classes, variance = len(data.label_names), config.loss == "hybrid"
        parts["network"] = defaults.network(data.shape, classes, width=width, variance=variance)
    return parts


def _absolute(path: str) -> str:
    from inkdrop.data.embedded import EMBEDDED

    return path if path in EMBEDDED else str(Path(path).resolve())


def _words(data: Dataset) -> str:
    """A caption, or the first words of one, that can be shown in one short line as it is."""
    lines = (" ".join(caption.split()) for caption in data.captions or ())
    fine = (shorten(line, WORDS, placeholder="") for line in lines if printable(line) == line)
    return next(filter(None, fine), "")
