"""Pictures in a zip, read in place: nothing is unpacked to disk."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from inkdrop.data.dataset import Dataset
from inkdrop.data.names import as_utf8
from inkdrop.data.options import DataOptions
from inkdrop.data.tree import Tree, open_tree

# Of one unpacked file, against zip bombs: 80 megapixels, the most that is decoded, take 240 MB.
_MAX_BYTES = 1 << 28


def open_archive(path: Path, options: DataOptions) -> Dataset:
    """All pictures in a zip, by the rules of `open_tree`; ValueError if it cannot be read."""
    try:
        archive = zipfile.ZipFile(path)  # stays open: pictures may be read at any time
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{path.name} is corrupt, truncated or not a zip ({error}); copy it again"
        ) from None
    infos = [info for info in archive.infolist() if not info.is_dir()]
    stored = {info.filename.replace("\\", "/"): info.filename for info in infos}  # from Windows
    where = as_utf8(path.name)
    return open_tree(Tree(where, list(stored), lambda name: _read(archive, stored[name])), options)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        if archive.getinfo(name).file_size > _MAX_BYTES:
            raise ValueError(
                f"{name} claims over {_MAX_BYTES >> 20} MiB unpacked, so it is not read; remove it"
            )
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise ValueError(f"{name} is corrupt in the archive ({error}); zip it again") from None
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{name} is encrypted, or compressed by an unknown method ({error}); zip it again"
        ) from None
