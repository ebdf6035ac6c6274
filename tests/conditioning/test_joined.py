"""Encoders joined, and sizes: what diffusers tells Stable Diffusion's denoisers, and a folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from encoders import clip, encoder
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.text import Text
from inkdrop.model import Between, Model, Prompt
from inkdrop.networks.text import TextEncoder

SIZES = (1024.0, 768.0, 8.0, 0.0, 512.0, 640.0)
PROMPTS = ["a red dog on the sea", "", "붉은 집, an unhappy cat"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def sdxl(folder: Path, sizes: tuple[float, ...] = SIZES) -> JoinedText:
    """The shape of SDXL's: the last layer but one of two, and what the second projects."""
    if not folder.exists():
        clip(folder / "one")
        clip(folder / "two", projected=True, pad="!", hidden_size=24, projection_dim=20)
    one = open_pretrained(folder / "one", layer=-2, norm=False, pooled="none", padded=True)
    two = open_pretrained(folder / "two", layer=-2, norm=False, pooled="projected", padded=True)
    return JoinedText((one, two), sizes)


def peer(folder: Path, pad: str, cls: Any = transformers.CLIPTextModel) -> tuple[Any, Any]:
    """The tokenizer and the encoder of a folder, by transformers alone."""
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    words = transformers.CLIPTokenizer(
        vocab=vocabulary,
        merges=[tuple(line.split(" ")) for line in lines],
        pad_token=pad,
        model_max_length=16,
    )
    return words, cls.from_pretrained(folder).eval()


END = "<|endoftext|>"


@torch.no_grad()
def test_it_is_what_diffusers_tells_stable_diffusion(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    clip(tmp_path)
    words, network = peer(tmp_path, END)
    if not hasattr(network, "text_model"):  # where diffusers looks for its norm
        object.__setattr__(network, "text_model", network)
    pipeline = diffusers.StableDiffusionPipeline(
        None, network, words, None, None, None, None, requires_safety_checker=False
    )
    for skip, layer in ((None, -1), (1, -2)):  # its clip skip counts from nothing skipped
        want, null = pipeline.encode_prompt(PROMPTS, "cpu", 1, True, clip_skip=skip)
        text = open_pretrained(tmp_path, layer=layer, pooled="none", padded=True)
        cond = text.encode(PROMPTS)
        assert cond.mask is not None and cond.mask.all() and cond.vector is None
        torch.testing.assert_close(cond.tokens, want, atol=1e-5, rtol=1e-5)
        if skip is None:  # diffusers skips nothing of the null condition
            torch.testing.assert_close(text.encode([""]).tokens, null[:1], atol=1e-5, rtol=1e-5)


def timesteps(values: Tensor) -> Tensor:
    """As diffusers' U-Net embeds SDXL's sizes, [B, N] -> [B, 256 N]."""
    from diffusers.models.embeddings import Timesteps

    out: Tensor = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)(values.flatten())
    return out.reshape(len(values), -1)


@torch.no_grad()
@pytest.mark.parametrize("refiner", [False, True], ids=["base", "refiner"])
def test_it_is_what_diffusers_tells_sdxl(tmp_path: Path, refiner: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    both = sdxl(tmp_path / "folder")
    one = peer(tmp_path / "folder" / "one", END)
    two = peer(tmp_path / "folder" / "two", "!", transformers.CLIPTextModelWithProjection)
    pipeline = diffusers.StableDiffusionXLPipeline(
        None, None if refiner else one[1], two[1], None if refiner else one[0], two[0], None, None,
        add_watermarker=False,
    )  # fmt: skip
    want, _, vector, _ = pipeline.encode_prompt(PROMPTS, device="cpu")
    sizes = SIZES
    if refiner:
        sizes = (*SIZES[:4], 6.0)  # the last is how beautiful it is to be
        both = JoinedText(both.parts[1:], sizes)
    cond = both.encode(PROMPTS)
    assert cond.tokens is not None and cond.vector is not None
    assert cond.tokens.shape[2] == (24 if refiner else 40) and cond.mask is not None
    torch.testing.assert_close(cond.tokens, want, atol=1e-5, rtol=1e-5)
    told = torch.cat([vector, timesteps(torch.tensor([sizes] * len(PROMPTS)))], dim=1)
    torch.testing.assert_close(cond.vector, told, atol=1e-5, rtol=1e-5)
    assert cond.vector.shape[1] == 20 + 256 * len(sizes)


def test_long_prompts_have_as_many_chunks_in_both(tmp_path: Path) -> None:
    both = sdxl(tmp_path / "folder")
    cond = both.encode(["a (red:1.3) dog " * 9, "a cat"])
    assert cond.tokens is not None and cond.tokens.shape == (2, 32, 40)
    first = both.parts[1].encode(["a (red:1.3) dog " * 9, "a cat"])
    assert torch.equal(cond.tokens[..., 16:], first.tokens)  # type: ignore[arg-type]
    assert torch.equal(cond.vector[:, :20], first.vector)  # type: ignore[index, arg-type]


def test_between_two_prompts_the_sizes_stay(tmp_path: Path) -> None:
    both = sdxl(tmp_path / "folder")
    prompts, second = ("a red dog", "the sea " * 20), both.parts[1]
    a, b = (both.encode([prompt]) for prompt in prompts)
    for fraction in (0.0, 0.3, 1.0):
        middle = both.between(a, b, fraction)
        assert torch.equal(middle.vector[:, 20:], a.vector[:, 20:])  # type: ignore[index]
        words = second.between(*(second.encode([p]) for p in prompts), fraction)
        torch.testing.assert_close(middle.vector[:, :20], words.vector)  # type: ignore[index]
    assert torch.equal(both.between(a, b, 1.0).tokens, b.tokens)  # type: ignore[arg-type]
    unsized = dataclasses.replace(both, sizes=())
    assert unsized.encode(["a"]).vector.shape == (1, 20)  # type: ignore[union-attr]
    without = JoinedText(both.parts[:1])
    assert without.between(without.encode(["a"]), without.encode(["b"]), 0.5).vector is None


def equal(a: Cond, b: Cond) -> bool:
    pairs = zip(a._values(), b._values(), strict=True)
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)  # type: ignore[arg-type]


def test_a_model_folder_holds_all_of_it(tmp_path: Path) -> None:
    both = sdxl(tmp_path / "folder")
    first = dataclasses.replace(tiny.model(tiny.data(tmp_path)), text=both)
    first.save(tmp_path / "a")
    again = Model.load(tmp_path / "a")
    assert isinstance(again.text, JoinedText) and again.text.sizes == SIZES
    assert len(again.text.networks) == 2
    asked = [
        "a (red:1.4) dog",
        "",
        "붉은 집 " * 12,
        Between(Prompt("a dog"), Prompt("the sea"), 0.3),
    ]
    assert equal(first.condition(list(asked)), again.condition(list(asked)))
    names = sorted(p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*.*"))
    assert names == [
        "model.json", "network.safetensors", "text_1/text.safetensors", "text_1/tokenizer.json",
        "text_2/text.safetensors", "text_2/tokenizer.json",
    ]  # fmt: skip
    (tmp_path / "a" / "text_2" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"there is no tokenizer\.json in .*text_2"):
        Model.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": []}, "parts is empty"),
        ({"parts": {}}, "'parts' is {}"),
        ({"part": 1}, "unknown key 'part'. Did you mean 'parts'"),
        ({"sizes": "many"}, "'sizes' is 'many'"),
        ({"sizes": [1, "x"]}, r"'sizes\.1' is 'x'"),
        ({"parts": [{"kind": "joined", "parts": []}]}, "no text 'joined'"),
    ],
)
def test_a_folder_that_was_changed(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    both = sdxl(tmp_path / "folder")
    dataclasses.replace(tiny.model(tiny.data(tmp_path)), text=both).save(tmp_path / "a")
    file = tmp_path / "a" / "model.json"
    about = json.loads(file.read_text())
    about["text"] |= changes
    file.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=said) as caught:
        Model.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_parts_that_cannot_be_joined(tmp_path: Path) -> None:
    both = sdxl(tmp_path / "folder")
    encoder(tmp_path / "t5", "T5EncoderModel")
    with pytest.raises(ValueError, match="give 16 and 4 tokens for the prompts"):
        JoinedText((both.parts[0], open_pretrained(tmp_path / "t5"))).encode(["a dog"])
    with pytest.raises(ValueError, match="parts is empty; give at least one"):
        JoinedText(())
    with pytest.raises(ValueError, match="the last text encoder has no vector to append them to"):
        JoinedText(both.parts[::-1], SIZES)
    sketched = TextEncoder(dataclasses.replace(tiny.TEXT, vocabulary=800, sketch=(2, 4, 4)))
    with pytest.raises(ValueError, match="with a sketch cannot be joined"):
        JoinedText((Text(both.parts[0].tokenizer, sketched),))
