"""The number of inkdrop files that a command uses, and the lengths of files and functions.

    python -m benchmarks.structure [--root CHECKOUT] [--list generate]

A command uses a file if it calls at least one of its functions (see traced.py). These are the files
to read in order to follow the command. Each command runs in its own process, with the inkdrop of
the checkout [this one].
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import places
from benchmarks.structure.lengths import measured

TRACED = Path(__file__).with_name("traced.py")
MODEL = "benchmarks/models/fashion"
COMMANDS = {
    "generate": ["generate", "a red heart", "-o", "OUT/heart.png"],
    "sample": ["sample", MODEL, "--steps", "2", "--count", "4", "-o", "OUT/samples.png"],
    "train": ["train", "digits", "--updates", "2", "--out", "OUT/run"],
}


def opened(root: Path, command: list[str]) -> dict[str, list[str]]:
    """The functions that a command calls, by file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [word.replace("OUT/", f"{folder}/") for word in command]
        ran = subprocess.run(
            [sys.executable, str(TRACED), str(report), *words],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
        )  # fmt: skip
        if ran.returncode:
            raise SystemExit(f"inkdrop {' '.join(command)} failed:\n{ran.stderr}")
        found: dict[str, list[str]] = json.loads(report.read_text())
        return found


def table(root: Path) -> None:
    """Prints all metrics as Markdown."""
    print("| inkdrop's own code | |\n|---|---|")
    for command in COMMANDS.values():
        shown = " ".join(word for word in command if not word.startswith(("-o", "--out", "OUT/")))
        files = opened(root, command)
        called = sum(map(len, files.values()))
        figure = f"{len(files)} ({called} functions)"
        print(f"| files opened by `inkdrop {shown}` | {figure} |", flush=True)
    for what, figure in measured(root / "inkdrop").rows():
        print(f"| {what} | {figure} |")


def main() -> None:
    """Prints the table, or the files that one command uses."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.structure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, default=places.ROOT, help="A checkout to measure.")
    parser.add_argument("--list", choices=COMMANDS, help="List the files and functions instead.")
    asked = parser.parse_args()
    root = asked.root.resolve()
    if not asked.list:
        return table(root)
    for file, names in opened(root, COMMANDS[asked.list]).items():
        print(f"{file}: {', '.join(names)}")


if __name__ == "__main__":
    main()
