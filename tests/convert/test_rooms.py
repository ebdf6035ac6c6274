"""The rooms of `convert` import only what stands before them: files, then sd, then adapters."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import inkdrop.convert

ROOT = Path(inkdrop.convert.__file__).parent
ROOMS = ("files", "sd", "adapters", "inspect")
# What a room may import of `convert` beside itself; `family` is the interface of families. What is
# not in a room is the top, which may import all.
ALLOWED = {
    "files": set[str](),
    "family": {"files"},
    "sd": {"files", "family"},
    "adapters": {"files", "sd"},
    "inspect": {"files", "family", "adapters", "families", "control", "open"},
}


def room_of(path: Path) -> str:
    """A room's name, or that of a module at the top."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(text: str) -> set[str]:
    """The rooms and top modules of `convert` that a source imports, anywhere in it."""
    names = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = (name.removeprefix("inkdrop.convert.") for name in names if ".convert." in name)
    return {name.split(".")[0] for name in inside}


def complaints(room: str, text: str) -> set[str]:
    """The imports of a source that its room may not have."""
    return imported(text) - {room} - ALLOWED[room] if room in ALLOWED else set()


def test_every_folder_is_a_room() -> None:
    folders = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.rglob("*/*.py")}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    assert not complaints(room_of(path), path.read_text(encoding="utf-8"))


def test_one_module_knows_each_family() -> None:
    """Beside adapters, which name a family's weights, the table is the only door to a family."""
    doors = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if room_of(path) not in ("sd", "adapters") and "sd" in imported(path.read_text("utf-8"))
    }
    assert doors == {"families.py"}


def test_the_rule_can_be_broken() -> None:
    assert complaints("files", "from inkdrop.convert.sd.foreign import Foreign") == {"sd"}
    assert complaints("sd", "def f():\n    import inkdrop.convert.adapters.lora") == {"adapters"}
    assert complaints("adapters", "from inkdrop.convert import families") == {"families"}
    assert complaints("inspect", "from inkdrop.convert.sd import read") == {"sd"}
    assert not complaints("sd", "from inkdrop.convert.files.keys import Naming")
    assert not complaints("open", "from inkdrop.convert.sd import read")
