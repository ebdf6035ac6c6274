"""Two gloo processes train what one does with the same global batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).parents[1] / "support" / "two_processes.py"


def test_two_gloo_processes_equal_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    subprocess.run([sys.executable, SCRIPT, tmp_path, one], check=True, timeout=120)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launch, SCRIPT, tmp_path, two], timeout=240, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    alone, both = load_file(one), load_file(two)
    assert alone.keys() == both.keys()
    for name in alone:
        torch.testing.assert_close(both[name], alone[name], rtol=1e-5, atol=1e-9, msg=name)
