"""Whole models from layout to layout, text included: weights are the same to the bit."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import pipelines
import pytest
import torch
from clips import clip, words
from safetensors.torch import load_file, save_file

from inkdrop.convert.control import read_control
from inkdrop.convert.convert import convert, write
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.inspect.summary import summary
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.clip_words import SIZE
from inkdrop.networks.unet import UNet

WEIGHTS = "**/*.safetensors"


def files(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """All weights in a folder of diffusers by their parts, text's by the longer of their names."""
    found = {file.parent.name: load_file(file) for file in sorted(folder.glob(WEIGHTS))}
    for name in found:
        if name.startswith("text_encoder"):
            inner = found[name]
            whole = any(n.startswith("text_model.") for n in inner)
            found[name] = {
                n if whole or n.startswith("text_proj") else f"text_model.{n}": v
                for n, v in inner.items()
            }
    return found


def identical(one: Path, other: Path) -> bool:
    a, b = files(one), files(other)
    assert a.keys() == b.keys()
    for part, weights in a.items():
        assert weights.keys() == b[part].keys(), part
        for name, value in weights.items():
            assert value.dtype == b[part][name].dtype, (part, name)
            assert torch.equal(value.view(torch.uint8), b[part][name].view(torch.uint8)), name
    return True


def real(folder: Path, name: str) -> None:
    """A folder whose text encoders have CLIP's words and the shapes that single files mean."""
    texts = {"sd15": (("quick_gelu", SIZE - 1, False),), "sd21": (("gelu", 0, False),)}
    both = (("quick_gelu", SIZE - 1, False), ("gelu", 0, True))
    parts: dict[str, Any] = {}
    for number, (activation, pad, projected) in enumerate(texts.get(name, both), 1):
        end = "" if number == 1 else f"_{number}"
        parts["text_encoder" + end] = clip(projected, hidden_act=activation)
        parts["tokenizer" + end] = words(pad)
        parts["tokenizer" + end].model_max_length = 77
    told = checkpoints.small(name)
    told["cross_attention_dim"] = 64 * len(texts.get(name, both))
    if "projection_class_embeddings_input_dim" in told:
        told["projection_class_embeddings_input_dim"] += 64 - checkpoints.POOLED
    unet = checkpoints.random(diffusers.UNet2DConditionModel(**told))
    checkpoints.save(folder, name, unet=unet.half(), vae=checkpoints.vae(name))
    index = json.loads((folder / "model_index.json").read_text())
    for part, made in parts.items():
        made.save_pretrained(folder / part)
        index[part] = ["transformers", type(made).__name__]
    index |= {"force_zeros_for_empty_prompt": True} if name == "sdxl" else {}
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl"])
def test_every_way_round(tmp_path: Path, name: str) -> None:
    first = tmp_path / "first"
    real(first, name)
    report = convert(first, tmp_path / "own")
    assert len(report.parts) == (4 if name == "sdxl" else 3)
    convert(tmp_path / "own", tmp_path / "single.safetensors")
    convert(tmp_path / "single.safetensors", tmp_path / "again", "inkdrop")
    convert(tmp_path / "again", tmp_path / "last", "folder")
    assert identical(first, tmp_path / "last")
    # A single file says nothing of the size it was trained at.
    ends = [
        open_checkpoint(path)[0].sized(64, 96)
        for path in (first, tmp_path / "again", tmp_path / "last")
    ]
    conds = [end.condition(["two green hills", ""]) for end in ends]
    assert ends[0].text is not None
    for cond in conds[1:]:
        assert torch.equal(conds[0].tokens, cond.tokens)  # type: ignore[arg-type]
        assert (conds[0].vector is None) == (cond.vector is None)
        if cond.vector is not None:
            assert torch.equal(conds[0].vector, cond.vector)  # type: ignore[arg-type]
    halved = convert(first, tmp_path / "half", "folder", half=True)
    assert halved.lines()
    kinds = {v.dtype for part in files(tmp_path / "half").values() for v in part.values()}
    assert kinds == {torch.float16}


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_diffusers_opens_what_is_written(tmp_path: Path, name: str) -> None:
    made = pipelines.saved(tmp_path / "first", name)
    convert(tmp_path / "first", tmp_path / "out", "folder")
    assert identical(tmp_path / "first", tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "out")
    assert type(again) is type(made)
    for text in ("a photo of a red fox", ""):
        told = {"padding": "max_length", "max_length": pipelines.CONTEXT}
        for part in ("tokenizer", "tokenizer_2")[: 2 if name == "sdxl" else 1]:
            ids = [getattr(pipe, part)(text, **told).input_ids for pipe in (made, again)]
            assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("out", "to", "said"),
    [
        ("there", None, "there exists already"),
        ("new", "single", "new is not a name for a single file"),
        ("new.safetensors", "folder", "is not a name for a folder"),
        ("new", "foldr", "Did you mean 'folder'"),
        ("new.safetensors", None, "entries that are not CLIP's own 49408|of the text encoder is"),
    ],
)
def test_what_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, to: str | None, said: str
) -> None:
    pipelines.saved(tmp_path / "first", "sd15")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match=said) as error:
        convert("first", out, to)
    assert "\n" not in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first", "there"]


def test_a_strange_unet_with_text_has_no_single_file(tmp_path: Path) -> None:
    real(tmp_path / "first", "sd15")
    model, _ = open_checkpoint(tmp_path / "first")
    assert isinstance(model.network, UNet)
    strange = UNet(replace(model.network.config, attention=(1, 2)))
    with pytest.raises(ValueError, match=r"1 text encoders, is none of them; export a folder"):
        write(replace(model, network=strange), tmp_path / "out.safetensors", "single")
    assert [each.name for each in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_control_network_every_way_round(tmp_path: Path, name: str) -> None:
    first, last = tmp_path / "first" / "control", tmp_path / "last" / "control"
    last.parent.mkdir()
    checkpoints.controlnet(name).half().save_pretrained(first)
    report = convert(first, tmp_path / "a.safetensors")
    assert report.parts[0].name == "control"
    assert all(n.startswith("control_model.") for n in load_file(tmp_path / "a.safetensors"))
    torch.save({"state_dict": load_file(tmp_path / "a.safetensors")}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", last, options=ReadOptions(trust_pickle=True))
    assert identical(first.parent, last.parent)
    assert read_control(last).config == read_control(first).config
    # Single files are also found with the names of diffusers, which the folder has again.
    weights = load_file(last / "diffusion_pytorch_model.safetensors")
    save_file({n: v.float() for n, v in weights.items()}, tmp_path / "named.safetensors")
    convert(tmp_path / "named.safetensors", tmp_path / "half", half=True)
    halved = load_file(tmp_path / "half" / "diffusion_pytorch_model.safetensors")
    assert halved.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in halved.items())


def test_a_control_network_beside_a_model(tmp_path: Path) -> None:
    real(tmp_path / "model", "sd15")
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "first" / "control")
    convert(tmp_path / "model", tmp_path / "model.safetensors")
    convert(tmp_path / "first" / "control", tmp_path / "control.safetensors")
    both = load_file(tmp_path / "model.safetensors") | load_file(tmp_path / "control.safetensors")
    save_file(both, tmp_path / "both.safetensors")
    report = convert(tmp_path / "both.safetensors", tmp_path / "last" / "control")
    assert list(report.unused.values()) == ["of the model beside it"]
    assert identical(tmp_path / "first", tmp_path / "last")
    lines = summary(tmp_path / "both.safetensors")
    assert lines[0] == "layout: a single file of a control network"
    assert any("unused, of the model beside it" in line for line in lines)
    only = ReadOptions(ignore=("control_model.",))
    convert(tmp_path / "both.safetensors", tmp_path / "out", "folder", only)
    assert identical(tmp_path / "model", tmp_path / "out")
    strange = load_file(tmp_path / "control.safetensors") | {"more.a": torch.ones(2)}
    save_file(strange, tmp_path / "more.safetensors")
    report = convert(tmp_path / "more.safetensors", tmp_path / "more")
    assert report.unused == {"more.a": "not part of the control network"}
    bare = {name.removeprefix("control_model."): value for name, value in strange.items()}
    save_file(bare, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"does not use 1 weights: more.a \[2\]"):
        convert(tmp_path / "bare.safetensors", tmp_path / "bare")
    only = ReadOptions(ignore=("more.",))
    report = convert(tmp_path / "bare.safetensors", tmp_path / "again" / "control", options=only)
    assert report.unused == {"more.a": "left out as asked"}
    assert identical(tmp_path / "first", tmp_path / "again")


def test_a_control_network_of_several_types(tmp_path: Path) -> None:
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "first")
    file = tmp_path / "first" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file({n: v.half() if "bias" in n else v for n, v in weights.items()}, file)
    report = convert(tmp_path / "first", tmp_path / "out")
    assert "control: weights of float16 and float32 were all made the widest" in report.lines()


def test_weights_beyond_half_precision(tmp_path: Path) -> None:
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "first")
    file = tmp_path / "first" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"][1] = -70000
    save_file(weights, file)
    with pytest.raises(
        ValueError, match=r"input.bias holds 7e\+04, but half precision ends at 65504"
    ):
        convert(tmp_path / "first", tmp_path / "out", half=True)
    assert [each.name for each in tmp_path.iterdir()] == ["first"]


def test_a_pickle_whose_weights_share_their_memory(tmp_path: Path) -> None:
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "first")
    weights = load_file(tmp_path / "first" / "diffusion_pytorch_model.safetensors")
    names = [f"controlnet_down_blocks.{n}.bias" for n in (0, 1)]
    weights[names[1]] = weights[names[0]]
    whole = torch.arange(4.0)
    torch.save(weights, tmp_path / "a.pth")
    torch.save({"lora_unet_a.alpha": whole[:1], "lora_unet_a.lora_down.weight": whole[1:, None]},
               tmp_path / "lora.pt")  # fmt: skip
    trust = ReadOptions(trust_pickle=True)
    convert(tmp_path / "a.pth", tmp_path / "out", options=trust)
    found = load_file(tmp_path / "out" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    convert(tmp_path / "lora.pt", tmp_path / "lora.safetensors", options=trust)
    lora = load_file(tmp_path / "lora.safetensors")
    assert lora["lora_unet_a.lora_down.weight"].tolist() == [[1], [2], [3]]


def test_a_control_network_has_no_layout_of_ours(tmp_path: Path) -> None:
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "first")
    with pytest.raises(ValueError, match="for which inkdrop has no layout of its own"):
        convert(tmp_path / "first", tmp_path / "out", "inkdrop")
    assert [file.name for file in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        (
            "own",
            ReadOptions(prediction="v"),
            "of inkdrop's own, where --prediction changes nothing",
        ),
        ("folder", ReadOptions(averaged=True), "is a folder, where --averaged changes nothing"),
        ("folder", ReadOptions(ignore=("a",)), "is a folder, where --ignore changes nothing"),
        (
            "one.safetensors",
            ReadOptions(variant="fp16"),
            "a single file, where --variant changes",
        ),
        ("control", ReadOptions(zero_terminal_snr=True), "--zero-terminal-snr changes nothing"),
        (
            "lora.safetensors",
            ReadOptions(prediction="v"),
            "an adapter, where --prediction changes",
        ),
    ],
)
def test_options_that_would_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, options: ReadOptions, said: str
) -> None:
    real(tmp_path / "folder", "sd15")
    monkeypatch.chdir(tmp_path)
    convert("folder", "own")
    convert("folder", "one.safetensors")
    checkpoints.controlnet("sd15").save_pretrained(tmp_path / "control")
    save_file({"lora_unet_a.lora_down.weight": torch.ones(2, 2)}, tmp_path / "lora.safetensors")
    there = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=said):
        convert(path, "out.safetensors", options=options)
    assert sorted(tmp_path.iterdir()) == there
