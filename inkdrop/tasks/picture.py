"""A picture from words: what was asked, as one value that a PNG can carry and repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.config import dump, parse
from inkdrop.diffusion.samplers import Step
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model, Prompt
from inkdrop.tasks.added import Added
from inkdrop.tasks.control import Guide
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling, chosen, faster
from inkdrop.unload import unload

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 4096  # pixels a side
TASKS = ("generate", "inpaint", "edit")  # that write settings, each a command
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What pictures are asked for; all that decides them, with the model.

    prompt: words; "" is anything at all. negative: words to guide away from
    style: a class of the model, its name or number (None: any)
    seed, count: samples 0 ... count - 1 of the seed; columns: of their grid (None: near square)
    size: height and width of each picture, or one number for both, of a model that makes any size;
        of another the longer side in pixels, to which the model's own is enlarged (None: its own)
    steps, sampler, grid, guidance, rescale: as in `Sampling`; None is the model's own
    loras, embeddings: files that have changed the model, which whoever loads it applies
    fast: with fewer evaluations, see `faster`
    engine, precision: what computes the network, and in what numbers; see `inkdrop.engines`
    half: weights are kept in half precision; see `inkdrop.engines.halved`
    controls: control networks that the model is given before, with their hints
    """

    prompt: str
    negative: str | None = None
    style: str | int | None = None
    seed: int = 0
    count: int = 1
    columns: int | None = None
    size: int | tuple[int, int] | None = None
    steps: int | None = None
    sampler: str | None = None
    grid: str | None = None
    guidance: float | None = None
    rescale: float = 0.0
    loras: tuple[Added, ...] = ()
    embeddings: tuple[Added, ...] = ()
    fast: bool = False
    engine: str | None = None
    precision: str | None = None
    half: bool = False
    controls: tuple[Guide, ...] = ()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}: ask for at least 1 picture")
        sides = (
            self.size if isinstance(self.size, tuple) else (1 if self.size is None else self.size,)
        )
        if not all(1 <= side <= LARGEST for side in sides):
            raise ValueError(f"size is {self.size}: a side has 1 to {LARGEST} pixels")
        if self.columns is not None and self.columns < 1:
            raise ValueError(f"columns is {self.columns}: a grid has at least 1")
        self._plain()  # checks its own numbers, before anybody loads a model

    def sampling(self, model: Model) -> Sampling:
        """How to sample it."""
        return faster(model, self._plain()) if self.fast else self._plain()

    def _plain(self) -> Sampling:
        return Sampling(
            sampler=self.sampler,
            grid=self.grid,
            steps=self.steps,
            guidance=self.guidance,
            rescale=self.rescale,
            negative=None if self.negative is None else Prompt(self.negative),
        )


def sized(model: Model, asked: Asked) -> Model:
    """The model for the size that is asked for; ValueError for one that it cannot make."""
    own, size = model.spec.shape[1:], asked.size
    if size is None:
        return model
    if model.spec.any_size:
        return model.sized(*((size, size) if isinstance(size, int) else size))
    if isinstance(size, tuple):
        raise ValueError(
            f"size is {size[0]}x{size[1]}, but this model makes {'x'.join(map(str, own))} alone;"
            " one number enlarges that"
        )
    return model


def pictures(model: Model, asked: Asked) -> Iterator[Step]:
    """The steps towards all pictures at once; x of the last one holds them.

    Words are encoded before it returns; no step needs `model.text` any more.
    ValueError, before any network call, for a model without text and a style that it does not know.
    """
    if model.text is None:
        raise ValueError(
            "this model reads no words: if it was trained without captions, `inkdrop sample` draws"
            " from its classes; if its folder lacks the text encoder, get it whole"
        )
    if asked.style is not None and not model.spec.labels:
        raise ValueError(f"style is {asked.style!r}, but this model knows only one")
    prompt = Prompt(asked.prompt, asked.style)
    return generate(
        sized(model, asked),
        seed=asked.seed,
        samples=range(asked.count),
        conditions=[prompt] * asked.count,
        sampling=asked.sampling(model),
    )


@torch.no_grad()
def finished(model: Model, x: Tensor, asked: Asked) -> Image:
    """The picture or the grid of pictures that a state x [B, C, *spatial] stands for."""
    y = model.codec.decode(x).clamp(-1, 1).cpu()
    if isinstance(asked.size, int) and not model.spec.any_size and asked.size != max(y.shape[2:]):
        scale = asked.size / max(y.shape[2:])
        sides = [max(1, round(side * scale)) for side in y.shape[2:]]
        y = F.interpolate(y, size=sides, mode="bicubic", antialias=scale < 1).clamp(-1, 1)
    return sheet(y, columns=asked.columns, pad=0 if asked.count == 1 else 2)


def repeated(cls: type[T], settings: Mapping[str, Any], options: Mapping[str, Any]) -> T:
    """A value by the settings of a picture, replaced by the options that are not None.

    What is not a field of its class counts in neither.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = cls.__dataclass_fields__  # type: ignore[attr-defined]
    taken = {name: value for name, value in {**settings, **given}.items() if name in known}
    return parse(cls, taken, "the settings")


def asked_like(settings: Mapping[str, Any], options: Mapping[str, Any]) -> Asked:
    """What is asked for; see `repeated`."""
    if options.get("prompt") is None and "prompt" not in settings:
        raise ValueError('say what to draw, such as: inkdrop generate "a smiling cat"')
    return repeated(Asked, settings, options)


def check_task(settings: Mapping[str, Any], task: str, path: str) -> None:
    """ValueError for settings, of the picture at this path, that are of another task.

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


@dataclass(frozen=True)
class By:
    """The model that a picture is made by: its name, such as a path, and its fingerprint."""

    model: str
    weights: str


def made_by(settings: Mapping[str, Any]) -> By | None:
    """The model that a picture's settings name; of other programs they have no fingerprint, ""."""
    name = settings.get("model")
    return None if name is None else By(str(name), str(settings.get("weights", "")))


def paint(
    model: Model,
    asked: Asked,
    out: Path,
    *,
    by: By | None = None,
    see: Callable[[Step], object] | None = None,
    keep: bool = True,
) -> None:
    """Makes what was asked for and writes it to a PNG that carries its settings.

    by: what the settings say of the model; see: is shown every step.
    keep: False uses the model up: each part gives its memory back once nothing needs it any more.
    """
    steps, settings = pictures(model, asked), settings_of(model, asked, by, "generate")
    x = watched(steps, model, see, keep=keep)
    save_image(finished(model, x, asked), out, settings=settings)


def watched(
    steps: Iterator[Step], model: Model, see: Callable[[Step], object] | None, *, keep: bool
) -> Tensor:
    """x of the last step, when all have been shown; keep: see `paint`."""
    if not keep and model.text is not None:
        unload(*model.text.networks)
    for step in steps:
        if see is not None:
            see(step)
    if not keep:
        unload(model.network)
    return step.x


def settings_of(model: Model, asked: Asked, by: By | None, task: str) -> dict[str, Any]:
    """What a picture's settings say; what was left to the model is written out, so it stays."""
    plan = chosen(model, asked.sampling(model))
    guidance = model.spec.guidance if asked.guidance is None else asked.guidance
    whole = replace(asked, steps=len(plan.times) - 1, guidance=guidance)
    return {"task": task} | dump(whole) | ({} if by is None else dump(by))
