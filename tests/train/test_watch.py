"""Of two processes that train together, one is killed or hangs: the other names it, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from inkdrop.train import watch

SCRIPT = Path(__file__).parents[1] / "support" / "two_processes.py"


def test_what_hangs_is_named_within_45_seconds() -> None:
    # The last sign came, it counts as lost, the first one looks and tells, the others look.
    assert watch.SILENT + watch.BEAT + max(2 * watch.BEAT, watch.BEAT + watch.BEAT) < 45


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_process_that_hangs_is_named(tmp_path: Path, stopped: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    both = []
    for rank in ("0", "1"):
        there = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank}
        command = [sys.executable, str(SCRIPT), "long", str(tmp_path), str(tmp_path / "o"), "whole"]
        both.append(
            subprocess.Popen(
                command, env={**os.environ, **there}, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        started(both, [tmp_path / "pid0", tmp_path / "pid1"])
        both[stopped].send_signal(signal.SIGSTOP)
        _, err = both[1 - stopped].communicate(timeout=120)
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert both[1 - stopped].returncode == watch.FAILED
    name = f"process {stopped} on {socket.gethostname()} (pid {both[stopped].pid})"
    assert err.startswith(f"inkdrop: {name} has shown no sign of life for 3 seconds")
    assert len(err.splitlines()) == 1


def test_a_process_of_torchrun_that_is_killed_is_named(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "inkdrop", "train", "tiny.npz", "--updates", "100000", "--width", "32"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        started([launcher], [tmp_path / "runs" / "tiny" / "metrics.jsonl"])
        [one] = [pid for pid in children(launcher.pid) if rank(pid) == "1"]
        os.kill(one, signal.SIGKILL)
        _, err = launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert f"inkdrop: process 1 on {socket.gethostname()} (pid {one}) was killed" in err
    assert "[rank0]" not in err  # the first line of a traceback of our own


def started(processes: list[subprocess.Popen[str]], files: list[Path]) -> None:
    """Waits until the processes have written these files."""
    while not all(file.is_file() and file.read_bytes() for file in files):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def rank(pid: int) -> str | None:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((pair[5:].decode() for pair in pairs if pair.startswith(b"RANK=")), None)
