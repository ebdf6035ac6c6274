"""One process at a time holds a folder; the lock of a dead one is taken over, and said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inkdrop.lock import NAME, STALE, locked

HOLDER = """
import sys, time
from inkdrop.lock import locked
with locked(sys.argv[1], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_and_a_dead_one_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        before = (folder / NAME).read_bytes()
        told = rf"run is being written to by process {holder.pid} on .* \(training, started moments"
        with pytest.raises(ValueError, match=told), locked(folder, "training"):
            pass
        assert (folder / NAME).read_bytes() == before
        holder.kill()
    with locked(folder, "training") as said:
        assert len(said) == 1 and f"process {holder.pid} " in said[0] and "taken over" in said[0]
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with locked(folder, "training") as said:
        assert said == []


def test_a_folder_that_stays_empty_is_removed_again(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b", "training"):
        assert (tmp_path / "a" / "b" / NAME).is_file()
        with pytest.raises(ValueError, match=f"process {os.getpid()} "):
            locked(tmp_path / "a" / "b", "training").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_counts_while_it_shows_signs_of_life(tmp_path: Path) -> None:
    file = tmp_path / NAME
    owner = {"host": "elsewhere", "pid": 7, "work": "training", "since": time.time() - 600}
    file.write_text(json.dumps(owner))
    told = r"process 7 on elsewhere \(training, started 10 minutes ago\); its last sign of life"
    with pytest.raises(ValueError, match=told), locked(tmp_path, "training"):
        pass
    assert json.loads(file.read_text()) == owner
    os.utime(file, (time.time() - STALE - 1,) * 2)
    with locked(tmp_path, "training") as said:
        assert "process 7 on elsewhere" in said[0] and "no sign of life for 121 seconds" in said[0]


def test_a_clock_in_the_future_is_said_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / NAME
    file.write_text('{"host": "elsewhere", "pid": 7, "work": "training", "since": 5}')
    os.utime(file, (time.time() + 5000,) * 2)
    told = f"lies in the future.* delete {file}"
    with pytest.raises(ValueError, match=told), locked(tmp_path, "training"):
        pass
    file.unlink()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "[" * 9999,
        '{"host": "a", "pid": 7, "work": "b", "since": "c"}',
        '{"host": "a", "pid": 7, "work": "b", "since": 1e308}',
        '{"host": {}, "pid": "7", "work": "b", "since": NaN}',
    ],
)
def test_a_damaged_lock_that_nobody_holds_does_not_count(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with locked(tmp_path, "training") as said:
        assert said == []


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_not_taken_for_a_lock(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "run" / NAME
    file.parent.mkdir()
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(file)
    told = f"{file} is a folder, a link or a pipe.* delete it"
    with pytest.raises(ValueError, match=told), locked(tmp_path / "run", "training"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_of_many_that_ask_at_once_one_holds_the_lock(tmp_path: Path) -> None:
    inside, most, got = list[int](), list[int](), list[int]()

    def ask(number: int) -> None:
        while number not in got:
            try:
                with locked(tmp_path / "run", "training"):
                    inside.append(number)
                    most.append(len(inside))
                    time.sleep(0.002)
                    inside.remove(number)
                    got.append(number)
            except ValueError:
                time.sleep(0.001)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(8)) and set(most) == {1}
