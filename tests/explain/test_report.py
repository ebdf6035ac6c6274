from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from subjects import data, model

from inkdrop.explain.forward import forward_figure
from inkdrop.explain.report import encoded, explain
from inkdrop.explain.subject import Subject
from inkdrop.explain.targets import Plan

TINY = Plan(updates=2, batch=2, width=8, samples=8, steps=2)
SHORT = {"kind": "discrete", "steps": 12}
NAMES = ["forward", "schedules", "derivation", "targets", "loss", "reverse", "ddpm-ddim"]


class Tags(HTMLParser):
    """What a page is made of, and whether every tag is closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.sources += [value for value in (named.get("src"),) if value]
        self.links += [value for value in (named.get("href"),) if value]
        if tag not in ("meta", "img", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.open.pop() == tag


def test_the_report_holds_everything_in_one_file(tmp_path: Path) -> None:
    pictures = data(tmp_path, labels=True)
    out = tmp_path / "run" / "explain"
    done = list(explain(model(pictures, SHORT), pictures, out, quick=True, plan=TINY))
    assert [path.name for _, path in done] == [
        "forward.png", "forward.webp", *(f"{name}.png" for name in NAMES[1:]), "report.html",
    ]  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for _, path in done)
    text = (out / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.sources) == 8
    assert all(source.startswith("data:image/") for source in tags.sources)
    assert tags.links == [f"#{name}" for name in NAMES]
    assert all(f'id="{name}"' in text for name in NAMES)
    assert not re.search(r"<script|https?://|@import|nan\b", text)


def test_pictures_of_many_channels_and_a_continuous_process(tmp_path: Path) -> None:
    pictures = data(tmp_path, channels=5, count=3)
    made = model(pictures, {"kind": "flow"})
    names = [path.name for _, path in explain(made, pictures, tmp_path, quick=True, plan=TINY)]
    assert "derivation.png" not in names
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "5 channels, only the first of them drawn" in text
    assert "Left out:</b> the check" in text


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    pictures = data(tmp_path)
    it = Subject(model(pictures), pictures, seed=4)
    other = Subject(it.model, pictures, seed=5)
    first = encoded(forward_figure(it))
    assert encoded(forward_figure(it)) == first
    assert encoded(forward_figure(other)) != first


def test_importing_it_does_not_import_matplotlib() -> None:
    code = "import sys, inkdrop.explain.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
