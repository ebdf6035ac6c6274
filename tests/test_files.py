"""Whole or not at all: checked with real failures, a really full device among them."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inkdrop.files import (
    check_writable,
    clear_leftovers,
    commit_folder,
    hub_hint,
    hub_name,
    must_exist,
    replacing,
    restore_folder,
    standing,
    standing_inside,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as part:
            assert part.parent == tmp_path and part.suffix == ".txt"
            part.write_text(text)
        assert path.read_text() == text
    assert names(tmp_path) == ["a.txt"]


def test_the_parent_folder_is_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "new" / "deep" / "a.txt") as part:
        part.write_text("x")
    assert (tmp_path / "new/deep/a.txt").read_text() == "x"


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(kind), replacing(path) as part:
        part.write_text("half")
        raise kind
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.txt"
    target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"


def test_a_folder_is_not_a_file_nor_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder"), replacing(tmp_path):
        pass
    (tmp_path / "f").write_text("")
    with pytest.raises(ValueError, match=r"is a file"), commit_folder(tmp_path / "f"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
@pytest.mark.parametrize("make", [replacing, commit_folder])
def test_a_place_to_read_from_alone_is_said(tmp_path: Path, make: Any) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(OSError, match=r"a cannot be written: no permission .*; give another"),
            make(tmp_path / "inner" / "a"),
        ):
            raise AssertionError("nothing is begun")
    finally:
        tmp_path.chmod(0o700)


def test_nothing_can_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(ValueError, match=r"a is a file, so .*a/b cannot be created; give another"):
        check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "b" / "c")
    assert names(tmp_path) == ["a"]


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@needs_full
def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        pytest.raises(OSError, match=r"disk is full.*unchanged") as caught,
        replacing(path) as part,
    ):
        part.symlink_to("/dev/full")
        part.write_text("new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@needs_full
def test_a_full_disk_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with commit_folder(path) as part:
        (part / "a").write_text("old")
    with pytest.raises(OSError, match=r"disk is full"), commit_folder(path) as part:
        (part / "a").symlink_to("/dev/full")
        (part / "a").write_text("new")
    assert (path / "a").read_text() == "old" and names(tmp_path) == ["run"]


def test_a_library_that_says_full_only_in_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"disk is full"), replacing(tmp_path / "a") as part:
        part.write_text("half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for keep in ("a", "b"):
        with commit_folder(path) as part:
            (part / "sub").mkdir()
            (part / "sub" / keep).write_text(keep)
    assert names(path / "sub") == ["b"] and names(tmp_path) == ["run"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "a").write_text("old")
    with pytest.raises(RuntimeError), commit_folder(path) as part:
        (part / "a").write_text("half")
        raise RuntimeError
    assert (path / "a").read_text() == "old" and names(tmp_path) == ["run"]


def test_a_crash_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    older = tmp_path / ".run.older"
    older.mkdir()
    (older / "a").write_text("old")
    assert restore_folder(tmp_path / "run")
    assert (tmp_path / "run" / "a").read_text() == "old"
    assert not restore_folder(tmp_path / "run")


def test_leftovers_of_a_killed_process_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    context = replacing(tmp_path / "a.txt")
    context.__enter__().write_text("half")
    folder = commit_folder(tmp_path / "b")
    (folder.__enter__() / "x").write_text("half")
    for keep in (".hidden", "a.partial", "keep.txt"):
        (tmp_path / keep).write_text("")
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "a.partial", "keep.txt"]


def test_a_missing_path_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert must_exist(tmp_path / "photos") == tmp_path / "photos"
    with pytest.raises(ValueError, match=r"no file or folder .*fotos.*Did you mean 'photos'\?"):
        must_exist(tmp_path / "fotos")
    with pytest.raises(ValueError, match=r"no folder .*fotos\. Did you mean 'photos'\?"):
        must_exist(tmp_path / "fotos" / "a.png")
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(ValueError, match=r"link is a link to gone, which does not exist"):
        must_exist(tmp_path / "link")


def test_names_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert hub_name("hf:someone/model-1.5") == "someone/model-1.5"
    assert "hf:someone/model-1.5" in hub_hint("someone/model-1.5")
    for name in ("runs/model", "/tmp/x", "a/b/c", "model", "../a", "x/a.safetensors"):
        assert hub_name(name) is None and hub_hint(name) == ""
    for name in ("someone/model", "hf:model", "hf:/tmp/x", "hf:a/b/c", "hf:../a"):
        assert hub_name(name) is None


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(ValueError, match=rf"{path} is neither a file nor a folder"):
            must_exist(path)


def killed(work: Callable[[], None], call: int) -> bool:
    """Whether a process that does some work ends, without cleaning up, at one of its renames.

    call: the rename at whose beginning it ends; False: the work was done before it came to that
    """
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] != 0
    count, rename = itertools.count(1), os.replace

    def replace(*paths: Any) -> None:
        if next(count) == call:
            os._exit(1)
        rename(*paths)

    os.replace = replace  # type: ignore[assignment]
    try:
        work()
        os._exit(0)
    finally:
        os._exit(2)


def crashes(work: Callable[[], None]) -> Iterator[int]:
    """The number of each rename of some work, after a process has ended just before it."""
    for call in itertools.count(1):
        if not killed(work, call):
            assert call > 1
            return
        yield call


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_is_found_whichever_rename_a_crash_came_before(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def write(text: str) -> None:
        with commit_folder(path) as part:
            (part / "a").write_text(text)

    write("old")
    link = tmp_path / "link"
    link.symlink_to(path)
    seen = set()
    for _ in crashes(lambda: write("new")):
        seen.add(path.exists())
        for name in (path, link):
            assert (must_exist(name) / "a").read_text() == "old"
            assert (standing(name) / "a").read_text() == "old"
        assert "run" in standing_inside(tmp_path)
        clear_leftovers(tmp_path)
        assert (path / "a").read_text() == "old"
        assert names(tmp_path) == ["link", "run"]
    assert seen == {True, False} and (path / "a").read_text() == "new"


def test_a_folder_moved_aside_after_the_new_one_stood_is_cleared(tmp_path: Path) -> None:
    for name in ("run", ".run.older"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    assert (standing(tmp_path / "run") / "a").read_text() == "run"
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["run"]


def test_the_root_of_the_disk_is_a_folder_like_any_other() -> None:
    assert must_exist("/") == standing("/") == Path("/")
    assert not restore_folder("/")
