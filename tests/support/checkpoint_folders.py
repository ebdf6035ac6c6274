"""Runs as training leaves them, without any training: checkpoints with models of random weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from inkdrop.model import Model


def checkpoint(run: Path, update: int, model: Model) -> Path:
    """A checkpoint of a run: a model, the state of training, and the sha256 of every file."""
    folder = run / "checkpoints" / f"{update:08d}"
    model.save(folder / "model")
    (folder / "training").mkdir()
    (folder / "training" / "counters.json").write_text(json.dumps({"update": update}))
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    digests = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
    (folder / "manifest.json").write_text(json.dumps(digests))
    return folder


def flip(file: Path, place: int = -1) -> None:
    """Changes one bit of a file, and neither its size nor its time."""
    content, stat = bytearray(file.read_bytes()), file.stat()
    content[place] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
