"""Models in the box: found by name, unless something here is called the same; never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkdrop import box
from inkdrop.conditioning.known import Known
from inkdrop.model import Model, Prompt
from inkdrop.model.folder import amend
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling


def test_a_name_is_the_box_unless_a_file_here_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, said = own_folder("emoji")
    assert folder == Path(box.FOLDER) / "emoji" and said == []
    for name in ("nothing", "../emoji", "."):
        assert box.find(name) is None
    (tmp_path / "emoji").mkdir()
    with pytest.raises(ValueError, match="neither a model folder nor a run"):
        own_folder("emoji")


def test_what_is_in_the_box_is_not_amended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = Model.load(own_folder("emoji")[0]).spec
    with pytest.raises(ValueError, match="cannot be changed; copy its folder"):
        amend("emoji", spec)


def test_the_box_knows_its_names_and_says_what_it_never_read() -> None:
    known = Known.read(box.FOLDER / "emoji")
    assert known is not None and known.whole
    for prompt in ("a red heart", "a smiling cat", "cat face", "웃는 고양이", "딸기", "😀", "flat"):
        assert not known.strange(prompt) and known.together(prompt), prompt
    assert known.strange("a lighthouse") == ["lighthouse"]
    for prompt, name in (("a blue car", "automobile"), ("a cup of coffee", "hot beverage")):
        assert not known.together(prompt) and name in known.nearest(prompt)


def test_the_model_in_the_box_is_small_credited_and_draws_what_words_say() -> None:
    folder = box.FOLDER / "emoji"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    assert {"README.md", "NOTICE"} <= {path.name for path in folder.iterdir()}
    made = Model.load(folder)
    asked = [Prompt("red heart", "twemoji"), Prompt("green apple", "twemoji"), Prompt("🫥 qzx")]
    x = generate_many(made, count=3, conditions=list(asked), sampling=Sampling(steps=8))
    assert x.isfinite().all()
    red, green = (picture.mean((1, 2)) for picture in x[:2])
    # White has all colours alike; what is drawn takes the others away.
    assert float(red[0] - red[1]) > 0.2 and float(green[1] - green[0]) > 0.05
