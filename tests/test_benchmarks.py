"""Commands written anywhere in the repository name programs that are there and can be imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("README.md", "docs", "inkdrop", "benchmarks", "recipes")
MODULE = re.compile(r"python -m (benchmarks[.\w]*\w)")
FILE = re.compile(r"\b((?:benchmarks|recipes)/[\w/]+\.py)\b")


def texts() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        found = [path] if path.is_file() else path.rglob("*")
        yield from (each for each in found if each.suffix in (".md", ".py", ".json"))


def program(module: str) -> Path | None:
    """The file that `python -m` runs."""
    path = ROOT / module.replace(".", "/")
    found = (path / "__main__.py", path.with_suffix(".py"))
    return next((each for each in found if each.is_file()), None)


def test_commands_name_programs() -> None:
    named = {(m, path) for path in texts() for m in MODULE.findall(path.read_text())}
    assert len({module for module, _ in named}) > 15
    assert [each for each in named if program(each[0]) is None] == []
    for module, _ in named:
        file = program(module)
        assert file is not None and '__name__ == "__main__"' in file.read_text(), module


def test_files_that_are_named_exist() -> None:
    named = {(name, path) for path in texts() for name in FILE.findall(path.read_text())}
    assert named
    assert [each for each in named if not (ROOT / each[0]).is_file()] == []


def test_every_benchmark_imports() -> None:
    for library in ("diffusers", "pyarrow", "matplotlib"):
        pytest.importorskip(library)
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    assert len(names) > 40
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
