"""A folder imports only from the layers below its own, and siblings never from each other."""

from __future__ import annotations

import ast
from pathlib import Path

import inkdrop

ROOT = Path(inkdrop.__file__).parent
# Lowest first; the names within a layer may not import each other.
LAYERS = (
    (
        "arguments",
        "box",
        "cond",
        "conditions",
        "config",
        "device",
        "digest",
        "events",
        "files",
        "folder",
        "lock",
        "limits",
        "mapped",
        "printable",
        "runs",
        "shards",
        "unload",
        "unwritten",
        "weights",
    ),
    ("diffusion", "networks", "media"),
    ("conditioning", "codecs"),
    ("registry",),
    ("model",),
    ("tasks", "data", "convert", "engines"),
    ("find",),
    ("make", "evaluate"),
    ("tune",),
    ("train", "explain"),
    ("serve", "cli", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def imported(path: Path) -> set[str]:
    """The parts of inkdrop that a file imports, anywhere in it; relative imports are refused."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("inkdrop.")}
    return found - {"__version__"}


def complaint(part: str, other: str) -> str | None:
    """Why `part` may not import `other`, or None if it may."""
    if other not in LEVEL:
        return f"{other} has no layer"
    below = LEVEL[other] < LEVEL[part] or other == part
    # The base layer is used by all, itself included; __main__ is cli's other door.
    base = LEVEL[other] == LEVEL[part] == 0 or {part, other} == {"cli", "__main__"}
    return None if below or base else f"{part} imports {other}, which is not below it"


def test_every_import_points_down() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if part == "__init__":
            assert imported(path) == set(), "the package itself loads nothing before its first use"
            continue
        assert part in LEVEL, f"{part} has no layer; give it one in this test"
        wrong += [f"{path}: {why}" for other in imported(path) if (why := complaint(part, other))]
    assert not wrong, "\n".join(wrong)


def test_the_rule_can_be_broken() -> None:
    assert complaint("networks", "diffusion")
    assert complaint("diffusion", "media")
    assert complaint("model", "tasks")
    assert complaint("evaluate", "train")
    assert complaint("diffusion", "cond") is None
    assert complaint("cli", "model") is None
