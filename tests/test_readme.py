"""The Python of the README runs as it is written, one block after the other, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_an_example_runs_and_writes_its_files(block: int, tmp_path: Path) -> None:
    code = BLOCKS[block]
    run = [sys.executable, "-c", f"import torch; torch.set_num_threads(1)\n{code}"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = re.findall(r"\"([\w/.-]+\.png)\"", code)
    assert named or any(tmp_path.iterdir())
    for name in named:
        with Image.open(tmp_path / name) as picture:
            picture.load()
