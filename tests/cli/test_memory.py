"""Out of memory is a sentence with what to lower, and leaves nothing that refuses it then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from inkdrop.cli import memory

HUGE = 10**13


def numpy_error() -> None:
    np.zeros(HUGE)


def torch_error() -> None:
    torch.zeros(HUGE)


@pytest.mark.parametrize("fails", [numpy_error, torch_error])
def test_what_libraries_raise_is_known(fails: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inkdrop", "sample", "run", "--count", "9"])
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        fails()  # type: ignore[operator]
    said = memory.out_of_memory(caught.value)
    assert said is not None and "--count" in said and "\n" not in said
    assert "were needed" in said and ("TiB" in said or "40,000.00 GB" in said)
    gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    assert "(another 2.00 GiB were needed)" in str(memory.out_of_memory(gpu))
    numpy = MemoryError("Unable to allocate 335. GiB for an array with shape (3, 100000)")
    assert "(another 335 GiB were needed)" in str(memory.out_of_memory(numpy))
    assert memory.out_of_memory(OSError(12, "Cannot allocate memory")) is not None
    assert memory.out_of_memory(MemoryError()) is not None
    assert memory.out_of_memory(RuntimeError("shapes differ")) is None


def test_a_batch_that_does_not_fit_may_be_lowered(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    asked = f"{sys.executable} -m inkdrop train tiny.npz --width 64 --updates 1 --out run --batch"

    def trained(batch: int) -> subprocess.CompletedProcess[str]:
        limited = f"ulimit -v 3000000; {asked} {batch}"
        return subprocess.run(
            ["bash", "-c", limited], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    refused = trained(50_000)
    assert refused.returncode == 2
    assert refused.stderr.startswith("inkdrop: out of memory") and refused.stderr.count("\n") == 1
    assert "lower --batch, --size or --width, or raise --accumulate" in refused.stderr
    assert not (tmp_path / "run").exists()
    lowered = trained(8)
    assert lowered.returncode == 0, lowered.stderr
