"""What commands print: names are never markup nor escapes, on any terminal, or on none."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from models import random_model
from PIL import Image

import inkdrop as library
from inkdrop.cli.screen import Screen
from inkdrop.media.sheet import save_image

COMMAND = (sys.executable, "-m", "inkdrop")
ROOT = Path(library.__file__).parent
PRINTERS = {ROOT / "cli" / "say.py", ROOT / "cli" / "screen.py"}
NASTY = ("cat [/b]", "[/INST]", "[red]dog", "x\x1b[2J", "y\u202ez", ":smile: 日本")
NAMES = ("print", "Console", "TextColumn")
ENDS = (".echo", ".secho", ".Console", ".TextColumn", "stdout.write", "stderr.write")
RAW = ("\x1b[2J", "\u202e")


def run(*words: object, **how: str) -> subprocess.CompletedProcess[bytes]:
    """The real command, with changes of the environment."""
    command = [*COMMAND, *map(os.fspath, map(str, words))]
    return subprocess.run(command, capture_output=True, env={**os.environ, **how}, check=False)


def prints(path: Path) -> list[str]:
    """Where a file writes to a standard stream, or makes a console of rich."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in NAMES or called.endswith(ENDS):
                found.append(f"{path}:{node.lineno}: {called}")
    return found


def test_only_two_files_print() -> None:
    others = set(ROOT.rglob("*.py")) - PRINTERS
    assert not [line for path in others for line in prints(path)]
    assert all(prints(path) for path in PRINTERS)  # the search finds what it looks for


def test_training_on_names_with_markup_and_escapes(tmp_path: Path) -> None:
    """A whole training by the real command: brackets in the path, anything in the labels."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    data, out = tmp_path / "data [red].npz", tmp_path / "a [/x] b"
    np.savez(data, images=images, labels=np.array(NASTY * 2))
    done = run("train", data, "--updates", 2, "--batch", 2, "--out", out)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "cat [/b]" in said and "[/INST]" in said and "[red]dog" in said and ":smile:" in said
    assert r"x\x1b[2J" in said and r"y\u202ez" in said
    assert not any(each in said for each in RAW)
    assert f"pictures: {out}" in said


def test_info_shows_a_strangers_settings_harmless(tmp_path: Path) -> None:
    settings = {"prompt": "a [/b] [red]\x1b]0;x\x07\x9b31m\nmodel: mine", "seed": 3}
    save_image(Image.new("RGB", (4, 4)), tmp_path / "a.png", settings)
    lines = run("info", tmp_path / "a.png").stdout.decode().splitlines()
    assert lines == [r"prompt: a [/b] [red]\x1b]0;x\x07\x9b31m\nmodel: mine", "seed: 3"]


def test_a_refusal_is_one_harmless_line(tmp_path: Path) -> None:
    said = run("info", f"{tmp_path}/[b]\x1b[2J\nsecond [red]").stderr.decode()
    assert said == (
        f"inkdrop: there is no model folder or run {tmp_path}/[b]\\x1b[2J\\nsecond [red].\n"
    )


def test_a_name_that_is_not_utf_8_is_shown(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert r"caf\udce9.png" in run("info", tmp_path / name).stderr.decode()


ENCODINGS = (
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


@pytest.mark.parametrize("how", ENCODINGS, ids=lambda how: " ".join(how.values()))
def test_a_terminal_that_is_not_utf_8(how: dict[str, str], tmp_path: Path) -> None:
    save_image(Image.new("RGB", (4, 4)), tmp_path / "a.png", {"prompt": "고양이 — é"})
    done = run("info", tmp_path / "a.png", **how)
    assert done.returncode == 0, done.stderr
    accent = b"\xe9" if how.get("PYTHONIOENCODING") == "latin-1" else rb"\xe9"
    assert done.stdout == rb"prompt: \uace0\uc591\uc774 \u2014 " + accent + b"\n"


def test_help_and_tables_in_ascii() -> None:
    for words in (["--help"], ["generate", "--help"], ["samplers"], ["engines"]):
        done = run(*words, PYTHONIOENCODING="ascii:strict")
        assert done.returncode == 0 and done.stdout.isascii(), (words, done.stderr)


def redirected(words: Sequence[object], how: str) -> subprocess.CompletedProcess[bytes]:
    """The real command in a shell, with redirections."""
    command = " ".join([sys.executable, "-m", "inkdrop", *map(str, words), how])
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False)


def test_closed_streams(tmp_path: Path) -> None:
    """Nothing is lost, no traceback, and a file does not take the number of a closed stream."""
    random_model(tmp_path).save(tmp_path / "model")
    out = tmp_path / "a.png"
    words = ("sample", tmp_path / "model", "--count", 1, "--steps", 1, "-o", out)
    done = redirected(words, ">&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    Image.open(out).load()
    assert redirected(("info", "nowhere"), "2>&-").returncode == 2
    piped = redirected(("samplers",), "| head -n 0; echo ${PIPESTATUS[0]}")
    assert b"Traceback" not in piped.stderr and b"Exception" not in piped.stderr
    full = redirected(("samplers",), ">/dev/full")
    assert full.returncode == 2 and full.stderr == b"inkdrop: No space left on device\n"


def on_terminal(columns: int, *words: object) -> str:
    """What the real command shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    how = {**os.environ, "TERM": "xterm"}
    how.pop("COLUMNS", None)
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=theirs, stderr=theirs, stdin=theirs, env=how
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's answer at the end
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait() == 0, said.decode()
    return said.decode()


def test_a_narrow_terminal(tmp_path: Path) -> None:
    """Names of samplers stay whole, and a bar with a note about brackets is drawn."""
    assert "dpmpp_2s_a " in on_terminal(30, "samplers")
    random_model(tmp_path).save(tmp_path / "model [/b]")
    out = tmp_path / "a [red].png"
    said = on_terminal(12, "sample", tmp_path / "model [/b]", "--count", 1, "--steps", 2, "-o", out)
    assert f"is in {out}" in said.replace("\r\n", "")


def test_nothing_on_a_screen_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.print("[bold]a[/x]", ":smile:", "\x1b[2J", markup=True)
    screen.say("[red]b\nc")
    assert capsys.readouterr().out == "[bold]a[/x] :smile: \\x1b[2J\n[red]b\\nc\n"
