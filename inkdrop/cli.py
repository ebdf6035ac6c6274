"""The command line: parse and dispatch only. Heavy modules load inside the command that needs them.

Bad input is one sentence on standard error and exit code 2, never a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkdrop.config import nearest

if TYPE_CHECKING:
    from inkdrop.convert.inspect.estimate import Kept
    from inkdrop.convert.inspect.headers import Part
    from inkdrop.diffusion.samplers import Step
    from inkdrop.model import Condition, Model
    from inkdrop.tasks.control import Guide
    from inkdrop.tasks.picture import Asked, By
    from inkdrop.tasks.sampling import Sampling


def main() -> None:
    """Runs a command and turns every expected error into one sentence."""
    # Threads that spin while they wait lose most of their time as soon as another program works
    # too: a training beside one made a tenth of the updates. Read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        commands(standalone_mode=False)
    except (ValueError, FloatingPointError) as error:
        _leave(str(error))
    except OSError as error:
        _leave(_said(error))
    except click.ClickException as error:
        _leave(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _said(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


def _leave(sentence: str) -> None:
    click.echo(f"inkdrop: {sentence}", err=True)
    sys.exit(2)


BOX = "emoji"  # the model in the box, which any command takes by this name


class Commands(click.Group):
    """A group that suggests the nearest command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no command {args[0]!r}; known are: {', '.join(known)}."
                f"{nearest(args[0], known)}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inkdrop")
def commands() -> None:
    """Train diffusion models on your own pictures and sample from them."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator that gives a command all of these, which --help lists in their order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


device_option = click.option("--device", help="Such as cpu or cuda [a GPU if there is one].")
sampler_options = _options(
    click.option("--steps", type=int, help="Steps of the sampler [the model's own]."),
    click.option("--sampler", help="Such as dpmpp_2m; `inkdrop samplers` lists them."),
    click.option("--grid", help="Such as logsnr or karras:7; see `inkdrop samplers`."),
)
sampling_options = _options(
    sampler_options,
    click.option("--eta", type=float, help="Fresh noise: 0 (DDIM) to 1 (DDPM)."),
    click.option("--tolerance", type=float, help="Of the sampler adaptive [0.002]."),
    click.option("--guidance", type=float, help="Scale of guidance; 1 is none."),
    click.option("--rule", default="cfg", help="Of guidance: cfg, apg or cfg++."),
    click.option("--rescale", default=0.0, help="Keep the spread of guided x_0: 0 to 1."),
    click.option("--interval", nargs=2, type=float, help="Guide at these noise levels."),
    click.option("--negative", help="A label to guide away from."),
    click.option("--also", nargs=2, multiple=True, help="LABEL WEIGHT: one more of them."),
    click.option("--weak", help="A worse model of the same kind, to guide away from."),
    click.option("--threshold", type=float, help="Clip x_0 at this quantile, not at 1."),
    click.option("--two-calls", is_flag=True, help="Guide in two calls: less memory."),
    click.option("--reuse", default=1, help="Compute deep features every N calls."),
    device_option,
)
picture_options = _options(
    click.option("--like", help="A PNG made by this command: make the same picture again."),
    click.option("--negative", help="Words to guide away from."),
    click.option("--count", type=int, help="How many pictures, as one grid [1]."),
    click.option("--columns", type=int, help="Of the grid [near square]."),
    click.option("--seed", type=int, help="Picture i of a seed is always the same [0]."),
    sampler_options,
    click.option("--guidance", type=float, help="Scale of guidance; 1 is none [the model's own]."),
    click.option("--lora", multiple=True, help="A LoRA, FILE or FILE:0.8 (may repeat)."),
    click.option("--embedding", multiple=True, help="A word's vectors, FILE (may repeat)."),
    click.option("--fast/--exact", default=None, help="Fewer evaluations, in quicker arithmetic."),
    click.option("--engine", help="Computes the network; `inkdrop engines` lists them [by size]."),
    click.option("--precision", help="Of the engine: float32, bfloat16 or int8 [float32]."),
    click.option("--half/--full", default=None, help="Weights in half precision: half the memory."),
    device_option,
    click.option("-v", "--verbose", is_flag=True, help="Say every step."),
    click.option("-o", "--out", default="picture.png", help="The picture.", show_default=True),
)


def _sampling(options: dict[str, Any]) -> Sampling:
    from inkdrop.tasks.sampling import Sampling

    weak = options["weak"]
    return Sampling(
        sampler=options["sampler"],
        grid=options["grid"],
        steps=options["steps"],
        eta=options["eta"],
        tolerance=options["tolerance"],
        guidance=options["guidance"],
        rule=options["rule"],
        rescale=options["rescale"],
        interval=options["interval"],
        negative=options["negative"],
        also=tuple((name, _weight(name, weight)) for name, weight in options["also"]),
        weak=None if weak is None else _model(weak, options["device"]),
        threshold=options["threshold"],
        batched=not options["two_calls"],
        reuse=options["reuse"],
    )


def _weight(name: str, weight: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise ValueError(f"the weight of {name} is {weight!r}: a number is needed") from None


def _model(run: str, device: str | None, *, stored: bool = False) -> Model:
    """The model of a run or of others; stored: with its weights as the files hold them."""
    import torch

    from inkdrop.device import pick_device
    from inkdrop.model import Model
    from inkdrop.runs import own_folder

    where, dtype = pick_device(device), None if stored else torch.float32
    if _of_others(run):
        from inkdrop.convert.open import open_model

        model, report = open_model(run, dtype=dtype)
        for note in report.notes:
            click.echo(note, err=True)
        return model.to(where)
    folder, said = own_folder(run)
    for sentence in said:
        click.echo(sentence, err=True)
    return Model.load(folder, dtype=dtype).to(where)


def _place(run: str) -> str:
    """Where a model of any kind lies: of a run, the folder of its newest sound checkpoint."""
    from inkdrop.runs import own_folder

    return run if _of_others(run) else str(own_folder(run)[0])


def _of_others(path: str) -> bool:
    """True for a checkpoint of others by its looks: a file, a diffusers folder or a Hub name.

    So is a folder with loose files of weights, of which `convert.read` says what to give.
    """
    from inkdrop.convert.files.layout import marked
    from inkdrop.files import is_hub_name

    if not Path(path).exists():
        return is_hub_name(path)
    folder = Path(path)
    layout = marked(folder) if folder.is_dir() else "single"
    if layout is None:
        return any(folder.glob("*.safetensors"))
    return layout != "inkdrop"


def _size(text: str | None) -> int | tuple[int, int] | None:
    """A size of the command line: N or HxW."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(
            f"size is {text!r}; give pixels, such as 512, or height and width, 768x512"
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


@commands.command()
@click.argument("data")
@click.option("--out", help="The run's folder [runs/NAME].")
@click.option("--minutes", type=float, help="Train about this long; measured at the start.")
@click.option("--updates", type=int, help="Train this many updates [20000].")
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
    """
    from inkdrop.train.show import train_and_show

    train_and_show(options)


@commands.command()
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
    """
    from inkdrop.train.show import distill_and_show

    distill_and_show(_model(run, options["device"]), run, options)


@commands.command()
@click.argument("run")
@click.option("--count", default=16, help="How many samples.", show_default=True)
@click.option("--label", multiple=True, help="A class (may repeat) [all classes in turn].")
@click.option("--seed", default=0, help="Sample i of a seed is always the same.", show_default=True)
@click.option("--batch", default=64, help="Samples at a time.", show_default=True)
@click.option("--columns", type=int, help="Of the grid [near square].")
@click.option("--scale", type=int, help="Enlarge each picture [so that it is seen].")
@click.option("-o", "--out", default="samples.png", help="The picture.", show_default=True)
@sampling_options
def sample(
    run: str, count: int, label: tuple[str, ...], seed: int, batch: int, **options: Any
) -> None:
    """Sample pictures from RUN (a run or a model folder) into one grid."""
    from inkdrop.media.sheet import save_image, sheet
    from inkdrop.tasks.generate import generate_many

    if count < 1:
        raise ValueError(f"count is {count}: ask for at least 1 sample")
    model = _model(run, options["device"])
    names = _classes(model, label, count)
    x = generate_many(
        model, seed=seed, count=count, conditions=names, batch=batch, sampling=_sampling(options)
    )
    scale = options["scale"] or max(1, 96 // x.shape[-1])
    save_image(sheet(x.cpu(), columns=options["columns"], scale=scale), Path(options["out"]))
    click.echo(f"{count} samples of seed {seed} are in {options['out']}")


@commands.command()
@click.argument("prompt", required=False)
@click.option("--model", "run", help="A run or a model of any kind [emoji].")
@click.option("--style", help="A style that the model knows [any].")
@click.option("--size", help="Pixels: N, or HxW where the model makes any size [the model's own].")
@click.option(
    "--control", multiple=True, help="A control network, which reads a hint (may repeat)."
)
@click.option("--hint", multiple=True, help="The picture that the control network reads.")
@click.option("--control-scale", type=float, multiple=True, help="Of what it says [1].")
@picture_options
def generate(run: str | None, like: str | None, out: str, verbose: bool, **options: Any) -> None:
    """Make a picture of PROMPT. The PNG carries its settings; `inkdrop info` prints them."""
    from inkdrop.tasks.picture import paint

    _check_out(Path(out))
    device = options["device"]
    options["size"] = _size(options["size"])
    options["controls"] = _guides(options["control"], options["hint"], options["control_scale"])
    settings = _settings(like, "generate")
    asked = _asked(settings, options)
    _check_engine(asked)
    for guide in asked.controls:
        guide.check()
    by = _maker(run, settings)
    _check_memory(by.model, device, asked)
    model = _controlled(_changed(by.model, device, asked), asked)
    model, asked = _engined(model, asked)
    with _watched(verbose) as see:
        paint(model, asked, Path(out), by=by, see=see, keep=False)
    click.echo(out)


def _settings(like: str | None, task: str) -> dict[str, Any]:
    """The settings of a picture that this task made; none where none is to be made again."""
    from inkdrop.media.settings import read_settings
    from inkdrop.tasks.picture import check_task

    if like is None:
        return {}
    settings = read_settings(like)
    check_task(settings, task, like)
    return settings


def _asked(settings: Mapping[str, Any], options: Mapping[str, Any]) -> Asked:
    """What is asked for by the options or else by a picture's settings, with files' digests."""
    from inkdrop.tasks.added import Added
    from inkdrop.tasks.picture import asked_like

    added = {
        "loras": tuple(Added.of(text, "LoRA", weighed=True) for text in options["lora"]) or None,
        "embeddings": tuple(Added.of(text, "embedding") for text in options["embedding"]) or None,
    }
    return asked_like(settings, {**options, **added})


def _check_engine(asked: Asked) -> None:
    """ValueError, before a model is looked for, for an engine that cannot do what is asked for."""
    from inkdrop import engines

    if asked.engine is not None:
        precision = asked.precision or "float32"
        engines.check(asked.engine, precision, controls=bool(asked.controls))


def _check_out(out: Path) -> None:
    """ValueError or OSError for a picture that could not be written once it is drawn."""
    from inkdrop.files import check_writable

    if out.is_dir():
        raise ValueError(f"{out} is a folder; give --out the name of a picture in it")
    if out.suffix.lower() != ".png":
        raise ValueError(f"the picture {out} cannot carry its settings; give a name with .png")
    check_writable(out)


def _check_memory(
    run: str, device: str | None, asked: Asked, smaller: str = "a smaller --size"
) -> None:
    """ValueError, before any weight is read, if what is asked for does not fit into memory.

    smaller: how a command is asked for less
    """
    from inkdrop.convert.inspect.estimate import available, check_memory
    from inkdrop.convert.inspect.headers import headers
    from inkdrop.convert.open import located
    from inkdrop.device import pick_device

    if pick_device(device).type == "cpu":
        about, kept, beside = headers(located(_place(run))), _kept(asked), _beside(asked)
        check_memory(
            about,
            available(),
            smaller=smaller,
            size=asked.size,
            samples=asked.count,
            kept=kept,
            controls=beside,
        )


def _beside(asked: Asked) -> list[Part]:
    """The control networks that are asked for, by the headers of their files."""
    if not asked.controls:
        return []
    from inkdrop.convert.inspect.headers import part
    from inkdrop.convert.sd.control import read_control

    return [part("control", read_control(guide.control.path).weights) for guide in asked.controls]


def _kept(asked: Asked) -> Kept:
    """How the weights are kept while a picture is made."""
    from typing import cast

    from inkdrop.config import choose
    from inkdrop.convert.inspect.estimate import COMPUTED

    if asked.half:
        return "half"
    precision = asked.precision or "float32"
    choose("precision", precision, COMPUTED)
    # What OpenVINO and torch.compile make of the weights is beside the network's own.
    return cast("Kept", precision) if asked.engine in (None, "eager", "packed") else "float32"


def _changed(run: str, device: str | None, asked: Asked) -> Model:
    """The model with the LoRAs and embeddings that are asked for, if they are still the same."""
    for lora in asked.loras:
        lora.check("LoRA", "--lora")
    for embedding in asked.embeddings:
        embedding.check("embedding", "--embedding")
    model = _model(run, device, stored=asked.half)
    if not asked.loras and not asked.embeddings:
        return model
    from inkdrop.convert.adapters.open import with_adapters

    loras = ((lora.path, lora.weight) for lora in asked.loras)
    return with_adapters(model, loras, (each.path for each in asked.embeddings))


def _engined(model: Model, asked: Asked) -> tuple[Model, Asked]:
    """The model computed by the engine that is asked for or usual, which the settings then name."""
    from dataclasses import replace
    from typing import cast

    from inkdrop import engines
    from inkdrop.engines.halved import halved
    from inkdrop.tasks.picture import sized

    if asked.half:
        if asked.engine not in (None, "eager") or asked.precision not in (None, "float32"):
            raise ValueError(
                "half keeps weights in half precision and computes in float32 by the engine eager;"
                " leave out --engine and --precision, or --half"
            )
        return halved(model), asked
    precision = asked.precision or (engines.quick(model) if asked.fast else "float32")
    exact = cast(engines.Precision, precision)
    name = asked.engine or engines.usual(model, exact)
    if name == "eager" and precision == "float32":
        return model, asked
    # Guidance is a batch of both, the one with the words and the other.
    shaped = sized(model, asked)
    model = engines.prepare(shaped, name, precision=exact, batch=2 * asked.count)
    click.echo(f"engine: {name}, {precision}", err=True)
    return model, replace(asked, engine=name, precision=precision)


def _guides(
    controls: tuple[str, ...], hints: tuple[str, ...], scales: tuple[float, ...]
) -> tuple[Guide, ...] | None:
    """Each control network with its hint and scale, in their order; None if there are none."""
    from dataclasses import replace

    from inkdrop.tasks.added import Added
    from inkdrop.tasks.control import Guide

    if len(controls) != len(hints) or len(scales) not in (0, len(controls)):
        raise ValueError(
            f"there are {len(controls)} --control, {len(hints)} --hint and {len(scales)}"
            " --control-scale; each control network needs a hint, and all or none a scale"
        )
    each = zip(controls, hints, scales or (1.0,) * len(controls), strict=True)
    return (
        tuple(
            Guide(replace(Added.of(c, "control network"), weight=scale), Added.of(h, "hint"))
            for c, h, scale in each
        )
        or None
    )


def _controlled(model: Model, asked: Asked) -> Model:
    """The model with the control networks that are asked for, if all is still the same."""
    if not asked.controls:
        return model
    from inkdrop.convert.sd.control import open_control
    from inkdrop.tasks.control import controlled, read_hint
    from inkdrop.tasks.picture import sized

    sizes = sized(model, asked).spec.shape[1:]
    for guide in asked.controls:
        network, report = open_control(guide.control.path, model)
        hint, said = read_hint(guide.hint.path, sizes, network.control.hint_channels)
        for note in (*report.notes, *([said] if said else [])):
            click.echo(note, err=True)
        model = controlled(model, network.to(model.device), hint, guide.control.weight)
    return model


def _maker(run: str | None, settings: Mapping[str, Any]) -> By:
    """The model to draw with: the one asked for, or the very one that a picture's settings name."""
    from inkdrop.convert.open import located
    from inkdrop.digest import fingerprint
    from inkdrop.tasks.picture import By, made_by

    former = None if run is not None else made_by(settings)
    name = run or (BOX if former is None else former.model)
    try:
        by = By(name, fingerprint(located(_place(name))))
    except ValueError as error:
        if former is None:
            raise
        raise ValueError(
            f"the picture was made by the model {name}, which is not to be had here; say with"
            f" --model where it lies or which to use ({error})"
        ) from None
    if former is not None and former.weights not in ("", by.weights):
        raise ValueError(
            f"the picture was made by {name} as it was then (weights {former.weights}, now"
            f" {by.weights}); draw one like it all the same with --model {name}"
        )
    return by


@contextmanager
def _watched(verbose: bool) -> Iterator[Callable[[Step], None]]:
    """What sees the steps: a line each, or a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    if verbose:
        yield lambda step: click.echo(f"step {step.index + 1} of {step.total}: t = {step.t:.4f}")
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=None)
        yield lambda step: bar.update(task, completed=step.index + 1, total=step.total)


def _files_and_prompt(words: tuple[str, ...], usage: str, like: str | None) -> dict[str, Any]:
    """PICTURE, MASK and PROMPT by how many there are; usage: the most there may be.

    With --like only the prompt, or nothing, may be given: the rest is as it was.
    """
    from inkdrop.tasks.added import Added

    if not (2 <= len(words) <= len(usage.split()) or (like is not None and len(words) < 2)):
        raise ValueError(
            f"give {usage}, each a word or in quotation marks, not {len(words)} words; or --like"
            " with a PNG that this command made, and another PROMPT if you want one"
        )
    *paths, prompt = words or (None,)
    if prompt is not None and os.path.isfile(prompt) and _is_picture(Path(prompt)):
        raise ValueError(f"the prompt is {prompt!r}, which is a picture; give {usage}")
    files = zip(("picture", "mask"), paths, strict=False)
    return {"prompt": prompt, **{name: Added.of(str(path), name) for name, path in files}}


def _told(
    task: str, kind: type[Any], usage: str, check: Callable[[Model], None], options: dict[str, Any]
) -> tuple[Model, Asked, Any, By]:
    """What tasks with a picture begin with: the model, what is asked, what it is told, its name.

    kind: of what it is told, such as `Painting`; check: ValueError for a model of another task
    """
    from dataclasses import replace

    from inkdrop.tasks.canvas import of_size, size_of
    from inkdrop.tasks.picture import repeated

    run, device, like = options["run"], options["device"], options["like"]
    settings = _settings(like, task)
    options = {**options, **_files_and_prompt(options["words"], usage, like)}
    told = repeated(kind, settings, options)
    if run is None and like is None:
        raise ValueError(
            "say with --model what draws: an inpainting checkpoint for `inkdrop inpaint`, an"
            " instruct-pix2pix checkpoint for `inkdrop edit`"
        )
    told.read()  # what is wrong with it is said before a model is loaded
    size = size_of(told.picture.path)
    asked = _asked(settings, {**options, "size": size})
    by = _maker(run, settings)
    _check_memory(by.model, device, asked, "a smaller picture")
    model = _changed(by.model, device, asked)
    check(model)
    model = of_size(model, *size)
    height, width = model.spec.shape[1:]
    model, asked = _engined(model, replace(asked, size=(height, width)))
    return model, asked, told, by


@commands.command()
@click.argument("words", nargs=-1, metavar="PICTURE [MASK] PROMPT")
@click.option("--model", "run", help="A model trained on masks.")
@click.option("--seam", type=int, help="Pixels inside the mask's edge that are mixed [0].")
@picture_options
def inpaint(out: str, verbose: bool, **options: Any) -> None:
    """Paint PROMPT into PICTURE where MASK is white; all else stays as it is, to the bit.

    Without a MASK, what is not opaque in PICTURE is painted. Transparency that is not painted over
    stays.
    """
    from inkdrop.tasks.inpaint import Painting, check_painter, paint_into

    _check_out(Path(out))
    usage = "PICTURE [MASK] PROMPT"
    model, asked, painting, by = _told("inpaint", Painting, usage, check_painter, options)
    with _watched(verbose) as see:
        paint_into(model, asked, painting, Path(out), by=by, see=see, keep=False)
    click.echo(out)


@commands.command()
@click.argument("words", nargs=-1, metavar="PICTURE PROMPT")
@click.option("--model", "run", help="A model trained to edit pictures.")
@click.option("--picture-guidance", type=float, help="How much the picture counts [1.5].")
@picture_options
def edit(out: str, verbose: bool, **options: Any) -> None:
    """Change PICTURE as PROMPT says, such as "make it winter".

    A PICTURE with transparency is edited on white and stays as transparent as it was.
    """
    from inkdrop.tasks.edit import Editing, check_editor, paint_edit

    _check_out(Path(out))
    model, asked, editing, by = _told("edit", Editing, "PICTURE PROMPT", check_editor, options)
    with _watched(verbose) as see:
        paint_edit(model, asked, editing, Path(out), by=by, see=see, keep=False)
    click.echo(out)


@commands.command()
@click.argument("path")
def info(path: str) -> None:
    """Print the settings that the picture PATH carries, or what the model PATH is."""
    if _is_picture(Path(path)):
        from inkdrop.media.settings import read_settings, settings_lines

        lines = settings_lines(read_settings(path))
    else:
        from inkdrop.convert.inspect.summary import about

        lines = about(_place(path))
    for line in lines:
        click.echo(line)


def _is_picture(path: Path) -> bool:
    """True for a picture by its name, or a PNG by its first bytes."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG"


@commands.command()
@click.argument("model")
@click.argument("out")
@click.option("--to", help="folder (of diffusers), single or inkdrop [by OUT's name].")
@click.option("--prediction", help="What it predicts, if its files say it wrong: eps, v or x0.")
@click.option("--zero-terminal-snr", is_flag=True, default=None, help="Its noise is pure at last.")
@click.option("--variant", help="Of a folder's weights, such as fp16 [the plain ones].")
@click.option("--averaged", is_flag=True, help="The averaged weights of a single file's training.")
@click.option(
    "--ignore", multiple=True, help="Leave out weights whose names begin so (may repeat)."
)
@click.option("--half", is_flag=True, help="All weights in half precision [as they are].")
@click.option("--i-trust-this-pickle", is_flag=True, help="Open pickles by the restricted loader.")
def convert(model: str, out: str, to: str | None, half: bool, **options: Any) -> None:
    """Write MODEL to OUT in another layout, its text included, and say what became of it.

    MODEL and OUT are diffusers folders, single files or folders of inkdrop's own. Control networks
    are converted too, and adapters that are pickles become safetensors.
    """
    from inkdrop.convert.convert import convert as converted
    from inkdrop.convert.sd.foreign import ReadOptions

    told = ReadOptions(
        prediction=options["prediction"],
        zero_terminal_snr=options["zero_terminal_snr"],
        variant=options["variant"],
        averaged=options["averaged"],
        ignore=options["ignore"],
        trust_pickle=options["i_trust_this_pickle"],
    )
    for line in converted(_place(model), out, to, told, half=half).lines():
        click.echo(line)
    click.echo(out)


def _classes(model: Model, asked: tuple[str, ...], count: int) -> list[Condition] | None:
    """One class a sample: those asked for in turn, or all classes in turn, or none."""
    names = tuple(_class(model, name) for name in asked) or model.classes
    return [names[i % len(names)] for i in range(count)] if names else None


def _class(model: Model, label: str, words: str = "") -> Condition:
    from inkdrop.model import Prompt

    return label if model.text is None else Prompt(words, label)


@commands.command()
def samplers() -> None:
    """List samplers and grids: order, network calls a step, and when to use which."""
    from rich.console import Console
    from rich.table import Table

    from inkdrop.diffusion.samplers import ABOUT, ALIASES
    from inkdrop.diffusion.times import GRID_ALIASES, GRIDS

    table = Table("sampler", "order", "calls", "fresh noise", "when", "also called", box=None)
    for name, about in ABOUT.items():
        others = ", ".join(other for other, meant in ALIASES.items() if meant == name)
        order, fresh = str(about.order), "yes" if about.fresh else ""
        table.add_row(name, order, str(about.calls), fresh, about.when, others)
    console = Console()
    console.print(table)
    also = ", ".join(f"{other} ({meant})" for other, meant in GRID_ALIASES.items())
    console.print(f"\ngrids: {', '.join(GRIDS)}; also {also}")


@commands.command()
@device_option
def engines(device: str | None) -> None:
    """List what can compute a network: what for, in what numbers, or why not here."""
    from inkdrop.device import pick_device
    from inkdrop.engines import about

    for name, line in about(pick_device(device)).items():
        click.echo(f"{name:10} {line}")


class Lists(click.Command):
    """A command whose options in `several` take all the words that follow them."""

    several = ("--steps", "--samplers")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread, option = list[str](), ""
        for word in args:
            if word.startswith("-"):
                option = word if word in self.several else ""
                spread += [] if option else [word]
            else:
                spread += [option, word] if option else [word]
        return super().parse_args(ctx, spread)


def _guidance_alone(options: dict[str, Any]) -> Sampling:
    from inkdrop.tasks.sampling import Sampling

    return Sampling(guidance=options["guidance"])


@commands.command(cls=Lists)
@click.argument("run")
@click.option("--steps", type=int, multiple=True, help="Such as 5 10 20 50, which is the default.")
@click.option("--samplers", multiple=True, help="Names [ddim dpmpp_2m unipc deis heun].")
@click.option("--grid", help="One for all [what each would use without being told].")
@click.option("--count", default=16, help="Samples to compare on.", show_default=True)
@click.option("--guidance", type=float, help="Scale of guidance; 1 is none.")
@device_option
@click.option("-o", "--out", default="compare.png", help="The picture.", show_default=True)
def compare(run: str, steps: tuple[int, ...], samplers: tuple[str, ...], **options: Any) -> None:
    """Compare samplers on RUN: error and time against network calls, as a table and a picture.

    The error is the distance to the model's own converged answer from the same noise.
    """
    from dataclasses import replace

    from inkdrop.explain.compared import compared_figure
    from inkdrop.explain.style import needs_matplotlib
    from inkdrop.tune.compare import SAMPLERS, Row, check
    from inkdrop.tune.compare import compare as compared
    from inkdrop.tune.problem import Problem

    needs_matplotlib()
    steps, samplers = steps or (5, 10, 20, 50), samplers or SAMPLERS
    check(samplers, steps)
    model = _model(run, options["device"])
    sampling = replace(_guidance_alone(options), grid=options["grid"])
    rows = list[Row]()
    click.echo(f"{'sampler':<12} {'steps':>5} {'calls':>5} {'error':>9} {'seconds':>8}")
    for event in compared(
        model, steps=steps, samplers=samplers, count=options["count"], sampling=sampling
    ):
        if isinstance(event, Problem):
            known = event
            continue
        rows.append(event)
        click.echo(
            f"{event.sampler:<12} {event.steps:>5} {event.calls:>5} {event.error:>9.5f}"
            f" {event.seconds:>8.2f}"
        )
    click.echo(f"the converged answer is known to {float(known.doubt.mean()):.5f}")
    _save_figure(compared_figure(model, known, rows), Path(options["out"]))
    click.echo(f"the picture is {options['out']}")


def _save_figure(figure: Any, path: Path) -> None:
    from inkdrop.files import replacing

    with replacing(path) as beside:
        figure.savefig(beside)


@commands.command()
@click.argument("run")
@click.option("--steps", default=10, help="Steps to tune for.", show_default=True)
@click.option("--minutes", default=5.0, help="Time to take.", show_default=True)
@click.option("--count", default=32, help="Noises to tune on.", show_default=True)
@click.option("--guidance", type=float, help="Scale of guidance [the model's own].")
@device_option
def tune(run: str, steps: int, minutes: float, count: int, **options: Any) -> None:
    """Fit the grid and the sampler to RUN, and use them from then on at so many steps.

    It looks for the times that bring the model nearest to its own converged answer, judges them on
    other noises, and keeps them in the model folder if they are better than what is there by name.
    """
    from dataclasses import replace

    from inkdrop.model.folder import amend
    from inkdrop.tune.fit import Fitted, fit

    model = _model(run, options["device"])
    sampling = _guidance_alone(options)
    for event in fit(model, steps, minutes=minutes, count=count, sampling=sampling):
        if not isinstance(event, Fitted):
            click.echo(f"{event.error:.5f}  {event.sampler} on {event.found}")
    assert isinstance(event, Fitted)
    click.echo(
        f"on other noises: {event.after:.5f} tuned, {event.best_named:.5f} with {event.named},"
        f" {event.before:.5f} with the default {event.default}"
    )
    if not event.better:
        click.echo("the tuned grid is not better there, so nothing was kept; allow more --minutes")
        return
    others = tuple(t for t in model.spec.tuned if t.steps != steps)
    where = amend(run, replace(model.spec, tuned=(*others, event.tuned)))
    click.echo(f"kept in {where}; `inkdrop sample {run} --steps {steps}` uses it")


@commands.command()
@click.argument("run", default=BOX, required=False)
@click.option("--prompts", nargs=2, help="Walk between two prompts, from one noise.")
@click.option("--seeds", nargs=2, type=int, help="Walk between sample 0 of two seeds.")
@click.option("--pictures", nargs=2, type=click.Path(), help="Walk between two picture files.")
@click.option(
    "--frames", default=16, help="Pictures in the walk, ends included.", show_default=True
)
@click.option(
    "--depth", default=0.5, help="How far two pictures are noised, up to 1.", show_default=True
)
@click.option("--label", "--style", help="The class to walk in [the first, or any].")
@click.option("--prompt", help="What to draw on the way between seeds or pictures.")
@click.option("--seed", default=0, help="Of the noise, for prompts.", show_default=True)
@click.option("--scale", type=int, help="Enlarge each picture [so that it is seen].")
@click.option(
    "-o", "--out", default="walk.png", help="The strip; beside it NAME.webp.", show_default=True
)
@sampling_options
def interpolate(run: str, frames: int, depth: float, label: str | None, **options: Any) -> None:
    """Walk between two prompts, seeds or pictures: a strip and an animated WebP.

    RUN is a run or a model folder [the model in the box].
    """
    from inkdrop.media.sheet import save_animation, save_image, strip, to_picture
    from inkdrop.model import Prompt
    from inkdrop.tasks.interpolate import (
        interpolate_pictures,
        interpolate_prompts,
        interpolate_seeds,
        read_for,
    )

    if sum(options[name] is not None for name in ("prompts", "seeds", "pictures")) != 1:
        raise ValueError("say one of --prompts A B, --seeds A B and --pictures A B")
    if options["prompt"] is not None and options["prompts"] is not None:
        raise ValueError("--prompt is for a walk between seeds or pictures; --prompts says both")
    model, sampling = _model(run, options["device"]), _sampling(options)
    words = options["prompt"]
    condition: Condition | None
    if model.text is not None:
        condition = Prompt(words or "", label)
    elif words is not None:
        raise ValueError("this model was trained without captions; it takes no --prompt")
    else:
        condition = label or (model.spec.labels[0] if model.spec.labels else None)
    if options["prompts"]:
        first, second = (Prompt(text, label) for text in options["prompts"])
        steps = interpolate_prompts(
            model, (first, second), frames=frames, seed=options["seed"], sampling=sampling
        )
    elif options["seeds"]:
        steps = interpolate_seeds(
            model, options["seeds"], frames=frames, condition=condition, sampling=sampling
        )
    else:
        ends = (read_for(model, Path(path)) for path in options["pictures"])
        steps = interpolate_pictures(
            model,
            (next(ends), next(ends)),
            frames=frames,
            depth=depth,
            condition=condition,
            sampling=sampling,
        )
    for step in steps:
        x = step.x
    x = model.codec.decode(x).cpu()
    scale = options["scale"] or max(1, 96 // x.shape[-1])
    out = Path(options["out"])
    save_image(strip(x, scale=scale), out)
    film = [to_picture(frame).resize((x.shape[-1] * scale, x.shape[-2] * scale), 0) for frame in x]
    save_animation(film, out.with_suffix(".webp"))
    click.echo(f"the walk is in {out} and, moving, in {out.with_suffix('.webp')}")


@commands.command()
@click.argument("run")
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--exact", is_flag=True, help="By EDICT: the way back is exact, at twice the calls.")
@click.option("--label", multiple=True, help="Of each picture in turn, for a model with labels.")
@click.option("--scale", type=int, help="Enlarge each picture [so that it is seen].")
@click.option("-o", "--out", default="inverted.png", help="The picture.", show_default=True)
@sampling_options
def invert(
    run: str, pictures: tuple[str, ...], exact: bool, label: tuple[str, ...], **options: Any
) -> None:
    """Find the noise that makes PICTURES: rows of original, noise and what comes back from it."""
    import torch

    from inkdrop.media.sheet import save_image, sheet
    from inkdrop.tasks.interpolate import read_for
    from inkdrop.tasks.invert import invert as up
    from inkdrop.tasks.invert import reconstruct

    model, sampling = _model(run, options["device"]), _sampling(options)
    names = _classes(model, label, len(pictures))
    x = torch.stack([read_for(model, Path(path)) for path in pictures])
    *_, noise = up(model, x, conditions=names, sampling=sampling, exact=exact)
    for step in reconstruct(model, noise, conditions=names, sampling=sampling):
        back = model.codec.decode(step.x).cpu()
    t = torch.tensor([noise.t], dtype=torch.float64)
    size = (model.process.alpha(t) ** 2 + model.process.sigma(t) ** 2).sqrt().item()
    seen = noise.x.cpu() / (2 * size)  # two standard deviations from black to white
    scale = options["scale"] or max(1, 96 // x.shape[-1])
    rows = torch.cat([x, seen, back.float()])
    save_image(sheet(rows, columns=len(x), scale=scale), Path(options["out"]))
    error = (back - x).square().mean().sqrt().item()
    click.echo(f"root mean square error of the way back: {error:.2g} (pictures are from -1 to 1)")
    click.echo(f"original, noise and what came back are in {options['out']}")


@commands.command()
@click.argument("run")
@click.option("--data", help="Pictures to measure on [the run's own].")
@click.option("--count", default=16, help="Pictures.", show_default=True)
@click.option("--steps", default=32, help="Of Runge and Kutta's method.", show_default=True)
@click.option("--probes", default=4, help="Random vectors for the trace.", show_default=True)
@click.option("--seed", default=0, show_default=True)
@device_option
def likelihood(run: str, data: str | None, count: int, seed: int, **options: Any) -> None:
    """Bits per dimension of pictures by the probability-flow ODE, with its error."""
    from inkdrop.evaluate.samples import conditions_of
    from inkdrop.tasks.likelihood import likelihood as measured
    from inkdrop.train.source import data_of

    if count < 1:
        raise ValueError(f"count is {count}: measure at least 1 picture")
    model = _model(run, options["device"])
    pictures = data_of(Path(run), data)
    count = min(count, len(pictures))
    rows = [i * len(pictures) // count for i in range(count)]
    said = measured(
        model,
        pictures.take(rows),
        conditions=conditions_of(model, pictures, rows),
        steps=options["steps"],
        probes=options["probes"],
        seed=seed,
    )
    spread = said.bits.std(correction=0).item() / len(said.bits) ** 0.5
    click.echo(
        f"{said.bits.mean().item():.4f} bits per dimension, mean of {len(said.bits)} pictures"
        f" (standard error {spread:.4f} between pictures,"
        f" {said.probe_error.square().mean().sqrt().item() / len(said.bits) ** 0.5:.4f} from the"
        f" probes; at most {said.step_error.mean().item():.4f} from the steps)"
    )


@commands.command()
@click.argument("run")
@click.option("--data", help="Pictures to measure against [the run's own].")
@click.option("--label", help="A table's column of labels, if not the run's.")
@click.option("--count", default=1000, help="Samples, or reconstructions.", show_default=True)
@click.option("--judge", help="Measure by the judge in this folder [one is trained].")
@click.option("--judge-updates", default=1000, help="Of one that is trained.", show_default=True)
@click.option("--features", help="Measure by a transformers vision model, such as DINOv2.")
@click.option("--steps", type=int, help="Steps of the sampler [the model's own].")
@click.option("--guidance", type=float, help="Scale of guidance [the model's own].")
@click.option("--seed", default=0, help="Of samples and what is asked.", show_default=True)
@click.option("--batch", default=64, help="Samples at a time.", show_default=True)
@device_option
@click.option("-o", "--out", help="The report's folder [RUN/evaluate].")
def evaluate(run: str, **options: Any) -> None:
    """Measure RUN: how near its samples are to the data, and whether they are copies.

    Of an autoencoder, how near its reconstructions are. The judge, a small classifier of the data,
    is trained once and kept; the same command again goes on where it stopped.
    """
    from inkdrop.train.show import evaluate_and_show

    evaluate_and_show(run, options)


@commands.command()
@click.argument("run")
@click.option("--data", help="Pictures to explain with [the run's own].")
@click.option("-o", "--out", help="The report's folder [RUN/explain].")
@click.option("--seed", default=0, show_default=True)
@click.option("--quick", is_flag=True, help="At most 100 steps and shorter trainings.")
@device_option
def explain(
    run: str, data: str | None, out: str | None, seed: int, quick: bool, **options: Any
) -> None:
    """Draw what a lecture on diffusion draws, from your own model: a report with figures."""
    from inkdrop.explain.report import explain as figures
    from inkdrop.train.source import data_of

    model = _model(run, options["device"])
    pictures = data_of(Path(run), data)
    folder = Path(out) if out else Path(run) / "explain"
    for title, path in figures(model, pictures, folder, seed=seed, quick=quick):
        click.echo(f"{title}: {path}")
