"""One thread: tests are tiny, and threads that wait for each other are slower than one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# What several tests share lies in tests/support and is imported by name.
sys.path.insert(0, str(Path(__file__).parent / "support"))

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder in the layout of Stable Diffusion 1, small, with random weights."""
    import pipelines

    folder = tmp_path_factory.mktemp("models") / "sd1"
    pipelines.saved(folder, "sd15")
    return folder
