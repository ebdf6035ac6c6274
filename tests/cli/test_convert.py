"""Checkpoints of others on the command line: pictures, what they are, conversion, bad input."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pipelines
import pytest
import torch
from console import inkdrop, left, same
from PIL import Image
from safetensors.torch import load_file, save_file

from inkdrop.convert.open import open_checkpoint
from inkdrop.media.settings import read_settings


def test_pictures_of_any_size_and_the_same_again(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ["--model", sd1, "--steps", 2]
    first, again, square = (tmp_path / f"{name}.png" for name in ("first", "again", "square"))
    words = ["a lighthouse", "--negative", "fog", "--size", "40x72", "--guidance", 5]
    inkdrop(monkeypatch, "generate", *words, *model, "-o", first)
    inkdrop(monkeypatch, "generate", "--like", first, *model, "-o", again)
    inkdrop(monkeypatch, "generate", "a lighthouse", *model, "--size", 32, "-o", square)
    assert same(first, again)
    assert read_settings(first)["size"] == [40, 72]
    for path, size in ((first, (72, 40)), (square, (32, 32))):
        with Image.open(path) as picture:
            assert picture.size == size
    inkdrop(monkeypatch, "sample", *model[1:], "--count", 2, "-o", tmp_path / "grid.png")


def test_what_a_model_is(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inkdrop(monkeypatch, "convert", sd1, tmp_path / "own")
    for path, what, parts in (
        (sd1, "a diffusers folder", ("unet", "autoencoder", "text_encoder")),
        (tmp_path / "own", "a model of inkdrop's own", ("network", "codec", "text")),
    ):
        capsys.readouterr()
        inkdrop(monkeypatch, "info", path)
        told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
        assert told["layout"] == what and told["family"] == "sd1"
        assert told["predicts"] == "eps" and told["schedule"] == "scaled_linear, 1000 steps"
        assert told["pictures"] == "64x64 RGB, or any other size"
        assert all("million numbers, float32, " in told[part] for part in parts)
        assert told["memory"].startswith("for a picture of its size about ")
        ways = re.findall(r"([\d.]+) GB ([^,]+)", told["memory"])
        found = {way: float(size) for size, way in ways}
        assert list(found) == ["in float32", *(f"with --{n}" for n in ("half", *PRECISIONS))]
        # The program itself takes most of it, for so small a model.
        assert 0.4 <= found["with --half"] <= found["in float32"] < 0.5
    inkdrop(monkeypatch, "info", "emoji")
    assert "predicts: edm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"), [("nothing", "there is no model folder or run"), ("a.png", "no picture")]
)
def test_nothing_to_tell_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    said: str,
) -> None:
    assert said in left(monkeypatch, capsys, "info", tmp_path / name)


def test_conversion_says_what_became_of_the_weights(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    inkdrop(monkeypatch, "convert", sd1, tmp_path / "own", "--half", "--prediction", "v")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["unet", "autoencoder", "text_encoder"]
    assert all("million numbers" in line for line in lines[:3])
    assert lines[-1] == str(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "model.json").read_text())["parameterization"] == {
        "kind": "v"
    }
    picture = tmp_path / "a.png"
    words = ["a", "--model", tmp_path / "own", "--steps", 1, "--size", "16x24"]
    inkdrop(monkeypatch, "generate", *words, "-o", picture)
    with Image.open(picture) as found:
        assert found.size == (24, 16)


def test_pickles_are_opened_only_where_they_are_trusted(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sd1, tmp_path / "a")
    file = tmp_path / "a" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    words = ["convert", tmp_path / "a", tmp_path / "out"]
    assert "--i-trust-this-pickle" in left(monkeypatch, capsys, *words)
    assert not (tmp_path / "out").exists()
    inkdrop(monkeypatch, *words, "--to", "folder", "--i-trust-this-pickle")
    again = load_file(tmp_path / "out" / "unet" / file.name)
    first = load_file(sd1 / "unet" / file.name)
    assert all(torch.equal(again[name], value) for name, value in first.items())


def test_one_of_several_variants_is_converted_as_asked(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sd1, tmp_path / "a")
    for file in (tmp_path / "a").rglob("*.safetensors"):
        weights = load_file(file)
        for variant in ("ema", "fp16"):
            save_file({n: v.half() for n, v in weights.items()},
                      file.with_suffix(f".{variant}.safetensors"))  # fmt: skip
        file.unlink()
    words = ["convert", tmp_path / "a", tmp_path / "out", "--to", "folder"]
    assert "inkdrop convert --variant" in left(monkeypatch, capsys, *words)
    inkdrop(monkeypatch, *words, "--variant", "fp16")
    assert "the variant fp16 of its weights" in capsys.readouterr().out
    assert (tmp_path / "out" / "unet").is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{tmp}/nothing", "out"], "there is no model folder or run"),
        (["{tmp}/cut.safetensors", "out"], "is cut short"),
        (["{tmp}/padded.safetensors", "out"], "bytes after its last weight"),
        (["{tmp}/lora.safetensors", "out"], "is a LoRA"),
        (["{tmp}/empty", "out"], "neither a model folder nor a run"),
        (["SD1", "{tmp}/empty"], "exists already"),
        (["SD1", "out", "--to", "folders"], "Did you mean 'folder'"),
        (["SD1", "out", "--prediction", "w"], "no prediction 'w'"),
        (["SD1", "out", "--zero-terminal-snr"], "ends in pure noise"),
        (["SD1", "out.safetensors"], "export a folder"),
        (["SD1", "out.ckpt"], "is not a name for a folder"),
        (["SD1", "out", "--variant", "fp16"], "no variant 'fp16' of its weights"),
        (["word.safetensors", "out.safetensors", "--half"], "leave out --half"),
        (["emoji", "out", "--to", "folder"], "has no place in the layouts of others"),
    ],
)
def test_what_cannot_be_converted(
    sd1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    save_file({"model.diffusion_model.a": torch.ones(64)}, "whole.safetensors")
    whole = Path("whole.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:-8])
    Path("padded.safetensors").write_bytes(whole + b"12345678")
    save_file({"lora_unet_a.lora_down.weight": torch.ones(4)}, "lora.safetensors")
    save_file({"emb_params": torch.ones(1, 4)}, "word.safetensors")
    before = sorted(tmp_path.iterdir())
    known = {"SD1": str(sd1)}
    given = [known.get(word, word.replace("{tmp}", str(tmp_path))) for word in words]
    assert said in left(monkeypatch, capsys, "convert", *given)
    assert sorted(tmp_path.iterdir()) == before


PRECISIONS = ("precision bfloat16", "precision int8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "40x70"], "70 is not a multiple of 8"),
        (["--size", "40x70"], "64 and 72"),
        (["--size", "big"], "size is 'big'; give pixels"),
        (["--size", "0"], "size is 0"),
        (["--size", "4096", "--count", "999"], "--half or a smaller --size or a smaller --count"),
        (["--size", "4096", "--count", "999", "--half"], "free; give a smaller --size or"),
        (["--half", "--engine", "packed"], "leave out --engine and --precision, or --half"),
        (["--size", "8x8x8"], "size is '8x8x8'"),
        (["--style", "oil"], "this model was trained without labels"),
        (["-o", "a.xyz"], "there is no file format '.xyz'"),
    ],
)
def test_what_cannot_be_painted(
    sd1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in left(monkeypatch, capsys, "generate", "a", "--model", sd1, *words)
    assert not list(tmp_path.iterdir())


def test_what_lacks_something_says_what_to_give(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.safetensors").write_bytes(b"")
    said = left(monkeypatch, capsys, "generate", "a", "--model", tmp_path / "loose")
    assert "give one of its files: a.safetensors" in said
    shutil.copytree(sd1, tmp_path / "wordless")
    shutil.rmtree(tmp_path / "wordless" / "tokenizer")
    (tmp_path / "wordless" / "tokenizer").mkdir()
    for words in (("info",), ("generate", "a", "--model")):
        said = left(monkeypatch, capsys, *words, tmp_path / "wordless")
        assert "there is no tokenizer in" in said and "get the folder again" in said
    model, _ = open_checkpoint(sd1)
    dataclasses.replace(model, text=None).save(tmp_path / "mute")
    said = left(monkeypatch, capsys, "generate", "a", "--model", tmp_path / "mute")
    assert "if its folder lacks the text encoder, get the complete folder" in said


def test_a_model_that_is_told_a_picture_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipelines.saved(tmp_path / "model", "inpainting")
    monkeypatch.chdir(tmp_path)
    assert "`inkdrop inpaint`" in left(monkeypatch, capsys, "generate", "a", "--model", "model")
    assert "`inkdrop inpaint`" in left(monkeypatch, capsys, "sample", "model")


def test_the_model_in_the_box_has_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = left(monkeypatch, capsys, "generate", "a cat", "--size", "64x96", "--steps", 1)
    assert "size is 64x96, but this model only makes" in said


def test_a_hub_name_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PATH": "",
        "HOME": str(tmp_path),
    }
    root = str(Path(__file__).parent.parent.parent)
    run = [sys.executable, "-m", "inkdrop", "generate", "a", "--model", "hf:someone/some-model"]
    found = subprocess.run(
        run, cwd=tmp_path, env={**environment, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert found.returncode == 2 and found.stderr.count("\n") == 1
    assert "there is no model someone/some-model here" in found.stderr
    assert "HF_HUB_OFFLINE forbids the network" in found.stderr
    assert not list(tmp_path.glob("*.png"))


def test_only_hf_contacts_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def contacted(*args: object, **kwargs: object) -> None:
        raise AssertionError("the Hub was contacted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", contacted)
    for words in (
        ["sample", "not/there"],
        ["generate", "a", "--model", "not/there"],
        ["info", "not/there"],
        ["convert", "not/there", "out"],
        ["evaluate", "not/there"],
    ):
        assert "For a model on the Hub, say hf:not/there" in left(monkeypatch, capsys, *words)


def test_a_folder_with_hostile_settings_or_no_words(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["generate", "a", "--model"]
    shutil.copytree(sd1, tmp_path / "a")
    file = tmp_path / "a" / "model_index.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "text_encoder": ["os", "system"]}))
    assert "text_encoder is ['os', 'system']" in left(monkeypatch, capsys, *asked, tmp_path / "a")
    file.write_text(json.dumps({**told, "tokenizer": [None, None]}))
    assert "no tokenizer" in left(monkeypatch, capsys, *asked, tmp_path / "a")
    file.write_text(json.dumps(told))
    config = tmp_path / "a" / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"a": "b.c"}}))
    assert "auto_map" in left(monkeypatch, capsys, *asked, tmp_path / "a")


def test_help_loads_no_converter() -> None:
    code = (
        "import sys; sys.argv = ['inkdrop', '--help']\n"
        "import inkdrop.cli\n"
        "try: inkdrop.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = ('transformers', 'diffusers', 'torch', 'inkdrop.convert', 'huggingface_hub')\n"
        "loaded = {n for n in sys.modules if n.startswith(heavy)}\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
