"""Every error number of a write is a sentence that names the path; other errors pass unchanged."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inkdrop.files import append, commit_folder, replacing
from inkdrop.unwritten import REASONS, check_space, sentence

OTHER = (errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT)


@pytest.mark.parametrize("number", [*REASONS, *OTHER])
@pytest.mark.parametrize("said", ["os", "rust", "shutil"])
def test_every_number_names_the_path(tmp_path: Path, number: int, said: str) -> None:
    path = tmp_path / "model"
    path.mkdir()
    with (
        pytest.raises(OSError, match=r"so .*/model was not written and any older") as caught,
        commit_folder(path) as part,
    ):
        if said == "os":
            raise OSError(number, os.strerror(number), str(part / "a"))
        if said == "rust":
            raise RuntimeError(f"Error while serializing: I/O error: it (os error {number})")
        raise shutil.Error([("a", "b", f"[Errno {number}] it: 'b'")])
    assert caught.value.errno == number
    assert caught.value.strerror == sentence(number, path.resolve())
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_what_is_read_meanwhile_keeps_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for error in (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere/a.png"),
        ValueError("a.png cannot be read ([Errno 5] Input/output error)"),
        RuntimeError("another thing"),
    ):
        with pytest.raises(type(error)) as caught, replacing(tmp_path / "there" / "a"):
            raise error
        assert caught.value is error


def test_a_part_of_a_folder_is_not_named_but_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"so .*/model was not written") as caught,
        commit_folder(tmp_path / "model") as part,
        replacing(part / "words.json"),
    ):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert ".partial" not in str(caught.value)


@pytest.fixture
def small() -> object:
    """A limit of 4 KiB for every file that is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("writer", ["python", "numpy", "safetensors"])
def test_a_real_limit_in_every_library(tmp_path: Path, writer: str) -> None:
    with (
        pytest.raises(OSError, match=r"so .*/a was not written") as caught,
        replacing(tmp_path / "a") as part,
    ):
        if writer == "python":
            part.write_bytes(bytes(10**5))
        elif writer == "numpy":
            with part.open("wb") as file:
                np.save(file, np.zeros(10**5))
        else:
            save_file({"a": torch.zeros(10**5)}, part)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small")
def test_a_log_that_cannot_grow_is_named(tmp_path: Path) -> None:
    append(tmp_path / "log", "a" * 4000)
    with pytest.raises(OSError, match=r"so .*/log was not continued"):
        append(tmp_path / "log", "a" * 4000)


def test_a_disk_with_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    told = r"disk is full \(1,000,000,000\.00 GB needed, [\d,.]+ .B free"
    with pytest.raises(OSError, match=told), replacing(path, needs=10**18):
        raise AssertionError("nothing is begun")
    assert not list((tmp_path / "new").iterdir())
    check_space(path, shutil.disk_usage(tmp_path).free // 2)
