"""A request as one frozen value: saved in files, repeated by `--like`, accepted by servers.

A `Request` contains how to sample (`Sampling`) and a task (one of `TASKS`). Together with the
weights that it names, it decides every bit of the result. Its written form is flat JSON: the fields
of all three side by side (`settings_of` writes, `request_of` reads). To add a task, add a class
here and a file of its name beside this one, with `open_job`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from inkdrop.arguments import check_fields
from inkdrop.conditions import Condition, Prompt
from inkdrop.config import choose, dump, option, parse
from inkdrop.limits import SCALE, check_files, check_seed, check_text, check_within
from inkdrop.printable import shell
from inkdrop.tasks.added import Added, AddedWord
from inkdrop.tasks.sampling import Sampling

LARGEST = 4096  # pixels per side
FRAMES = 1000  # of a walk
DEPTH = 0.5  # the usual one of a walk between two files
LAST = 10**8  # the largest number of a sample; `inkdrop tune` uses larger ones
MOST = {"count": 1_000_000, "batch": 1_000_000, "columns": 1_000_000, "scale": 64}
BOX = "emoji"  # the default model, which comes with the package
DRAWN = -1  # the seed that stands for one drawn at random, as in other programs
LOADED = "loaded"  # instead of a fingerprint: the model was given in memory, and has no name


@dataclass(frozen=True)
class Generate:
    """Make a picture from words."""


@dataclass(frozen=True)
class Inpaint:
    """Paint into a picture where a mask is white.

    Without a mask, what is transparent in the picture is painted.
    """

    picture: Added
    mask: Added | None = None
    seam: int = option(0, "Pixels inside the mask's edge over which old and new are blended.")
    nearest_mask: bool = option(
        False, "Tell a latent model one pixel of the mask per cell, as other programs do, not all."
    )

    def __post_init__(self) -> None:
        check_within("seam", self.seam, 0, LARGEST)


@dataclass(frozen=True)
class Edit:
    """Change a picture by words, such as 'make it winter'."""

    picture: Added


WAYS = ("prompts", "seeds", "pictures")  # the ends of a walk; a request has exactly one


@dataclass(frozen=True)
class Interpolate:
    """Walk between two prompts, seeds or files."""

    prompts: tuple[str, str] | None = option(None, "Walk between two prompts, with the same noise.")
    seeds: tuple[int, int] | None = option(None, "Walk between sample 0 of two seeds.")
    pictures: tuple[Added, Added] | None = option(None, "Walk between two files.", metavar="A B")
    frames: int = option(16, "Samples in the walk, both ends included.")
    depth: float = option(DEPTH, "How far to noise two files before mixing, above 0 and up to 1.")

    def __post_init__(self) -> None:
        if sum(getattr(self, way) is not None for way in WAYS) != 1:
            raise ValueError("give exactly one of --prompts A B, --seeds A B and --pictures A B")
        check_within("frames", self.frames, 2, FRAMES)
        for seed in self.seeds or ():
            check_seed(seed, "one of the seeds")
        for prompt in self.prompts or ():
            check_text("one of the prompts", prompt)


@dataclass(frozen=True)
class Invert:
    """Find the noise that makes a picture, and reconstruct it."""

    pictures: tuple[Added, ...]
    exact: bool = option(False, "Use EDICT: exact reconstruction, at twice the network calls.")


# The first line of a task's docstring is also its line in `inkdrop --help`.
Task = Generate | Inpaint | Edit | Interpolate | Invert
TASKS: Mapping[str, type[Task]] = {
    "generate": Generate,
    "inpaint": Inpaint,
    "edit": Edit,
    "interpolate": Interpolate,
    "invert": Invert,
}


@dataclass(frozen=True)
class Guide:
    """A control network, whose weight is its strength, and its hint."""

    control: Added
    hint: Added

    def __post_init__(self) -> None:
        what = f"the strength of the control network {self.control.path}"
        check_within(what, self.control.weight, -SCALE, SCALE)

    def check(self) -> None:
        """ValueError unless both files exist and are unchanged."""
        self.control.check("control network", "--control")
        self.hint.check("hint", "--hint")


@dataclass(frozen=True)
class Request:
    """Everything that decides the result, besides the content of the files it names.

    weights, weak_weights: the fingerprints that the model and the weaker one must have, or "" for
    any. controls: control networks
    with their hints. ValueError for values out of range or options that exclude each other.
    """

    model: str = option(
        BOX,
        "A run, a model folder, another program's checkpoint, a built-in model, or hf:ORG/NAME.",
    )
    weights: str = ""
    prompt: str | None = option(None, "A description of the samples, in words.")
    labels: tuple[str | int, ...] = option(
        (),
        "A class, such as a style, by its name or else its number; samples take turns.",
        unset="all classes in turn or, with a prompt, any",
        flag="--label",
        names=("--style",),
    )
    seed: int = option(0, "Seed of the noise; sample i of a seed is always the same; -1 draws one.")
    count: int = option(1, "Number of samples.", names=("-n",))
    first: int = option(0, "Number of the first sample, for some of a larger set.")
    batch: int = option(64, "Number of samples computed at a time.")
    columns: int | None = option(None, "Columns of the sheet.", unset="near square")
    scale: int | None = option(
        None, "Whole number by which to enlarge each sample.", unset="large enough to see"
    )
    size: int | tuple[int, int] | None = option(
        None,
        "Pixels: N, or HxW for a model of any size; for other models, N enlarges the picture.",
        unset="the model's own",
        metavar="N|HxW",
    )
    loras: tuple[Added, ...] = option(
        (), "A LoRA, with its strength if not 1.", flag="--lora", metavar="FILE[:0.8]"
    )
    lora_dir: str | None = option(
        None,
        "A folder of LoRAs that prompts name, as in <lora:boat:0.8>.",
        unset="beside the model",
        metavar="FOLDER",
    )
    embeddings: tuple[AddedWord, ...] = option(
        (),
        "A textual inversion: a word of prompts, called as its file unless it has a name.",
        flag="--embedding",
        metavar="FILE[=WORD]",
    )
    vae: Added | None = option(
        None,
        "An autoencoder in place of the model's own, such as a TAESD: a file or a folder.",
        unset="the model's own",
        names=("--vae-path", "--taesd"),
        metavar="PATH",
    )
    controls: tuple[Guide, ...] = ()
    clip_skip: int | None = option(
        None,
        "Read CLIP this many layers from its end; 1 is the model's own layer.",
        unset="1",
    )
    weak: str | None = option(None, "A worse model of the same kind to guide away from.")
    weak_weights: str = ""
    fast: bool = option(False, "Fewer evaluations, in faster arithmetic.")
    half: bool = option(False, "Keep weights in half precision, in half the memory.")
    engine: str | None = option(
        None, "Engine for the network; `inkdrop engines` lists them.", unset="by the model's size"
    )
    precision: str | None = option(
        None, "The engine's arithmetic: float32, bfloat16 or int8.", unset="float32"
    )
    sampling: Sampling = field(default_factory=Sampling)
    task: Task = field(default_factory=Generate)

    def __post_init__(self) -> None:
        check_fields(self)
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
            check_within(name, value, 1, most)
        check_seed(self.seed)
        check_within("first", self.first, 0, LAST)
        check_within("clip_skip", self.clip_skip, 1, 100)
        check_text("prompt", self.prompt)
        for name in ("loras", "embeddings", "controls"):
            check_files(name, getattr(self, name))
        for lora in self.loras:
            check_within(f"the weight of the LoRA {lora.path}", lora.weight, -SCALE, SCALE)
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if not all(side is None or 1 <= side <= LARGEST for side in sides):
            raise ValueError(f"size is {self.size}: a side must have 1 to {LARGEST} pixels")
        if self.half and (self.engine not in (None, "eager") or self.precision not in PLAIN):
            raise ValueError(
                "half keeps weights in half precision and computes in float32 with the engine"
                " eager; leave out --engine and --precision, or --half"
            )
        self.sampling.check_ways(weak=self.weak is not None)


def numbers(request: Request) -> range:
    """The numbers of all that it makes: of a walk and an inversion, counted from 0."""
    if isinstance(request.task, Interpolate):
        return range(request.task.frames)
    if isinstance(request.task, Invert):
        return range(3 * len(request.task.pictures))  # originals, noise and reconstructions
    return range(request.first, request.first + request.count)


def alone(request: Request, index: int) -> Request:
    """The request for one of its samples, from 0; a walk or an inversion is made as a whole."""
    if isinstance(request.task, Interpolate | Invert):
        return request
    return replace(request, first=request.first + index, count=1)


PLAIN = (None, "float32")
_PARTS = ("sampling", "task")


def task_name(request: Request) -> str:
    """The name of the request's task, a key of TASKS."""
    return next(name for name, kind in TASKS.items() if type(request.task) is kind)


def settings_of(request: Request) -> dict[str, Any]:
    """The request as flat JSON; `request_of` is the inverse."""
    plain = {name: value for name, value in dump(request).items() if name not in _PARTS}
    task, sampling = dump(request.task), dump(request.sampling)
    return {"task": task_name(request), **plain, **sampling, **task}


def request_of(
    task: str, settings: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Request:
    """A request from flat settings, with changes on top where they are not None.

    Unknown names, such as those of other programs, are ignored. ValueError for a value that its
    field does not accept.
    """
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    old = dict(settings)
    if given.keys() & set(WAYS):  # another way to walk takes the old one's place
        old |= dict.fromkeys(WAYS)
    flat = {**old, **given}
    kind = choose("task", task, TASKS)

    def of(cls: type[Any]) -> dict[str, Any]:
        names = {each.name for each in fields(cls)} - set(_PARTS)
        return {name: value for name, value in flat.items() if name in names}

    request, sampling = parse(Request, of(Request), ""), parse(Sampling, of(Sampling), "")
    return replace(request, sampling=sampling, task=parse(kind, of(kind), ""))


def checked(request: Request) -> Request:
    """The same request; ValueError for a value of the wrong type, which Python does not notice."""
    return request_of(task_name(request), settings_of(request))


def check_task(settings: Mapping[str, Any], task: str, path: str) -> None:
    """ValueError if the settings, from the file at `path`, are for another task.

    Settings without a task, such as other programs write, are for "generate".
    """
    made = settings.get("task", "generate")
    if not isinstance(made, str) or made not in TASKS:
        raise ValueError(
            f"{path} holds the settings of a task {made!r}, which this inkdrop does not know;"
            " update inkdrop"
        )
    if made != task:
        raise ValueError(
            f"{path} holds the settings of `inkdrop {made}`, not of `inkdrop {task}`; make it again"
            f" with: {shell(made, '--like', path)}"
        )


def prompts_of(request: Request) -> tuple[str, ...]:
    """All texts that a model with text reads for a request."""
    ends = (request.task.prompts or ()) if isinstance(request.task, Interpolate) else ()
    also = _texts(*(what for what, _ in request.sampling.also))
    return (*_texts(request.prompt), *ends, *also, *negatives_of(request))


def negatives_of(request: Request) -> tuple[str, ...]:
    """Those of them that a request leads away from."""
    return _texts(request.sampling.negative)


def _texts(*asked: Condition | None) -> tuple[str, ...]:
    texts = (each.text if isinstance(each, Prompt) else each for each in asked)
    return tuple(each for each in texts if isinstance(each, str))
