"""The data of a run, as recorded in its run.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inkdrop.data.dataset import Dataset
from inkdrop.data.embedded import EMBEDDED
from inkdrop.data.open import open_data
from inkdrop.model import Spec
from inkdrop.weights import read_json


def recorded(file: Path, *needed: str) -> dict[str, Any]:
    """The content of a run.json; ValueError if it is damaged.

    needed: parts that must be in it, each an object; "asked.config" is a part of a part
    """
    content = read_json(file)
    for name in needed:
        part: Any = content
        for key in name.split("."):
            part = part.get(key)
        if not isinstance(part, Mapping):
            raise ValueError(
                f"{file} is damaged: it has no {name}; restore it from a copy, or use another"
                " folder"
            )
    return content


def source_of(
    run: Path, other: str | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """{"path", "options"} of the data that a run was trained on, or of `other`.

    options: used where none are recorded, as for a folder that is not a run, and for `other`
        beside the recorded ones
    """
    file = run / "run.json"
    if not file.is_file() and other is None:
        raise ValueError(f"{run} is not a run with its data; name some with --data")
    whole = recorded(file) if file.is_file() else {}
    source = recorded(file, "source")["source"] if "source" in whole else {}
    path = other or source.get("path")
    if path is None:
        raise ValueError(f"{file} does not say where the data is; name it with --data")
    if other is None and path not in EMBEDDED and not Path(str(path)).exists():
        raise ValueError(
            f"the data of {run} was at {path}, and is not there any more; name its new place with"
            " --data (training from there makes the run remember it)"
        )
    own = source.get("options") or {}
    beside = (options or {}) if other is not None or not own else {}
    return {"path": path, "options": {**beside, **own}}


def data_of(
    run: Path,
    other: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    label: str | None = None,
    of_class: str | None = None,
) -> Dataset:
    """The data that a run was trained on, or `other` opened with the same options.

    options: as in `source_of`; label: another column of labels
    of_class: the class of all samples, for data without classes
    """
    source = source_of(run, other, options)
    asked = source["options"] | ({"label": label} if label else {})
    data = open_data(source["path"], **asked)
    return data if of_class is None else data.of_class(of_class)


def opening(spec: Spec) -> dict[str, Any]:
    """Options to open data for a model without a run: its medium, channels and size."""
    if spec.medium != "picture":
        return {"medium": spec.medium}
    channels, *sides = spec.shape
    return {"channels": channels, **({"size": sides[0]} if len(set(sides)) == 1 else {})}


def report_folder(name: str | Path, what: str) -> Path:
    """The default folder of a report: RUN/WHAT, or WHAT-NAME if the name is not a folder.

    Never NAME itself: a folder named like a bundled or Hub model would hide that model.
    """
    path = Path(name)
    return path / what if path.is_dir() else Path(f"{what}-{path.stem}")
