"""The one door to models: every kind of name is found and opened, and nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from checkpoint_folders import checkpoint, flip
from clips import single_file
from models import latent_text_model, random_model
from safetensors.torch import save_file

from inkdrop import box
from inkdrop.convert.convert import convert
from inkdrop.convert.open import open_checkpoint
from inkdrop.find import Found, find, open_model, open_with_notes
from inkdrop.model import Model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "data").mkdir()
    return random_model(tmp_path / "data")


def same(one: Model, other: Model) -> bool:
    """Whether two models are the same in all that is saved of them."""
    if one.describe() != other.describe() or len(one.networks) != len(other.networks):
        return False
    pairs = zip(one.networks, other.networks, strict=True)
    return all(
        torch.equal(value, b.state_dict()[name])
        for a, b in pairs
        for name, value in a.state_dict().items()
    )


def test_a_model_folder(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "m")
    for name in (tmp_path / "m", str(tmp_path / "m")):
        found = find(name)
        assert (found.name, found.path, found.own, found.notes) == (
            str(name), tmp_path / "m", True, ()
        )  # fmt: skip
        assert same(open_model(name), Model.load(name)) and same(open_model(found), model)


def test_a_model_with_words_and_a_code(tmp_path: Path) -> None:
    latent_text_model().save(tmp_path / "m")
    opened = open_model(tmp_path / "m")
    assert same(opened, Model.load(tmp_path / "m")) and same(opened, latent_text_model())
    assert not opened.network.training and opened.text is not None
    assert not any(p.requires_grad for part in opened.networks for p in part.parameters())


def test_a_checkpoint_that_its_training_replaced_meanwhile_is_said(
    tmp_path: Path, model: Model
) -> None:
    model.save(tmp_path / "run" / "checkpoints" / "00000004" / "model")
    found = Found("run", tmp_path / "run" / "checkpoints" / "00000004" / "model", own=True)
    shutil.rmtree(found.path.parent)
    with pytest.raises(ValueError, match="training of run has replaced the checkpoint 00000004"):
        open_model(found)


def test_a_run_is_its_newest_sound_checkpoint(tmp_path: Path, model: Model) -> None:
    run = tmp_path / "run"
    old = checkpoint(run, 10, model)
    other = random_model(tmp_path / "data")
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    new = checkpoint(run, 20, other)
    assert find(run).path == new / "model" and find(run).notes == ()
    assert same(open_model(run), other) and not same(open_model(run), model)
    # Damage is only looked for once a process, so another run is damaged here.
    shutil.copytree(run, tmp_path / "hurt")
    flip(tmp_path / "hurt" / "checkpoints" / new.name / "model" / "network.safetensors")
    opened, notes = open_with_notes(tmp_path / "hurt")
    assert same(opened, model) and same(opened, Model.load(old / "model"))
    assert len(notes) == 1 and new.name in notes[0] and "network.safetensors" in notes[0]
    assert find(tmp_path / "hurt").notes == notes


def test_a_run_without_a_checkpoint_yet_or_with_damaged_ones(tmp_path: Path, model: Model) -> None:
    (tmp_path / "young" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ValueError, match="run with a checkpoint yet"):
        find(tmp_path / "young")
    flip(checkpoint(tmp_path / "hurt", 1, model) / "model" / "model.json")
    with pytest.raises(ValueError, match="every checkpoint"):
        find(tmp_path / "hurt")


def test_a_folder_of_diffusers(sd1: Path) -> None:
    found = find(sd1)
    assert (found.path, found.own, found.notes) == (sd1, False, ())
    opened, notes = open_with_notes(found)
    want, report = open_checkpoint(sd1)
    assert same(opened, want) and notes == report.notes
    assert opened.text is not None and opened.spec.any_size


def test_a_single_file(tmp_path: Path) -> None:
    file = tmp_path / "boats.safetensors"
    single_file(file)
    found = find(file)
    assert (found.path, found.own, found.notes) == (file, False, ())
    opened, notes = open_with_notes(file)
    want, report = open_checkpoint(file)
    assert same(opened, want) and notes == report.notes


def test_precision(sd1: Path, tmp_path: Path) -> None:
    convert(sd1, tmp_path / "half", half=True)
    for dtype, want in ((None, torch.float16), (torch.float32, torch.float32)):
        opened = open_model(tmp_path / "half", dtype=dtype)
        assert {p.dtype for part in opened.networks for p in part.parameters()} == {want}


def test_a_model_in_the_box_unless_something_here_has_its_name(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = find("emoji")
    assert (found.path, found.own) == (box.FOLDER / "emoji", True)
    assert same(open_model("emoji"), Model.load("emoji"))
    model.save("emoji")
    assert find("emoji").path == Path("emoji") and same(open_model("emoji"), model)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("modle", r"modle\. Did you mean 'model'\?"),
        ("none/of/this", "there is no folder none"),
        ("empty", "neither a model folder nor a run"),
        ("emojj", "there is no model folder or run emojj"),
        ("lost.safetensors", r"there is no model folder or run lost\.safetensors"),
        ("link", "is a link to gone"),
    ],
)
def test_names_of_nothing(
    name: str, said: str, tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save("model")
    Path("empty").mkdir()
    Path("link").symlink_to("gone")
    with pytest.raises(ValueError, match=said) as error:
        find(name)
    assert "\n" not in str(error.value)


def test_what_holds_something_else(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loose").mkdir()
    save_file({"a": torch.ones(1)}, "loose/a.safetensors")
    Path("words.txt").write_text("no model")
    save_file({"a.b": torch.ones(1)}, "strange.safetensors")
    for name, said in (
        ("loose", "not a model.*give one of its files: a.safetensors"),
        ("words.txt", r"words\.txt"),
        ("strange.safetensors", r"strange\.safetensors is not a model.*a\.b"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            open_model(name)
        assert "\n" not in str(error.value)


def test_a_hub_name_that_is_not_here_and_a_folder_that_is_called_like_one(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save(Path("someone") / "model")
    assert find("someone/model").own
    with pytest.raises(ValueError, match="there is no model folder or run someone/modle"):
        find("someone/modle")


def test_the_fingerprint_follows_the_files(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "copy")
    found = find(tmp_path / "m")
    first = found.weights
    assert len(first) == 16 and int(first, 16) >= 0
    assert first == found.weights == find(tmp_path / "copy").weights
    # The value is asked for anew, and follows even what is found already.
    weights = tmp_path / "m" / "network.safetensors"
    content, stat = bytearray(weights.read_bytes()), weights.stat()
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    second = found.weights
    assert second != first and find(tmp_path / "m").weights == second
    settings = tmp_path / "m" / "model.json"
    settings.write_text(settings.read_text().replace('"guidance": 2.0', '"guidance": 2.5'))
    assert found.weights not in (first, second)
    assert find(tmp_path / "copy").weights == first


def test_the_fingerprint_of_a_single_file_and_of_runs(tmp_path: Path, model: Model) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "b.safetensors")
    one, other = (find(tmp_path / f"{name}.safetensors").weights for name in "ab")
    assert one != other
    # A run is known by its newest model alone.
    checkpoint(tmp_path / "run", 1, model)
    model.save(tmp_path / "m")
    assert find(tmp_path / "run").weights == find(tmp_path / "m").weights


def test_a_device_that_is_not_there(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="'tpu'"):
        open_model(tmp_path / "m", device="tpu")
    assert open_model(tmp_path / "m", device=torch.device("cpu")).device.type == "cpu"
