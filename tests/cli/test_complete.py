"""What a shell completes: names and classes of the built-in model, or of the one that is given."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from models import latent_text_model

from inkdrop.conditioning.known import Known
from inkdrop.conditioning.text import Text


def completed(folder: Path, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    told = {"_INKDROP_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    line = " ".join(("inkdrop", *words))
    code = "import sys; sys.argv[0] = 'inkdrop'; from inkdrop.cli.table import commands;"
    code += "commands(prog_name='inkdrop', complete_var='_INKDROP_COMPLETE')"
    code = f"try:\n {code}\nfinally:\n print('torch' in sys.modules)"
    where = str(Path(__file__).parents[2])
    env = {**os.environ, **told, "COMP_WORDS": line, "PYTHONPATH": where}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=env, cwd=folder, stdout=subprocess.PIPE, check=True).stdout
    *lines, torch = said.decode().splitlines()
    assert torch == "False"  # so it is quick
    return [line.partition(",")[2] for line in lines if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, made = tmp_path_factory.mktemp("complete"), latent_text_model()
    assert isinstance(made.text, Text)
    text = dataclasses.replace(made.text, known=Known.of(["red square", "red circle", "blue one"]))
    dataclasses.replace(made, text=text).save(folder / "run" / "checkpoints" / "00000002" / "model")
    return folder


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("generate", '"red h'), {"red heart"}),
        (("generate", "x", "--style", ""), {"fluent-3d", "fluent-flat", "noto", "twemoji"}),
        (("generate", "--model", "run", "red"), {"red square", "red circle"}),
        (("generate", "--model", "run", "x", "--negative", "b"), {"blue one"}),
        (("generate", "--model", "run", "x", "--label", "f"), {"flat"}),
        (("generate", "--model", "none", "x", "--label", ""), set()),
    ],
)
def test_names_and_classes(folder: Path, words: tuple[str, ...], offered: set[str]) -> None:
    assert set(completed(folder, *words)) == offered
