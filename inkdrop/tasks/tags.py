"""LoRAs that a prompt names, as in other programs: <lora:boat:0.8>.

A name is that of a file, without its suffix and in any case, or the title that its trainer wrote
into the file, which A1111 uses for tags. It is looked for in the request's folder of LoRAs and all
folders inside, beside the model, and in folders of LoRAs beside the model, as A1111's and ComfyUI's
are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from inkdrop.conditioning.prompt import lora_tags
from inkdrop.config import nearest
from inkdrop.files import FILES, must_exist
from inkdrop.limits import check_files
from inkdrop.tasks.added import Added
from inkdrop.tasks.request import Request

FOLDERS = ("lora", "loras", "lycoris")  # in any case
MARKS = ("adapter_config.json", "pytorch_lora_weights.safetensors")  # of a LoRA that is a folder
TITLE = "ss_output_name"  # in the headers of kohya's trainers
MOST = 1_000  # files of a folder whose headers are read
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def with_tags(request: Request) -> tuple[Request, tuple[str, ...]]:
    """The request with the LoRAs that its prompt names among its own, and without these tags.

    Also sentences about the files that were found. Tags of one file add up, as in other programs; a
    LoRA that the request has already gets their strength. ValueError for a name that is not found,
    or a tag that says more than a strength.
    """
    if request.lora_dir is not None and not must_exist(request.lora_dir, "folder").is_dir():
        raise ValueError(f"lora_dir is {request.lora_dir}, which is a file; give a folder of LoRAs")
    prompt, tags = lora_tags(request.prompt or "")
    check_files("LoRAs in the prompt", tags)
    found = [_added(tag, request) for tag in tags]
    named = dict[Path, Added]()
    for lora in found:
        place = Path(lora.path).resolve()
        more = named[place].weight if place in named else 0.0
        named[place] = replace(lora, weight=lora.weight + more)
    others = (lora for lora in request.loras if Path(lora.path).resolve() not in named)
    notes = [
        f"{tag} is {lora.path}, with strength {lora.weight:g}"
        for tag, lora in zip(tags, found, strict=True)
    ]
    if request.lora_dir is not None and not tags:
        notes.append("a folder of LoRAs is given, but the prompt names none, as in <lora:boat:0.8>")
    request = replace(request, lora_dir=None)
    if tags:
        request = replace(request, prompt=prompt, loras=(*others, *named.values()))
    return request, tuple(notes)


def _added(tag: str, request: Request) -> Added:
    """The LoRA of a tag, from the first place that has one of its name."""
    name, *rest = (part.strip() for part in tag.strip("<>").split(":")[1:])
    places = dict(_places(request))
    known = list[str]()
    for place, inside in places.items():
        files = dict(_files(place, inside=inside))
        matches = _matches(name, files) or _titled(name, files)
        if len(matches) > 1:
            raise ValueError(
                f"the prompt has {tag!r}, but there are several LoRAs of that name:"
                f" {', '.join(map(str, matches))}; give one of them with --lora FILE:WEIGHT"
            )
        if matches:
            return replace(Added.of(str(matches[0]), "LoRA"), weight=_strength(tag, rest))
        known += [Path(each).name for each in files.values()]
    where = f" in {' or '.join(map(str, places))}" if places else ""
    raise ValueError(
        f"the prompt has {tag!r}, but there is no LoRA {name!r}{where}; give its folder with"
        " --lora-dir, its file with --lora FILE:WEIGHT, or put a backslash before '<' if it is"
        f" meant as text.{nearest(name, known)}"
    )


def _strength(tag: str, rest: list[str]) -> float:
    """The one strength of a tag, 1 if it has none."""
    values = [part.removeprefix("te=").removeprefix("unet=") for part in rest if part]
    if not all(map(_NUMBER.fullmatch, values)) or len(set(map(float, values))) > 1:
        raise ValueError(
            f"the prompt has {tag!r}, but a LoRA has one strength here, for all parts and steps, as"
            " in <lora:boat:0.8>"
        )
    return float(values[0]) if values else 1.0


def _matches(name: str, files: dict[Path, str]) -> list[Path]:
    """The files of this name: exactly so or, if there is none, in any case."""
    for same in (_composed, lambda text: _composed(text).casefold()):
        found = [
            path
            for path, inside in files.items()
            if same(name) in {same(text) for text in (inside, Path(inside).name, path.name)}
        ]
        if found:
            best = min(map(_rank, found))
            return list({p.resolve(): p for p in found if _rank(p) == best}.values())
    return []


def _titled(name: str, files: Iterable[Path]) -> list[Path]:
    """The files whose header gives them this title; only headers are read."""
    plain = (path for path in files if path.suffix == FILES[0] and path.is_file())
    return [path for path in islice(plain, MOST) if _title(path) == name]


def _title(path: Path) -> str | None:
    """The title in a file's header; None if it has none, or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            return (opened.metadata() or {}).get(TITLE)
    except (OSError, SafetensorError):
        return None


def _rank(path: Path) -> int:
    """Folders come before files, and .safetensors before pickles."""
    return FILES.index(path.suffix) if path.suffix in FILES else -1


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _places(request: Request) -> Iterator[tuple[Path, bool]]:
    """The folders where LoRAs are looked for, and whether also in the folders inside."""
    if request.lora_dir is not None:
        yield Path(request.lora_dir), True
    model = Path(request.model)
    if not model.exists():
        return
    above = model.absolute().parents[:2]
    yield above[0], False
    for folder in (*([model] if model.is_dir() else []), *above):
        for each in sorted(folder.iterdir()):
            if each.name.casefold() in FOLDERS and each.is_dir():
                yield each, True


def _files(place: Path, *, inside: bool) -> Iterator[tuple[Path, str]]:
    """The LoRAs in a folder, with their names there, without a suffix."""
    for path in sorted(place.rglob("*") if inside else place.iterdir()):
        weights = path.suffix in FILES and path.is_file()
        if weights or any((path / mark).is_file() for mark in MARKS):
            name = path.relative_to(place)
            yield path, (name.with_suffix("") if weights else name).as_posix()
