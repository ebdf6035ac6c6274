"""Where the benchmarks keep what they read and write."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "benchmarks" / "models"
RESULTS = ROOT / "benchmarks" / "results"
# Checkpoints and caches; git ignores them.
WORK = ROOT / "benchmarks" / "work"
PICTURES = ROOT / "docs" / "pictures"
