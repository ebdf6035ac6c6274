"""One thread: tests are tiny, and threads that wait for each other are slower than one."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

# What several tests share lies in tests/support and is imported by name.
sys.path.insert(0, str(Path(__file__).parent / "support"))

torch.set_num_threads(1)
