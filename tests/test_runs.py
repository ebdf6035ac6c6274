"""Runs on disk: which checkpoint counts, what damage is, and how often files are read for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
from checkpoint_folders import checkpoint, flip

from inkdrop.find import find, open_model
from inkdrop.model import Model
from inkdrop.model.folder import amend
from inkdrop.runs import (
    checkpoints,
    damage,
    manifest,
    newest_checkpoint,
    own_folder,
    sha256,
)
from inkdrop.train.run import train
from inkdrop.train.updates import Update


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "data").mkdir()
    return tiny.model(tiny.data(tmp_path / "data"))


def test_checkpoints_are_in_order_and_nothing_else_is_one(tmp_path: Path, model: Model) -> None:
    run = tmp_path / "run"
    assert checkpoints(run) == []
    run.mkdir()
    assert checkpoints(run) == [] and newest_checkpoint(run) == (None, [])
    made = [checkpoint(run, update, model) for update in (900, 20, 12345)]
    (run / "checkpoints" / ".00000900.0123abcd.partial").mkdir()
    (run / "checkpoints" / "best").mkdir()
    (run / "checkpoints" / "99999999").write_text("a file")
    assert checkpoints(run) == [made[1], made[0], made[2]]
    assert newest_checkpoint(run) == (made[2], [])


def test_a_manifest_is_the_sha256_of_every_file_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.bin").write_bytes(b"deep")
    (tmp_path / "top.bin").write_bytes(b"")
    want = {
        "a/b/deep.bin": hashlib.sha256(b"deep").hexdigest(),
        "top.bin": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert manifest(tmp_path) == want
    assert sha256(tmp_path / "top.bin") == want["top.bin"]


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_a_flipped_bit_is_damage(tmp_path: Path, model: Model, place: int) -> None:
    folder = checkpoint(tmp_path / "run", 1, model)
    flip(folder / "model" / "network.safetensors", place)
    said = damage(folder)
    assert said is not None and "model/network.safetensors has changed" in said


@pytest.mark.parametrize("name", ["model/model.json", "training/counters.json"])
def test_a_missing_file_is_damage(tmp_path: Path, model: Model, name: str) -> None:
    folder = checkpoint(tmp_path / "run", 1, model)
    (folder / name).unlink()
    assert damage(folder) == f"{name} is missing"


def test_a_missing_or_broken_manifest_is_damage(tmp_path: Path, model: Model) -> None:
    whole, none, cut, listed = (checkpoint(tmp_path / "run", update, model) for update in range(4))
    (none / "manifest.json").unlink()
    file = cut / "manifest.json"
    file.write_text(file.read_text()[:-5])
    (listed / "manifest.json").write_text("[]")
    assert damage(whole) is None
    for folder, said in ((none, "no manifest.json"), (cut, "JSON"), (listed, "JSON")):
        found = damage(folder)
        assert found is not None and said in found and "\n" not in found


def test_files_beside_those_of_the_manifest_are_no_damage(tmp_path: Path, model: Model) -> None:
    folder = checkpoint(tmp_path / "run", 1, model)
    (folder / "notes.txt").write_text("mine")
    assert damage(folder) is None


def test_the_newest_sound_checkpoint_counts_and_newer_ones_are_named(
    tmp_path: Path, model: Model
) -> None:
    run = tmp_path / "run"
    made = [checkpoint(run, update, model) for update in (1, 2, 3)]
    flip(made[2] / "training" / "counters.json")
    (made[1] / "model" / "network.safetensors").unlink()
    newest, notes = newest_checkpoint(run)
    assert newest == made[0]
    assert [str(path) in note for path, note in zip((made[2], made[1]), notes, strict=True)] == [
        True,
        True,
    ]
    assert "counters.json has changed" in notes[0] and "network.safetensors is missing" in notes[1]
    assert own_folder(run) == (made[0] / "model", notes)


def test_a_run_of_damaged_checkpoints_is_not_begun_again(tmp_path: Path, model: Model) -> None:
    run = tmp_path / "run"
    for update in (1, 2):
        flip(checkpoint(run, update, model) / "model" / "model.json")
    with pytest.raises(ValueError, match=r"every checkpoint .*00000002.*00000001") as error:
        newest_checkpoint(run)
    assert "\n" not in str(error.value)


def test_each_file_is_hashed_once_a_process(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, hashed, hashing = tmp_path / "run", Counter[str](), hashlib.file_digest
    folder = checkpoint(run, 1, model)

    def counted(file: Any, *how: Any, **more: Any) -> Any:
        hashed[os.path.relpath(file.name, folder.resolve())] += 1
        return hashing(file, *how, **more)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    monkeypatch.chdir(tmp_path)
    for name in (run, "run", Path("..") / tmp_path.name / "run"):
        assert newest_checkpoint(Path(name))[0] is not None
        own_folder(name)
        Model.load(name)
    files = {"model/model.json", "model/network.safetensors", "training/counters.json"}
    assert hashed == dict.fromkeys(files, 1)

    # A checkpoint that is written anew is another one.
    again = json.loads((folder / "manifest.json").read_text())
    (folder / "training" / "counters.json").write_text("{}")
    again["training/counters.json"] = hashlib.sha256(b"{}").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(again))
    later = (folder / "manifest.json").stat().st_mtime_ns + 10**9
    os.utime(folder / "manifest.json", ns=(later, later))
    assert damage(folder) is None and hashed == dict.fromkeys(files, 2)


def test_what_is_neither_a_model_nor_a_run(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "model")
    assert own_folder(tmp_path / "model") == (tmp_path / "model", [])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, said in (
        ("modle", r"Did you mean 'model'"),
        ("empty", "neither a model folder nor a run"),
        ("file", "is a file"),
    ):
        with pytest.raises(ValueError, match=said):
            own_folder(tmp_path / name)


def test_a_crash_between_two_renames_hides_neither_a_run_nor_a_model(
    tmp_path: Path, model: Model
) -> None:
    run, folder = tmp_path / "run", tmp_path / "model"
    first, second = (checkpoint(run, update, model) for update in (1, 2))
    model.save(folder)
    # As `commit_folder` leaves a disk between its two renames.
    aside = second.rename(second.with_name(".00000002.older"))
    folder.rename(tmp_path / ".model.older")
    assert checkpoints(run) == [first, aside] and newest_checkpoint(run) == (aside, [])
    assert own_folder(run) == (aside / "model", [])
    for name in (run, folder):
        assert Model.load(name).spec == model.spec == open_model(find(name), device="cpu").spec
    assert aside.is_dir() and not folder.exists()  # who only reads changes nothing
    amended = dataclasses.replace(model.spec, steps=7)
    assert amend(run, amended) == second / "model" and amend(folder, amended) == folder
    assert Model.load(run).spec.steps == Model.load(folder).spec.steps == 7
    assert damage(second) is None and not aside.exists()


def test_training_goes_on_from_a_checkpoint_that_a_crash_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data, out = tiny.data(tmp_path / "data"), tmp_path / "run"
    list(train(data, out, tiny.ask()))
    (out / "run.json").write_text(
        (out / "run.json").read_text().replace('"updates": 8', '"updates": 9')
    )
    newest = out / "checkpoints" / "00000008"
    newest.rename(newest.with_name(".00000008.older"))
    steps = [e.index for e in train(data, out, tiny.ask(updates=9)) if isinstance(e, Update)]
    assert steps == [8]
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["00000008", "00000009"]
