"""A training as a person sees it: what was asked, a progress bar, pictures, a polite end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from inkdrop.config import choose, dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.data.embedded import EMBEDDED
from inkdrop.data.latents import Encoding
from inkdrop.data.open import open_data
from inkdrop.device import pick_device
from inkdrop.diffusion.process import SCHEDULES
from inkdrop.events import Note
from inkdrop.model import Model, Spec
from inkdrop.registry import PARAMETERIZATIONS
from inkdrop.runs import own_folder
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import defaults
from inkdrop.train.aims.distill import check, distill
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.aims.latent import train_latent
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import DISTILL_TRAINING, LATENT_TRAINING, TrainConfig
from inkdrop.train.evaluate import Evaluated, Made, evaluate
from inkdrop.train.evaluation import Evaluation
from inkdrop.train.events import Event, Pictured, Saved, Validated
from inkdrop.train.parallel import World, world
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.source import source_of
from inkdrop.train.updates import Update
from inkdrop.weights import read_json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

DATA_OPTIONS = ("size", "channels", "background", "split", "label")
CONFIG_OPTIONS = (
    "updates", "batch", "accumulate", "lr", "warmup", "ema", "loss", "times", "condition_drop",
    "flip", "precision", "compile", "seed",
)  # fmt: skip

DISTILL_OPTIONS = ("steps", "method", "guidance", "teacher_steps")


def train_and_show(options: Mapping[str, Any]) -> None:
    """The `train` command: `options` are its command line's."""
    path = options["data"]
    opened = {k: options[k] for k in DATA_OPTIONS if options[k] is not None}
    absolute = _absolute(path)
    data = open_data(path, **opened)
    out = Path(options["out"] or Path("runs") / Path(absolute).stem)
    plan = _latents(options)
    config = _config(LATENT_TRAINING if options["latent"] else TrainConfig(), options)
    ask = TrainRequest(
        config=config,
        minutes=options["minutes"],
        model=_model_parts(data, config, options),
        save_every=options["save_every"],
        source={"path": absolute, "options": opened},
    )
    device = pick_device(options["device"])
    with _signals() as stop, world(device, stop) as here:
        events: Iterator[Event | Encoding]
        reads = False
        if plan is not None:
            events = train_latent(data, out, ask, plan, world=here)
            reads = plan.reads(data)
        else:
            events = train(data, out, ask, world=here)
        _show(events, data, out, here, tensorboard=options["tensorboard"], reads=reads)


LATENT_OPTIONS = (
    "autoencoder", "autoencoder_updates", "factor", "code_channels", "text", "text_encoder",
    "network",
)  # fmt: skip


def _latents(options: Mapping[str, Any]) -> Latents | None:
    """How the command line wants its latents made; None without --latent."""
    given = {name: options[name] for name in LATENT_OPTIONS if options[name] is not None}
    if not options["latent"]:
        for name in given:
            raise ValueError(f"--{name.replace('_', '-')} needs --latent")
        return None
    if options["width"] is not None:
        raise ValueError("--width is of the U-Net on pixels; with --latent leave it out")
    for name in ("autoencoder", "text_encoder"):
        if name in given:
            given[name] = Path(given[name])
    return Latents(**given)


def distill_and_show(teacher: Model, run: str, options: Mapping[str, Any]) -> None:
    """The `distill` command: the model of `run` teaches; `options` are its command line's."""
    plan = {k: options[k] for k in DISTILL_OPTIONS if options[k] is not None}
    config = parse(DistillConfig, plan, "the command line")
    check(teacher, config)
    training = _config(DISTILL_TRAINING, options)
    source = source_of(Path(run), options["data"], _size_of(teacher.spec))
    source["path"] = _absolute(source["path"])
    data = open_data(source["path"], **source["options"])
    name = Path(run).resolve().name
    out = Path(options["out"] or Path("runs") / f"{name}-{config.steps}")
    ask = TrainRequest(
        training, options["minutes"], save_every=options["save_every"], source=source
    )
    with _signals() as stop, world(teacher.device, stop) as here:
        events = distill(teacher, data, out, config, ask, name=name, world=here)
        _show(events, data, out, here, tensorboard=False, reads=False)


def evaluate_and_show(run: str, options: Mapping[str, Any]) -> None:
    """The `evaluate` command: measures a run; `options` are its command line's."""
    device = pick_device(options["device"])
    source = source_of(Path(run), options["data"], _size_of_model(run))
    opened = source["options"] | ({"label": options["label"]} if options["label"] else {})
    data = open_data(source["path"], **opened)
    asked = Evaluation(
        count=options["count"],
        seed=options["seed"],
        batch=options["batch"],
        sampling=Sampling(steps=options["steps"], guidance=options["guidance"]),
        judge=None if options["judge"] is None else Path(options["judge"]),
        features=None if options["features"] is None else Path(options["features"]),
        judge_updates=options["judge_updates"],
    )
    console = Console(highlight=False)
    columns = (
        TextColumn("{task.description} {task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        judge, made = (
            bar.add_task(what, total=None, visible=False)
            for what in ("judge: update", "measured: picture")
        )
        for event in evaluate(run, data, asked, options["out"], device=device):
            if isinstance(event, Note):
                console.print(event.text)
            elif isinstance(event, Update):
                bar.update(judge, completed=event.index + 1, total=event.total, visible=True)
            elif isinstance(event, Made):
                bar.update(made, completed=event.count, total=event.total, visible=True)
    assert isinstance(event, Evaluated)
    console.print(str(event.report), soft_wrap=True)
    console.print(f"\nreport and pictures: {event.folder}", soft_wrap=True)


def _size_of_model(run: str) -> dict[str, Any]:
    """How to open pictures for a model or an autoencoder, where its run does not say."""
    about = read_json(own_folder(run)[0] / "model.json")
    if "autoencoder" in about:
        return {"channels": int(about["autoencoder"]["channels"])}
    return _size_of(parse(Spec, about["spec"], run))


def _absolute(path: str) -> str:
    return path if path in EMBEDDED else str(Path(path).resolve())


def _config(usual: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """The TrainConfig of a command line; what it does not say is as usual."""
    if options["minutes"] is not None and options["updates"] is not None:
        raise ValueError("say how long to train either with --minutes or with --updates, not both")
    given = {k: options[k] for k in CONFIG_OPTIONS if options.get(k) is not None}
    return parse(TrainConfig, {**dump(usual), **given}, "the command line")


def _size_of(spec: Spec) -> dict[str, Any]:
    """How to open pictures as a model without a run needs them."""
    channels, *sides = spec.shape
    return {"channels": channels, **({"size": sides[0]} if len(set(sides)) == 1 else {})}


def _model_parts(data: Dataset, config: TrainConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of model.json that the command line replaces."""
    parts: dict[str, Any] = {}
    process, predict, width = options["process"], options["predict"], options["width"]
    if process is not None:
        continuous = {"vp": {"kind": "vp"}, "ve": {"kind": "ve"}, "flow": {"kind": "flow"}}
        tables = {name: {"kind": "discrete", "schedule": name} for name in SCHEDULES}
        parts["process"] = choose("process", process, {**tables, **continuous})
    if predict is not None:
        choose("prediction", predict, PARAMETERIZATIONS)
        parts["parameterization"] = {"kind": predict}
    if width is not None:
        classes, variance = len(data.label_names), config.loss == "hybrid"
        parts["network"] = defaults.network(data.shape, classes, width=width, variance=variance)
    return parts


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second one ends at once, as usual."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def asked(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(
    events: Iterator[Event | Encoding],
    data: Dataset,
    out: Path,
    here: World,
    *,
    tensorboard: bool,
    reads: bool,
) -> None:
    """reads: whether what is trained is asked with words."""
    console = Console(quiet=not here.main, highlight=False)
    console.print(data.describe())
    writer = _tensorboard(out) if tensorboard and here.main else None
    columns = (
        TextColumn("update {task.completed:,.0f} of {task.total:,.0f}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        line = Line(bar)
        for event in events:
            line.take(event)
            if writer is not None:
                _write(writer, event)
    if line.picture is not None:
        console.print(f"pictures: {line.picture}")
        words = f'generate "{_words(data)}" --model {out}' if reads else f"sample {out}"
        console.print(f"more: inkdrop {words} -o more.png", soft_wrap=True)


def _words(data: Dataset) -> str:
    """A caption that a shell takes between quotes."""
    return next((c for c in data.captions or () if not set(c) & set('"$`!\\\n')), "")


class Line:
    """The progress bar's side of a run: a smoothed loss and the sentences above it."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("train", total=None, loss=float("nan"), visible=False)
        self.loss: float | None = None
        self.picture: Path | None = None

    def take(self, event: Event | Encoding) -> None:
        """Shows one event."""
        say = self.bar.console.print
        if isinstance(event, Update):
            self._update(event)
        elif isinstance(event, Note):
            say(event.text)
        elif isinstance(event, Validated):
            say(f"update {event.update:,}: loss on held-out pictures {event.loss:.4f}")
        elif isinstance(event, Pictured):
            self.picture = event.path
            say(f"samples: {event.path}")
        elif isinstance(event, Encoding):
            if event.done == event.total:
                say(f"latents: {event.total:,} pictures encoded")
        elif isinstance(event, Saved):
            pass

    def _update(self, update: Update) -> None:
        if not update.applied:
            self.bar.console.print(f"update {update.index:,} was not finite and not applied")
            return
        self.loss = update.loss if self.loss is None else 0.98 * self.loss + 0.02 * update.loss
        self.bar.update(
            self.task,
            completed=update.index + 1,
            total=update.total,
            loss=self.loss,
            visible=True,
        )


def _tensorboard(out: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard needs an extra: pip install 'inkdrop[tensorboard]'"
        ) from None
    return SummaryWriter(str(out / "tensorboard"))


def _write(writer: SummaryWriter, event: Event | Encoding) -> None:
    if isinstance(event, Update):
        writer.add_scalar("loss", event.loss, event.index)
        writer.add_scalar("grad_norm", event.grad_norm, event.index)
        writer.add_scalar("lr", event.lr, event.index)
    elif isinstance(event, Validated):
        writer.add_scalar("validation", event.loss, event.update)
