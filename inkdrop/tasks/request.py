"""What is asked for, as one frozen value: files carry it, `--like` repeats it, servers take it.

A `Request` contains how to sample (`Sampling`) and what is made (one of `TASKS`); with the weights
that it names it decides every bit of the result. Written out it is flat: the fields of all three
side by side, as `settings_of` makes them and `request_of` reads them. A new task is a class here,
and a file of its name beside this one with `open_job`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from inkdrop.config import choose, dump, option, parse
from inkdrop.tasks.added import Added
from inkdrop.tasks.sampling import Sampling

LARGEST = 4096  # pixels a side
BOX = "emoji"  # the model that is meant where none is named


@dataclass(frozen=True)
class Generate:
    """New samples from noise."""


@dataclass(frozen=True)
class Inpaint:
    """Paint into a picture where a mask is white; without a mask, where it is transparent."""

    picture: Added
    mask: Added | None = None
    seam: int = option(0, "Pixels inside the mask's edge over which old and new are mixed.")

    def __post_init__(self) -> None:
        if self.seam < 0:
            raise ValueError(f"seam is {self.seam}: it is a number of pixels, 0 or more")


@dataclass(frozen=True)
class Edit:
    """Change a picture as the prompt says."""

    picture: Added


WAYS = ("prompts", "seeds", "pictures")  # to walk, of which a request has one


@dataclass(frozen=True)
class Interpolate:
    """Walk between two prompts, two seeds or two pictures."""

    prompts: tuple[str, str] | None = option(None, "Walk between two prompts, from one noise.")
    seeds: tuple[int, int] | None = option(None, "Walk between sample 0 of two seeds.")
    pictures: tuple[Added, Added] | None = option(None, "Walk between two files.", metavar="A B")
    frames: int = option(16, "Samples in the walk, both ends included.")
    depth: float = option(0.5, "How far two files are noised before they are mixed, up to 1.")

    def __post_init__(self) -> None:
        if sum(getattr(self, way) is not None for way in WAYS) != 1:
            raise ValueError("say one of --prompts A B, --seeds A B and --pictures A B")


@dataclass(frozen=True)
class Invert:
    """Find the noise that makes pictures, and what comes back from it."""

    pictures: tuple[Added, ...]
    exact: bool = option(False, "Use EDICT: the way back is exact, at twice the calls.")


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
    """A control network, whose weight is its strength, and the hint that it reads."""

    control: Added
    hint: Added

    def __post_init__(self) -> None:
        if not math.isfinite(self.control.weight):
            raise ValueError(
                f"the control network {self.control.path} has strength {self.control.weight}: a"
                " number is needed, such as 1"
            )

    def check(self) -> None:
        """ValueError unless both files are there and still the same."""
        self.control.check("control network", "--control")
        self.hint.check("hint", "--hint")


@dataclass(frozen=True)
class Request:
    """Everything that decides what is made, besides the files it names.

    weights: the fingerprint that the model must have; "" is any. sampling: how; task: what.
    controls: control networks with their hints
    """

    model: str = option(
        BOX,
        "A run, a model folder, a checkpoint of another program, a Hub name or a model in the box.",
    )
    weights: str = ""
    prompt: str | None = option(None, "Words that say what to make.")
    labels: tuple[str | int, ...] = option(
        (),
        "A class, such as a style; of several, samples take turns.",
        unset="all classes in turn or, with a prompt, any",
        flag="--label",
        names=("--style",),
    )
    seed: int = option(0, "Sample i of a seed is always the same.")
    count: int = option(1, "How many samples.", names=("-n",))
    batch: int = option(64, "How many samples are computed at a time.")
    columns: int | None = option(None, "Columns of the sheet.", unset="near square")
    scale: int | None = option(None, "Enlarge each sample so many times.", unset="to be seen")
    size: int | tuple[int, int] | None = option(
        None,
        "Pixels: N, or HxW for a model that makes any size; for others, N enlarges the picture.",
        unset="the model's own",
        metavar="N|HxW",
    )
    loras: tuple[Added, ...] = option(
        (), "A LoRA, with its strength if not 1.", flag="--lora", metavar="FILE[:0.8]"
    )
    embeddings: tuple[Added, ...] = option(
        (), "A word's vectors (textual inversion).", flag="--embedding", metavar="FILE"
    )
    controls: tuple[Guide, ...] = ()
    weak: str | None = option(None, "A worse model of the same kind to guide away from.")
    fast: bool = option(False, "Fewer evaluations, in quicker arithmetic.")
    half: bool = option(False, "Keep weights in half precision: half the memory.")
    engine: str | None = option(
        None, "What computes the network; `inkdrop engines` lists them.", unset="by its size"
    )
    precision: str | None = option(
        None, "The engine's arithmetic: float32, bfloat16 or int8.", unset="float32"
    )
    sampling: Sampling = field(default_factory=Sampling)
    task: Task = field(default_factory=Generate)

    def __post_init__(self) -> None:
        for name in ("count", "batch", "columns", "scale"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if not all(side is None or 1 <= side <= LARGEST for side in sides):
            raise ValueError(f"size is {self.size}: a side has 1 to {LARGEST} pixels")
        if self.half and (self.engine not in (None, "eager") or self.precision not in PLAIN):
            raise ValueError(
                "half keeps weights in half precision and computes in float32 by the engine eager;"
                " leave out --engine and --precision, or --half"
            )
        self.sampling.check_ways(weak=self.weak is not None)


PLAIN = (None, "float32")
_PARTS = ("sampling", "task")


def task_name(request: Request) -> str:
    """The name of its task, a key of TASKS."""
    return next(name for name, kind in TASKS.items() if type(request.task) is kind)


def settings_of(request: Request) -> dict[str, Any]:
    """The request as flat JSON; `request_of` is the inverse."""
    plain = {name: value for name, value in dump(request).items() if name not in _PARTS}
    task, sampling = dump(request.task), dump(request.sampling)
    return {"task": task_name(request), **plain, **sampling, **task}


def request_of(
    task: str, settings: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Request:
    """A request from flat settings, with those changes that are not None.

    Names that are no field, such as those of other programs, are left aside. ValueError for a value
    that a field does not take.
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


def check_task(settings: Mapping[str, Any], task: str, path: str) -> None:
    """ValueError for settings, from the file at this path, of another task.

    Those that name none are of "generate", as pictures of other programs are.
    """
    made = settings.get("task", "generate")
    if made not in TASKS:
        raise ValueError(
            f"{path} holds the settings of a task {made!r}, which this inkdrop does not know;"
            " update inkdrop"
        )
    if made != task:
        raise ValueError(
            f"{path} holds the settings of `inkdrop {made}`, not of `inkdrop {task}`; make it again"
            f" with: inkdrop {made} --like {path}"
        )
