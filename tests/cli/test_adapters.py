"""LoRAs and embeddings on the command line: pictures, the same again, what files are, bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from console import inkdrop, left, same
from safetensors.torch import load_file, save_file

from inkdrop.media.settings import read_settings

BASE = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two LoRAs and an embedding, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name in ("boat", "sea"):
        lora = {f"{BASE}.lora_up.weight": torch.randn(128, 2, 1, 1),
                f"{BASE}.lora_down.weight": torch.randn(2, 128, 1, 1)}  # fmt: skip
        save_file(lora, f"{name}.safetensors")
    save_file({"emb_params": 9 * torch.randn(2, 24)}, "glow.safetensors")
    return tmp_path


def test_pictures_and_the_same_again(
    sd1: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", sd1]
    words = ["generate", "a glow", *model, "--size", 32, "--steps", 2]
    both = ["--lora", "boat.safetensors:0.5", "--lora", "sea.safetensors"]
    inkdrop(monkeypatch, *words, "-o", "plain.png")
    inkdrop(monkeypatch, *words, *both, "-o", "loras.png")
    inkdrop(monkeypatch, *words, *both, "--embedding", "glow.safetensors", "-o", "all.png")
    assert not same(Path("plain.png"), Path("loras.png"))
    assert not same(Path("loras.png"), Path("all.png"))
    told = read_settings("all.png")
    assert [(each["path"], each["weight"]) for each in told["loras"]] == [
        ("boat.safetensors", 0.5), ("sea.safetensors", 1.0)
    ]  # fmt: skip
    assert told["embeddings"][0]["path"] == "glow.safetensors"
    inkdrop(monkeypatch, "generate", "--like", "all.png", *model, "-o", "again.png")
    assert same(Path("all.png"), Path("again.png"))
    again = ["generate", "--like", "all.png", *model, "-o", "c.png"]
    shutil.copy("sea.safetensors", "boat.safetensors")
    assert "the LoRA boat.safetensors has changed since" in left(monkeypatch, capsys, *again)
    Path("boat.safetensors").unlink()
    said = left(monkeypatch, capsys, *again)
    assert "the LoRA boat.safetensors, which does not exist; give its new path with --lora" in said
    inkdrop(monkeypatch, *again, "--lora", "sea.safetensors")
    Path("c.png").unlink()
    Path("glow.safetensors").unlink()
    assert "the embedding glow.safetensors" in left(
        monkeypatch, capsys, *again, "--lora", "sea.safetensors"
    )


def test_words_are_said_and_may_be_given(
    sd1: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", sd1, "--size", 32, "--steps", 1]
    save_file({"emb_params": 9 * torch.randn(2, 24)}, "[x].safetensors")
    for prompt, embedding, said in (
        ("a glow", "glow.safetensors", "embedding glow.safetensors: its word is 'glow'\n"),
        ("a [glow]", "glow.safetensors=(my) word", "'(my) word', which stands in no prompt"),
        ("a (my) word", "glow.safetensors=(my) word", "its word is '(my) word'\n"),
        ("a ([x]:1.2)", "[x].safetensors", "its word is '[x]'\n"),
    ):
        capsys.readouterr()
        picture = f"{len(said)}.png"
        Path("again.png").unlink(missing_ok=True)
        inkdrop(monkeypatch, "generate", prompt, *words, "--embedding", embedding, "-o", picture)
        assert said in capsys.readouterr().err
        inkdrop(monkeypatch, "generate", "--like", picture, "--model", sd1, "-o", "again.png")
        assert same(Path(picture), Path("again.png")) and said in capsys.readouterr().err
    none = ["generate", "a", *words, "-o", "a.png"]
    inkdrop(monkeypatch, *none, "--negative", "glow", "--embedding", "glow.safetensors")
    assert "stands in no prompt" not in capsys.readouterr().err
    inkdrop(monkeypatch, *none, "--lora", "boat.safetensors:0")
    assert "boat.safetensors: it changes no weight of the model" in capsys.readouterr().err
    said = left(monkeypatch, capsys, *none, "--embedding", "glow.safetensors=")
    assert "names no word after '='" in said


def test_loras_that_a_prompt_names(
    sd1: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", sd1, "--size", 32, "--steps", 1]
    Path("loras").mkdir()
    shutil.copy("sea.safetensors", "loras/Sea.safetensors")
    both = ["--lora", "boat.safetensors:0.5", "--lora", "sea.safetensors"]
    inkdrop(monkeypatch, "generate", "a cat", *model, *both, "-o", "options.png")
    tagged = "<lora:boat:.5>a cat <LoRA:sea>"
    capsys.readouterr()
    inkdrop(monkeypatch, "generate", tagged, *model, "--lora-dir", ".", "-o", "tags.png")
    assert "<lora:boat:.5> is boat.safetensors, with strength 0.5\n" in capsys.readouterr().err
    assert same(Path("options.png"), Path("tags.png"))
    told = read_settings("tags.png")
    assert told["prompt"] == "a cat" and told["lora_dir"] is None
    assert [(each["path"], each["weight"]) for each in told["loras"]] == [
        ("boat.safetensors", 0.5), ("sea.safetensors", 1.0)
    ]  # fmt: skip
    inkdrop(monkeypatch, "generate", "--like", "tags.png", "--model", sd1, "-o", "again.png")
    assert same(Path("tags.png"), Path("again.png"))
    for prompt, said in (
        ("<lora:bout:0.8>", "there is no LoRA 'bout' in . or"),
        ("<lora:bout:0.8>", "Did you mean 'boat'?"),
        ("<lora:boat:0.8:0.5>", "a LoRA has one strength here"),
        ("<lora:boat:1:lbw=XYZ>", "a LoRA has one strength here"),
        ("<lora:boat> <hypernet:boat:1>", "a hypernetwork, which is not available here"),
    ):
        words = ["generate", f"a {prompt}", *model, "--lora-dir", ".", "-o", "b.png"]
        capsys.readouterr()
        with pytest.raises(SystemExit):
            inkdrop(monkeypatch, *words)
        assert said in capsys.readouterr().err
        assert not Path("b.png").exists()
    words = ["generate", "a", *model, "--negative", "<lora:boat:1>", "-o", "b.png"]
    assert "loads a LoRA for a whole picture" in left(monkeypatch, capsys, *words)
    said = left(monkeypatch, capsys, "generate", "a <lora:boat:1>", "-o", "b.png")
    assert "no LoRA 'boat' in beside the model" not in said and "--lora-dir" in said


def test_what_they_are(
    sd1: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"a-word": torch.ones(768)}, "word.safetensors")
    for name, line in (
        ("boat", "layout: a LoRA with names of kohya"),
        ("glow", "the word 'glow': 2 vectors of 24, of no known family (24)"),
        ("word", "the word 'a-word': 1 vector of 768, of sd1"),
    ):
        capsys.readouterr()
        inkdrop(monkeypatch, "info", f"{name}.safetensors")
        assert line in capsys.readouterr().out.splitlines()


def test_what_folders_of_parts_are(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {
        "unet": "mid_block.attentions.0.proj_in",
        "text_encoder": "text_model.encoder.layers.0.mlp.fc1",
    }
    for part, layer in layers.items():
        Path("peft", part).mkdir(parents=True)
        Path("peft", part, "adapter_config.json").write_text('{"peft_type": "LORA"}')
        weights = {f"base_model.model.{layer}.lora_A.weight": torch.ones(2, 8),
                   f"base_model.model.{layer}.lora_B.weight": torch.ones(8, 2)}  # fmt: skip
        save_file(weights, f"peft/{part}/adapter_model.safetensors")
    inkdrop(monkeypatch, "info", "peft")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "layout: a LoRA with names of PEFT"
    assert told[-2:] == ["unet: 1 weights", "text_encoder: 1 weights"]
    said = left(monkeypatch, capsys, "generate", "a", "--model", "peft")
    assert "peft is a LoRA, which changes a model" in said
    (files / "peft/unet/adapter_config.json").unlink()
    inkdrop(monkeypatch, "info", "peft")
    assert capsys.readouterr().out.splitlines()[-1] == "text_encoder: 1 weights"


def test_pickles_become_safetensors_where_they_are_trusted(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = torch.randn(2, 24)
    torch.save({"string_to_param": {"*": vectors}, "name": "old", "step": 5}, "old.pt")
    torch.save(load_file("boat.safetensors"), "old.ckpt")
    said = left(monkeypatch, capsys, "generate", "a", "--model", "emoji", "--embedding", "old.pt")
    assert "--i-trust-this-pickle" in said
    for path in ("old.pt", "old.ckpt"):
        said = left(monkeypatch, capsys, "convert", path, "new.safetensors")
        assert "--i-trust-this-pickle" in said
    inkdrop(monkeypatch, "convert", "old.pt", "new.safetensors", "--i-trust-this-pickle")
    assert "its word is 'new' (it was made as 'old')" in capsys.readouterr().out
    inkdrop(monkeypatch, "convert", "old.ckpt", "boat2.safetensors", "--i-trust-this-pickle")
    capsys.readouterr()
    inkdrop(monkeypatch, "info", "new.safetensors")
    said = capsys.readouterr().out
    assert "the word 'new': 2 vectors of 24" in said and "made as: 'old'" in said
    first, second = load_file("boat.safetensors"), load_file("boat2.safetensors")
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_the_folder_of_a_lora_is_converted_where_nothing_of_it_is_lost(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, name in (("whole", "pytorch_lora_weights"), ("peft", "adapter_model")):
        Path(folder).mkdir()
        shutil.copy("boat.safetensors", f"{folder}/{name}.safetensors")
    Path("peft/adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}')
    inkdrop(monkeypatch, "convert", "whole", "one.safetensors")
    first, second = load_file("boat.safetensors"), load_file("one.safetensors")
    assert all(torch.equal(first[name], value) for name, value in second.items())
    said = left(monkeypatch, capsys, "convert", "peft", "two.safetensors")
    assert "peft is the folder of a LoRA, whose strength stands in its settings" in said
    assert not Path("two.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lora", "bout.safetensors"], "there is no LoRA bout.safetensors. Did you mean 'boat"),
        (["--lora", "bout.safetensors:0.5"], "there is no LoRA bout.safetensors."),
        (["--lora", "boat.safetensors:much"], "there is no LoRA boat.safetensors:much"),
        (["--lora", "boat.safetensors:nan"], "the weight of the LoRA boat.safetensors is nan"),
        (["--lora", "glow.safetensors"], "weights that are not a LoRA's: emb_params [2, 24]"),
        (["--embedding", "glaw.safetensors"], "there is no embedding glaw.safetensors."),
        (["--embedding", "boat.safetensors"], "is not an embedding: it has 2 weights that are not"),
        (["--model", "emoji", "--lora", "boat.safetensors"], "for Stable Diffusion's U-Nets"),
        (["--model", "emoji", "--embedding", "glow.safetensors"], "for CLIP's text encoders"),
    ],
)
def test_what_cannot_be_used(
    sd1: Path,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    given = ["generate", "a", "--model", sd1, "--size", 32, "--steps", 1, "-o", "a.png", *words]
    assert said in left(monkeypatch, capsys, *given)
    assert not Path("a.png").exists()
