"""Signals and a closed output end a training with a checkpoint, and with their own exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from inkdrop import runs
from inkdrop.cli.stopping import stopping

HANGUP = """
import signal, time
from inkdrop.cli.stopping import stopping
with stopping() as asked:
    asked.unsaved = True
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # the same Ctrl-C, passed on
    assert asked.event.is_set()
    time.sleep(0.6)
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and nohup a hang-up; commands started here would."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def started(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """A training of many updates that has just logged its first one."""
    tiny.data(folder)
    command = [sys.executable, "-m", "inkdrop", "train", "tiny.npz", "--width", "32", *more]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    log = folder / "runs" / "tiny" / "metrics.jsonl"
    while not (log.is_file() and log.read_bytes()) and process.poll() is None:
        time.sleep(0.01)
    return process


def saved(folder: Path) -> int:
    """The updates in a run's newest checkpoint; those in its log are as many."""
    run = folder / "runs" / "tiny"
    newest, _ = runs.newest_checkpoint(run)
    assert newest is not None
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert int(newest.name) == sum("loss" in line for line in lines)
    return int(newest.name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_gives_its_exit_code(tmp_path: Path, number: int) -> None:
    with started(tmp_path, "--updates", "100000") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert b"the same command goes on from here" in out
    assert saved(tmp_path) > 0


def test_an_interrupt_in_a_preview_saves_without_it(tmp_path: Path) -> None:
    with started(tmp_path, "--updates", "10") as process:  # a preview after every update
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert saved(tmp_path) == 1
    assert not (tmp_path / "runs" / "tiny" / "samples").exists()


def test_a_closed_output_saves(tmp_path: Path) -> None:
    with started(tmp_path, "--updates", "200") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        err = process.stderr.read()
    assert process.returncode == 141 and err == b""
    assert 0 < saved(tmp_path) < 200


def test_an_interrupt_before_the_training_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    early = """
import signal
from inkdrop.cli import main
from inkdrop.data import open as opening
def interrupted(*given, **options):
    signal.raise_signal(signal.SIGINT)
opening.open_data = interrupted
main()
"""
    command = [sys.executable, "-c", early, "train", "photos"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stderr.strip()) == (130, "")


def test_with_nothing_to_lose_a_signal_leaves_at_once() -> None:
    with pytest.raises(SystemExit, match="143"), stopping():
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("went on")


def test_with_updates_to_save_a_signal_waits_for_them() -> None:
    done = False
    with pytest.raises(SystemExit, match="129"), stopping() as asked:
        asked.unsaved = True
        signal.raise_signal(signal.SIGHUP)
        assert asked.event.is_set()
        done = True
    assert done


def test_a_second_interrupt_leaves_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", HANGUP], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert b"left at once" in done.stderr


def test_signals_that_nohup_ignores_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping() as asked:
            signal.raise_signal(signal.SIGHUP)
        assert not asked.event.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)
