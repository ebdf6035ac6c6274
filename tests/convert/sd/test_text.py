"""Text encoders of folders and of single files, against transformers and diffusers' converter."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import checkpoints
import pipelines
import pytest
import torch
from checkpoints import difference
from clips import clip, named, words
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from torch import Tensor

from inkdrop.conditioning.clip import theirs
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import Text
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.stored import held
from inkdrop.convert.sd.clip_words import SIZE, usual_tokenizer
from inkdrop.convert.sd.foreign import Foreign, TextPart, UNetPart
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.text import to_text
from inkdrop.convert.sd.text_keys import from_open_clip, to_open_clip
from inkdrop.convert.sd.unet_settings import read_unet

# No "!": transformers takes it for padding where it pads with it, and OpenCLIP does not.
WORDS = ["a photo of Ünïcode, 42 cats & dogs?", "", "two green hills"]


def said(model: Any, pad: int) -> Any:
    ids = words(pad)(WORDS, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        return model(ids, output_hidden_states=True)


def single(family: str, texts: dict[str, dict[str, Tensor]]) -> Foreign:
    """What is read of a single file with these text encoders."""
    name = {"sd1": "sd15", "sd2": "sd21", "sdxl": "sdxl", "sdxl refiner": "refiner"}[family]
    config, _ = read_unet(checkpoints.small(name), "here")
    if config.vector_dim is not None:  # the encoders here project to 64
        config = dataclasses.replace(config, vector_dim=config.vector_dim + 64 - checkpoints.POOLED)
    parts = {
        prefix: TextPart(prefix, "", None, {}, {n: held(v) for n, v in weights.items()})
        for prefix, weights in texts.items()
    }
    return Foreign(Path("x"), "single", UNetPart(config, Naming({}), {}), text=parts)


def test_words_are_those_of_clip() -> None:
    theirs, ours = words(SIZE - 1), usual_tokenizer()
    assert ours.size == SIZE == len(theirs)
    for text in WORDS:
        assert ours.backend.encode(text).ids == theirs(text).input_ids


@pytest.mark.parametrize("projected", [True, False])
def test_names_of_open_clip(projected: bool) -> None:
    weights = named(clip(projected))
    theirs = to_open_clip(weights)
    assert theirs["transformer.resblocks.0.attn.in_proj_weight"].shape == (192, 64)
    prefix = "conditioner.embedders.1.model."
    public = convert_open_clip_checkpoint(
        clip(projected), {prefix + name: value for name, value in theirs.items()}, prefix
    )
    back = from_open_clip({**theirs, "logit_scale": torch.ones(())})
    for found in (public, back):
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_sd1(tmp_path: Path) -> None:
    model = clip(False, hidden_act="quick_gelu")
    weights = {**named(model), "text_model.embeddings.position_ids": torch.arange(77)[None]}
    text, (report,) = to_text(single("sd1", {"cond_stage_model.transformer": weights}))
    cond = text.encode(WORDS)
    assert difference(cond.tokens, said(model, SIZE - 1).last_hidden_state) < 1e-5  # type: ignore[arg-type]
    assert cond.vector is None and report.used == len(named(model))
    bare = {n.removeprefix("text_model."): v for n, v in named(model).items()}
    again, _ = to_text(single("sd1", {"cond_stage_model.transformer": bare}))
    assert torch.equal(again.encode(WORDS).tokens, cond.tokens)  # type: ignore[arg-type]


def test_sd2_reads_the_last_layer_but_one() -> None:
    model = clip(True, hidden_act="gelu")
    whole = {**to_open_clip(named(model)), "logit_scale": torch.ones(())}
    text, (report,) = to_text(single("sd2", {"cond_stage_model.model": whole}))
    found = said(model, 0)
    base = getattr(model, "text_model", model)
    with torch.no_grad():
        expected = base.final_layer_norm(found.hidden_states[-2])
    assert difference(text.encode(WORDS).tokens, expected) < 1e-5  # type: ignore[arg-type]
    assert isinstance(text, Text) and len(report.left) == 2
    cut, _ = to_text(single("sd2", {"cond_stage_model.model": to_open_clip(parts_of(text))}))
    assert torch.equal(cut.encode(WORDS).tokens, text.encode(WORDS).tokens)  # type: ignore[arg-type]


def parts_of(text: Text) -> dict[str, Tensor]:
    return {theirs(name): v for name, v in text.encoder.state_dict().items()}  # type: ignore[attr-defined]


def test_sdxl_joins_two_and_says_zeros_for_nothing() -> None:
    first, second = clip(False, hidden_act="quick_gelu"), clip(True, hidden_act="gelu")
    places = {
        "conditioner.embedders.0.transformer": named(first),
        "conditioner.embedders.1.model": to_open_clip(named(second)),
    }
    text, reports = to_text(single("sdxl", places), dtype=torch.float32)
    cond = text.encode(WORDS)
    tokens = [said(m, p).hidden_states[-2] for m, p in ((first, SIZE - 1), (second, 0))]
    expected = torch.cat(tokens, dim=2)
    assert cond.tokens is not None and cond.vector is not None and len(reports) == 2
    assert difference(cond.tokens[::2], expected[::2]) < 1e-5
    assert difference(cond.vector[::2, :64], said(second, 0).text_embeds[::2]) < 1e-5
    assert not cond.tokens[1].any() and not cond.vector[1, :64].any()
    assert torch.equal(cond.vector[1, 64:], cond.vector[0, 64:])
    assert isinstance(text, JoinedText) and text.sized(512, 768).sizes == (512, 768, 0, 0, 512, 768)
    alone = {"conditioner.embedders.0.model": places["conditioner.embedders.1.model"]}
    refiner, _ = to_text(single("sdxl refiner", alone))
    assert isinstance(refiner, JoinedText) and not refiner.zeros
    assert refiner.sized(512, 768).sizes == (512, 768, 0, 0, 6.0)
    assert difference(refiner.encode(WORDS).tokens, tokens[1]) < 1e-5  # type: ignore[arg-type]


def test_sizes_follow_the_width_of_the_vector() -> None:
    places = {"conditioner.embedders.1.model": to_open_clip(named(clip(True, hidden_act="gelu")))}
    foreign = single("sdxl", places)
    assert foreign.unet is not None

    def read_with(width: int) -> Any:
        assert foreign.unet is not None
        config = dataclasses.replace(foreign.unet.config, vector_dim=width)
        unet = dataclasses.replace(foreign.unet, config=config)
        return to_text(dataclasses.replace(foreign, unet=unet))[0]

    for count in (5, 6):
        text = read_with(64 + 256 * count)
        assert len(text.sizes) == count
        vector = text.encode(["a house"]).vector
        assert vector is not None and vector.shape == (1, 64 + 256 * count)
    with pytest.raises(ValueError, match="reads a vector of 320, but its text encoder"):
        read_with(64 + 256)


def test_weights_stay_as_they_are_stored(tmp_path: Path) -> None:
    made = pipelines.saved(tmp_path, "sd15")
    made.text_encoder.half().save_pretrained(tmp_path / "text_encoder")
    text, (report,) = to_text(read(tmp_path))
    assert report.dtypes == ("float16",)
    assert {p.dtype for p in text.networks[0].parameters()} == {torch.float16}
    stored = named(made.text_encoder)
    kept = {theirs(name): value for name, value in text.networks[0].state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in stored.items())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("none", "has no text encoder"),
        ("two", "has 2 text encoders, but its denoiser reads 1"),
        ("lost", r"lacks 1 weights: (text_model.)?final_layer_norm.bias \[64\]"),
        ("more", r"does not use 1 weights: (text_model.)?more \[2\]"),
        ("shape", r"has other shapes for 1 weights: (text_model.)?final_layer_norm.bias \[3\]"),
        ("strange", "it is not CLIP's text encoder"),
        ("whole numbers", "holds whole numbers"),
    ],
)
def test_what_is_no_text_of_the_family(change: str, error: str) -> None:
    weights = named(clip(False))
    name = "text_model.final_layer_norm.bias"
    if change == "lost":
        weights.pop(name)
    if change == "more":
        weights["text_model.more"] = torch.ones(2)
    if change == "shape":
        weights[name] = torch.ones(3)
    if change == "whole numbers":
        weights[name] = torch.ones(64, dtype=torch.int8)
    if change == "strange":
        weights = {name: torch.ones(3)}
    texts = {} if change == "none" else {"cond_stage_model.transformer": weights}
    foreign = single("sd1", texts)
    if change == "two":
        part = next(iter(foreign.text.values()))
        foreign = dataclasses.replace(foreign, text={"a": part, "b": part})
    with pytest.raises(ValueError, match=error) as caught:
        to_text(foreign)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_is_missing(tmp_path: Path) -> None:
    pipelines.saved(tmp_path, "sd15")
    for file in (tmp_path / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="there is no tokenizer in"):
        to_text(read(tmp_path))
    (tmp_path / "tokenizer").rmdir()
    with pytest.raises(ValueError, match="tokenizer is missing"):
        to_text(read(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("transformer.resblocks.0.attn.in_proj_bias", (7,)), ("text_projection", (3,))],
)
def test_weights_that_cannot_be_taken_apart(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="has the shape"):
        from_open_clip({name: torch.ones(shape)})
