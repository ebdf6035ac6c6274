"""Where a run's data is, how data is opened for a model without a run, and where reports go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inkdrop.model import Spec
from inkdrop.train.source import opening, recorded, report_folder, source_of


def test_reports_lie_in_the_run_and_never_hide_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert report_folder("runs/a", "explain") == Path("runs/a/explain")
    # A folder called emoji would be meant by that name from then on.
    assert report_folder("emoji", "evaluate") == Path("evaluate-emoji")
    assert report_folder("org/name", "evaluate") == Path("evaluate-name")
    assert report_folder("sd15.safetensors", "evaluate") == Path("evaluate-sd15")


def test_data_is_opened_as_the_model_needs_it() -> None:
    assert opening(Spec((3, 16, 16))) == {"channels": 3, "size": 16}
    assert opening(Spec((1, 16, 24))) == {"channels": 1}
    assert opening(Spec((2, 100), medium="series")) == {"medium": "series"}


@pytest.mark.parametrize("part", ["asked", "asked.config", "config", "model", "source"])
@pytest.mark.parametrize("broken", ["missing", None, [], "text"])
def test_a_damaged_run_json_is_said(tmp_path: Path, part: str, broken: object) -> None:
    file, whole = tmp_path / "run.json", {"asked": {"config": {}}, "config": {}, "model": {}}
    names = ("asked", "asked.config", "config", "model", "source")
    content: dict[str, Any] = {**whole, "source": {}}
    file.write_text(json.dumps(content))
    assert recorded(file, *names) == content
    *above, name = part.split(".")
    holder = content[above[0]] if above else content
    del holder[name]
    holder |= {} if broken == "missing" else {name: broken}
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"run.json is damaged: it has no {part}"):
        recorded(file, *names)


def test_other_data_is_opened_as_the_own_was(tmp_path: Path) -> None:
    source = {"path": str(tmp_path), "options": {"size": 8}}
    (tmp_path / "run.json").write_text(json.dumps({"source": source}))
    assert source_of(tmp_path) == source
    assert source_of(tmp_path, None, {"size": 4, "channels": 3}) == source
    other = source_of(tmp_path, "/b", {"size": 4, "channels": 3})
    assert other == {"path": "/b", "options": {"size": 8, "channels": 3}}
    with pytest.raises(ValueError, match="is not a run with its data"):
        source_of(tmp_path / "nothing")
    moved = {"source": {"path": str(tmp_path / "old")}}
    (tmp_path / "run.json").write_text(json.dumps(moved))
    with pytest.raises(ValueError, match=r"was at .*old, and is not there any more; .* --data"):
        source_of(tmp_path)
