"""One thread: tests are tiny, and threads that wait for each other are slower than one."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

# Tests share exact.py, tiny.py and captions.py, which are imported by name.
sys.path[:0] = [
    str(Path(__file__).parent / part) for part in (".", "tasks", "conditioning", "convert")
]

torch.set_num_threads(1)
