"""Pictures in a zip, read where they are; nothing is unpacked to the disk."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from inkdrop.data.dataset import Dataset
from inkdrop.data.options import DataOptions
from inkdrop.data.tree import Tree, open_tree

_MAX_BYTES = 1 << 30  # of one file unpacked: no picture or text is larger


def open_archive(path: Path, options: DataOptions) -> Dataset:
    """All pictures of a zip by the rules of `open_tree`."""
    try:
        archive = zipfile.ZipFile(path)  # stays open: pictures may be asked for at any time
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path.name} is corrupt, truncated or not a zip: {error}") from None
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    return open_tree(Tree(path.name, names, lambda name: _read(archive, name)), options)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        if archive.getinfo(name).file_size > _MAX_BYTES:
            raise ValueError(f"{name} claims more than 1 GiB unpacked, so it is not read")
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise ValueError(f"{name} is corrupt in the archive: {error}") from None
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} is encrypted or packed in an unknown way: {error}") from None
