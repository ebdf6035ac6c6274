"""Settings from a file, ready to be repeated. The file may be a stranger's, or another program's.

A stranger's settings may ask for no more than a picture is worth: limits hold for everything that
the user did not say. What another program says is translated as far as it goes, and the rest named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from inkdrop.diffusion.names import grid_called
from inkdrop.diffusion.samplers import understood

# What a file alone may ask for: enough for every picture, and for a page of them.
MOST = {"count": 1000, "frames": 200, "steps": 1000, "batch": 256, "scale": 16, "columns": 1000}
PIXELS = 1 << 28  # of all samples together
SAID = 12  # fields of another program that are named

# A1111's grid where a sampler's name says none, by sampler ("Automatic"); else "linspace".
AUTOMATIC = {
    "dpmpp_2m": "karras", "dpmpp_sde": "karras", "dpmpp_2s_a": "karras", "dpm2": "karras",
    "dpm2_a": "karras", "dpmpp_2m_sde": "logsnr", "dpmpp_3m_sde": "logsnr", "ddim": "leading",
    "plms": "leading", "unipc": "leading",
}  # fmt: skip
# Of other programs: what changes nothing here, or is said by another field.
SILENT = ("Version", "Model hash", "VAE hash", "Lora hashes", "Lora weights", "TI hashes", "Hashes",
          "RNG", "Schedule type", "Scheduler", "Clip skip", "program", "width",
          "height")  # fmt: skip
KNOWN = ("prompt", "negative", "steps", "guidance", "seed", "model", "sampler", "grid", "size",
         "clip_skip", "count")  # fmt: skip


def liked(
    settings: Mapping[str, Any], path: str, given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Settings from the file at `path`, and sentences about what is not taken from it.

    given: the names that the user says otherwise, which are not checked
    ValueError for numbers that are too large, and if another program's model is not given.
    """
    notes: list[str] = []
    found = dict(settings)
    if "program" in settings:
        found, notes = translated(settings, path)
        _check_model(found, path, given)
    found.pop("lora_dir", None)  # it is where to look, not what was made
    _check_size(found, path, given)
    return found, notes


def translated(settings: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[str]]:
    """The settings of another program by our names, and sentences about the rest."""
    notes = list[str]()
    found = {name: settings[name] for name in KNOWN if name in settings}
    if {"width", "height"} <= settings.keys():
        found["size"] = (settings["height"], settings["width"])
    try:
        found |= _sampling(settings)
    except ValueError as error:
        found = {name: value for name, value in found.items() if name not in ("sampler", "grid")}
        notes.append(f"{error}; the default sampler is used")
    skip = settings.get("Clip skip", settings.get("clip_skip"))
    if skip is not None and str(skip).isdecimal():
        found["clip_skip"] = int(skip)
    if tags := _weighed(str(settings.get("Lora weights", ""))):
        found["prompt"] = f"{found.get('prompt', '')} {tags}".strip()
    left = [f"{name} {value}" for name, value in settings.items() if name not in (*SILENT, *KNOWN)]
    if left:
        more = f" and {len(left) - SAID} more" if len(left) > SAID else ""
        told = ", ".join(each[:60] for each in left[:SAID])
        notes.append(f"not taken from {path}: {told}{more}")
    notes.append(
        f"{path} was made by {settings['program']}, whose noise is another: the same settings make"
        " another picture here"
    )
    return found, notes


def _weighed(text: str) -> str:
    """Fooocus's field of LoRAs, such as "boat: 0.8, ink: 0.5", as tags of a prompt."""
    found = re.findall(r"([^:,<>]+): ([+-]?\d[\d.]*)(?:,|$)", text)
    return " ".join(f"<lora:{name.strip()}:{weight}>" for name, weight in found)


def _sampling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sampler and the grid, as the program means them."""
    name = settings.get("sampler")
    if not isinstance(name, str):
        return {}
    sampler, grid = understood(name)
    kinds = ("Schedule type", "Scheduler", "grid")
    kind = next((settings[each] for each in kinds if each in settings), None)
    if isinstance(kind, str) and kind.lower() == "uniform":
        grid = "linspace"  # evenly over the table's entries, both ends included
    elif isinstance(kind, str) and kind.lower() != "automatic":
        grid = grid_called(kind)
    elif grid is None:
        # Before it had types of schedules, A1111 said Karras in the name, or meant none.
        table = AUTOMATIC if kind is not None else {}
        usual = "leading" if sampler in ("ddim", "plms", "unipc") else "linspace"
        grid = None if sampler is None else table.get(sampler, usual)
    return {"sampler": sampler, "grid": grid}


def _check_model(settings: dict[str, Any], path: str, given: Collection[str]) -> None:
    """Another program's name of a model is none of ours, so the user must say which it is."""
    if "model" not in given:
        name = settings.get("model")
        made = f" with the model {str(name)[:80]!r}" if name else ""
        raise ValueError(
            f"{path} was made by another program{made}; say which model makes it here, with --model"
        )


def _check_size(settings: Mapping[str, Any], path: str, given: Collection[str]) -> None:
    """ValueError for more than a file alone may ask for."""
    for name, most in MOST.items():
        value = settings.get(name)
        if name not in given and isinstance(value, int) and value > most:
            raise ValueError(
                f"{path} asks for {name} {value}, but a file alone may ask for at most {most}; to"
                f" have it anyway, say so with --{name} {value}"
            )
    size = settings.get("size")
    sides = size if isinstance(size, list | tuple) else (size, size)
    count = settings.get("count") or 1
    if {"size", "count"} & set(given) or not all(isinstance(x, int) for x in (*sides, count)):
        return
    if math.prod(sides) * count > PIXELS:
        raise ValueError(
            f"{path} asks for {count} samples of {'x'.join(map(str, sides))}, which is more than a"
            " file alone may ask for; to have them anyway, say so with --count and --size"
        )
