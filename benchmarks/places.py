"""The folders that the benchmarks read from and write to."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "benchmarks" / "models"
RESULTS = ROOT / "benchmarks" / "results"
# Checkpoints and caches, ignored by git.
WORK = ROOT / "benchmarks" / "work"
PICTURES = ROOT / "docs" / "pictures"
