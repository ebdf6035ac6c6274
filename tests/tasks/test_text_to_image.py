"""A picture from words: settings in the PNG that make it again, styles, and every bad prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models import latent_text_model
from PIL import Image

from inkdrop.diffusion.samplers import Step
from inkdrop.make.make import make, open_job, run
from inkdrop.media.settings import read_settings
from inkdrop.model import Model, Prompt
from inkdrop.tasks.generate import generate, generate_many
from inkdrop.tasks.interpolate import interpolate_prompts
from inkdrop.tasks.request import Request, request_of
from inkdrop.tasks.sampling import Sampling
from inkdrop.unload import Unloaded
from inkdrop.weights import read_json


def drawn(model: Model, conditions: list[str | Prompt], guidance: float = 2.0) -> torch.Tensor:
    return generate_many(
        model,
        count=len(conditions),
        conditions=list(conditions),
        sampling=Sampling(steps=3, guidance=guidance),
    )


def paint(model: Model, request: Request, out: Path) -> None:
    for event in make(request, model=model):
        made = event
    made.save(out)  # type: ignore[union-attr]


def test_a_folder_holds_all_of_it(tmp_path: Path) -> None:
    first = latent_text_model()
    first.save(tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == [
        "codec.safetensors", "model.json", "network.safetensors", "text.safetensors",
        "tokenizer.json",
    ]  # fmt: skip
    again = Model.load(tmp_path / "model")
    asked = ["a cat", Prompt("cat", "flat"), ""]
    assert torch.equal(drawn(first, asked), drawn(again, asked))
    assert read_json(tmp_path / "model" / "model.json")["text"]["context"] == 12


def test_words_and_style_both_matter_and_nothing_is_the_null_condition() -> None:
    with_text = latent_text_model()
    x = drawn(with_text, ["a cat", "a dog", Prompt("a cat", "flat"), Prompt("a cat", 1)])
    assert len({tuple(picture.flatten().tolist()) for picture in x}) == 4
    null, empty = with_text.null(2), with_text.condition([Prompt(), ""])
    assert torch.equal(null.tokens, empty.tokens)  # type: ignore[arg-type]
    assert torch.equal(null.label, torch.tensor([2, 2]))  # type: ignore[arg-type]
    # Away from nothing towards nothing: guidance does not move it.
    assert torch.allclose(drawn(with_text, [""], 5.0), drawn(with_text, [""], 1.0), atol=1e-5)


def test_a_png_makes_the_same_picture_again(tmp_path: Path) -> None:
    with_text, first, second = latent_text_model(), tmp_path / "a.png", tmp_path / "b.png"
    sampling = Sampling(negative="dog")
    asked = Request(
        prompt="웃는 고양이 (red:1.3) 🐱", labels=("round",), seed=3, count=2, size=40, scale=1,
        sampling=sampling,
    )  # fmt: skip
    paint(with_text, asked, first)
    like = request_of("generate", read_settings(first), {"prompt": None, "seed": None})
    paint(with_text, like, second)
    assert first.read_bytes() == second.read_bytes()
    assert read_settings(first)["prompt"] == "웃는 고양이 (red:1.3) 🐱"
    assert read_settings(first)["steps"] == 4
    with Image.open(first) as picture:
        assert picture.size == (82, 40)


def test_any_prompt_gives_a_picture(tmp_path: Path) -> None:
    with_text = latent_text_model()
    for prompt in ("", " ", "\n", "((((", "xyzzy" * 100, "🏳️‍🌈", "\ud800", "<|end|>", "cat " * 400):
        paint(with_text, Request(prompt=prompt, sampling=Sampling(steps=2)), tmp_path / "x.png")


def test_bad_input(tmp_path: Path) -> None:
    with_text = latent_text_model()
    with pytest.raises(ValueError, match="20000 characters"):
        paint(with_text, Request(prompt="x" * 20_000), tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"no class 'flut'.*flat"):
        paint(with_text, Request(prompt="cat", labels=("flut",)), tmp_path / "x.png")
    with pytest.raises(ValueError, match="count is 0"):
        Request(prompt="cat", count=0)
    with pytest.raises(ValueError, match="size is 9999"):
        Request(prompt="cat", size=9999)
    assert not (tmp_path / "x.png").exists()


def test_a_tokenizer_that_is_missing(tmp_path: Path) -> None:
    latent_text_model().save(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        Model.load(tmp_path / "model")


def test_a_walk_between_prompts_begins_and_ends_as_generate_does() -> None:
    made, sampling = latent_text_model(), Sampling(steps=3, guidance=2.0)
    ends = (Prompt("a cat", "flat"), Prompt("웃는 고양이 and a long tail", "flat"))
    for step in interpolate_prompts(made, ends, frames=5, seed=4, sampling=sampling):
        walk = step.x
    for frame, prompt in ((walk[0], ends[0]), (walk[-1], ends[1])):
        for step in generate(made, seed=4, conditions=[prompt], sampling=sampling):
            alone = step.x[0]
        assert torch.equal(frame, alone)
    assert float((walk[1:] - walk[:-1]).flatten(1).norm(dim=1).min()) > 0


def test_a_walk_between_prompts_keeps_to_one_class() -> None:
    ends = (Prompt("a cat", "flat"), Prompt("a cat", "round"))
    with pytest.raises(ValueError, match="'flat' and the other 'round'"):
        list(interpolate_prompts(latent_text_model(), ends, frames=3))


def test_a_class_by_itself_is_a_prompt_without_words() -> None:
    made = latent_text_model()
    expected = drawn(made, list(made.classes))
    assert torch.equal(expected, drawn(made, [Prompt("", 0), Prompt("", 1)]))
    assert torch.equal(expected, drawn(made, [0, 1]))  # a number is a class, not the word "0"


def test_a_model_that_is_used_up_draws_the_same_and_gives_each_part_back_in_turn(
    tmp_path: Path,
) -> None:
    asked = Request(
        prompt="a red cat", count=2, sampling=Sampling(steps=3, negative="웃는 고양이"), batch=1
    )
    paint(latent_text_model(), asked, tmp_path / "kept.png")
    used = latent_text_model()
    assert used.text is not None
    (encoder,) = used.text.networks
    went = list[bool]()
    for event in run(used, asked, open_job(asked), keep=False):
        if isinstance(event, Step):
            assert not isinstance(used.network, Unloaded)
            went.append(isinstance(encoder, Unloaded))
    assert went == [False] * 3 + [True] * 3  # once the words of the last batch are read
    event.save(tmp_path / "used.png")  # type: ignore[union-attr]
    assert (tmp_path / "used.png").read_bytes() == (tmp_path / "kept.png").read_bytes()
    assert isinstance(used.network, Unloaded)
    with pytest.raises(ValueError, match="this model was unloaded, so its weights are gone"):
        paint(used, asked, tmp_path / "again.png")
