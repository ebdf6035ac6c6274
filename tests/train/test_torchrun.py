"""The whole command under torchrun: two processes, one run folder, resumed by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import tiny


def test_torchrun_trains_one_run_and_one_process_resumes_it(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    asked = ["train", "tiny.npz", "--updates", "6", "--width", "32", "--batch", "8"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [*launch, "-m", "inkdrop", *asked]
    subprocess.run(both, cwd=tmp_path, env=environment, check=True, timeout=300)
    log = (tmp_path / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()
    updates = [json.loads(line)["update"] for line in log if "grad_norm" in line]
    assert updates == [1, 2, 3, 4, 5, 6]
    alone = [sys.executable, "-m", "inkdrop", *asked]
    again = subprocess.run(
        alone, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert "resuming runs/tiny after update 6 of 6" in again.stdout
