"""Making: what happens on the way, the same samples in any batches, and the same from files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import latent_text_model, random_model, unet_model
from PIL import Image
from torch import Tensor

from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.find import find
from inkdrop.make.make import Made, make
from inkdrop.make.output import check_file
from inkdrop.media.settings import read_settings, settings_in
from inkdrop.model import Model, Prompt
from inkdrop.model.folder import build_model
from inkdrop.tasks.added import Added, AddedWord
from inkdrop.tasks.generate import generate
from inkdrop.tasks.interpolate import interpolate_seeds
from inkdrop.tasks.plan import faster
from inkdrop.tasks.request import (
    Edit,
    Guide,
    Inpaint,
    Interpolate,
    Invert,
    Request,
    request_of,
)
from inkdrop.tasks.sampling import Sampling

SAMPLING = Sampling(sampler="ddim", grid="logsnr", steps=3)


@pytest.fixture
def classes(tmp_path: Path) -> Model:
    """Pixels 8x8 of the classes "0" and "1"."""
    (tmp_path / "data").mkdir()
    return random_model(tmp_path / "data")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def curves() -> Model:
    """A model of series, two curves of 16 values each, from 0 to 20 in their own units."""
    torch.manual_seed(0)
    description = {
        "format_version": 1,
        "process": {"kind": "discrete"},
        "parameterization": {"kind": "edm"},
        "network": {
            "kind": "unet", "dims": 1, "in_channels": 2, "width": 8, "multipliers": [1, 2],
            "blocks": 1, "head_channels": 8, "norm_groups": 4,
        },
        "codec": {"kind": "identity"},
        "spec": {"shape": [2, 16], "medium": "series", "span": [0.0, 20.0], "steps": 3},
    }  # fmt: skip
    made = build_model(description, "the test's model")
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    made.network.eval().requires_grad_(False)
    return made


def made(request: Request, **how: Any) -> Made:
    *_, last = make(request, **how)
    assert isinstance(last, Made)
    return last


def last(steps: Iterator[Step]) -> Tensor:
    for step in steps:
        x = step.x
    return x


def again(path: str | Path, task: str = "generate", **changes: Any) -> Request:
    """The request that a file carries."""
    return request_of(task, settings_in(Path(path)), changes)


def drawn(path: str, height: int, width: int) -> Added:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return Added.of(path, "picture")


def test_steps_come_one_by_one_and_last_of_all_what_was_made(classes: Model) -> None:
    request = Request(count=5, batch=2, sampling=SAMPLING)
    *steps, end = make(request, model=classes)
    assert all(isinstance(each, Step) for each in steps) and isinstance(end, Made)
    assert [len(step.x) for step in steps if isinstance(step, Step)] == [2] * 6 + [1] * 3
    assert end.samples.shape == (5, 1, 8, 8) and end.samples.dtype == torch.float32
    assert end.samples.abs().max() <= 1 and end.medium is classes.medium
    # The samples are those of the task below, decoded.
    for number, label in enumerate("01010"):
        x = last(generate(classes, samples=[number], conditions=[label], sampling=SAMPLING))
        torch.testing.assert_close(end.samples[number], x[0].clamp(-1, 1), rtol=0, atol=1e-5)


def test_nothing_is_computed_before_it_is_asked_for(
    classes: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, forward = list[int](), type(classes.network).forward

    def counted(self: torch.nn.Module, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        calls.append(len(x))
        return forward(self, x, t, cond)

    monkeypatch.setattr(type(classes.network), "forward", counted)
    events = make(Request(sampling=SAMPLING), model=classes)
    assert calls == []
    next(events)
    assert len(calls) == 1
    events.close()  # type: ignore[attr-defined]
    assert len(calls) == 1


def test_what_was_left_to_the_model_is_written_out(classes: Model) -> None:
    request = made(Request(), model=classes).request
    assert (request.sampling.steps, request.sampling.guidance) == (20, 2.0)
    assert request.size is None and request.weights == ""
    asked = Request(seed=3, count=2, sampling=dataclasses.replace(SAMPLING, guidance=1.5))
    assert made(asked, model=classes).request == asked
    quick = made(Request(fast=True), model=classes).request
    assert quick.sampling.steps == faster(classes).steps and quick.sampling.interval is None


def test_a_seed_is_drawn_where_one_is_asked_for(classes: Model) -> None:
    found = []
    for _ in range(2):
        *before, done = make(Request(seed=-1, sampling=SAMPLING), model=classes)
        assert isinstance(done, Made) and 0 <= done.request.seed < 2**32
        said = [event.text for event in before if isinstance(event, Note)]
        assert f"the seed is {done.request.seed}, drawn at random" in said
        same = made(done.request, model=classes)
        assert torch.equal(same.samples, done.samples)
        found.append(done)
    assert found[0].request.seed != found[1].request.seed
    assert not torch.equal(found[0].samples, found[1].samples)


@pytest.mark.parametrize("kind", ["pixels", "words", "series"])
def test_batches_of_any_size_make_the_same(classes: Model, kind: str) -> None:
    model = {"pixels": classes, "words": latent_text_model(), "series": curves()}[kind]
    prompt = "a red cat" if kind == "words" else None
    request = Request(prompt=prompt, count=5, seed=7, sampling=SAMPLING)
    whole = made(request, model=model).samples
    assert whole.isfinite().all() and len({tuple(each.flatten().tolist()) for each in whole}) == 5
    for batch in (1, 2):
        parts = made(dataclasses.replace(request, batch=batch), model=model).samples
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    fewer = made(dataclasses.replace(request, count=2), model=model).samples
    torch.testing.assert_close(fewer, whole[:2], rtol=0, atol=1e-5)


def test_a_png_makes_the_same_picture_again(classes: Model) -> None:
    for model, asked in (
        (classes, Request(count=3, labels=("1", 0), seed=4, scale=2, columns=2)),
        (latent_text_model(), Request(prompt="웃는 고양이, a\nred cat", labels=("flat",))),
    ):
        first = made(dataclasses.replace(asked, sampling=SAMPLING), model=model)
        first.save("a.png")
        second = made(again("a.png"), model=model)
        assert torch.equal(second.samples, first.samples) and second.request == first.request
        second.save("b.png")
        assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
        # Other formats hold the picture alone.
        first.save("a.bmp")
        with Image.open("a.png") as png, Image.open("a.bmp") as bmp:
            assert np.array_equal(np.asarray(png), np.asarray(bmp.convert(png.mode)))


def test_a_png_of_one_sample_is_its_pixels(classes: Model) -> None:
    first = made(Request(scale=1, sampling=SAMPLING), model=classes)
    first.save("a.png")
    want = ((first.samples[0, 0] + 1) * 127.5).round().numpy().astype(np.uint8)
    with Image.open("a.png") as picture:
        assert np.array_equal(np.asarray(picture), want)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_hold_the_samples_themselves(classes: Model, suffix: str) -> None:
    first = made(Request(count=3, sampling=SAMPLING), model=classes)
    first.save(f"a.{suffix}")
    loaded = np.load(f"a.{suffix}")
    values = loaded if suffix == "npy" else loaded["samples"]
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, first.samples.numpy(), rtol=0, atol=1e-6)
    if suffix == "npz":
        assert torch.equal(made(again("a.npz"), model=classes).samples, first.samples)


def test_series_are_written_in_their_own_units() -> None:
    model = curves()
    first = made(Request(count=3, seed=2, sampling=SAMPLING), model=model)
    assert first.samples.shape == (3, 2, 16) and first.span == (0.0, 20.0)
    first.save("a.npz")
    first.save("a.npy")
    values = np.load("a.npz")["samples"]
    np.testing.assert_allclose(values, 10 * (first.samples.numpy() + 1), rtol=0, atol=1e-5)
    assert np.array_equal(np.load("a.npy"), values) and values.min() >= 0 and values.max() <= 20
    assert torch.equal(made(again("a.npz"), model=model).samples, first.samples)
    # A written sample is read as it was made.
    np.save("one.npy", values[1])
    back = model.medium.read(Path("one.npy"), model.spec.shape, model.spec.span)
    torch.testing.assert_close(back, first.samples[1], rtol=0, atol=1e-6)
    first.save("a.png")
    assert read_settings("a.png")["seed"] == 2
    with pytest.raises(ValueError, match=r"\.gif"):
        first.save("a.gif")


def test_a_model_by_name_is_named_by_its_weights_too(classes: Model) -> None:
    classes.save("m")
    first = made(Request(model="m", sampling=SAMPLING))
    assert first.request.weights == find("m").weights != ""
    want = made(Request(sampling=SAMPLING), model=classes)
    assert torch.equal(first.samples, want.samples)
    first.save("a.png")
    assert torch.equal(made(again("a.png")).samples, first.samples)
    assert torch.equal(made(again("a.png"), keep=True).samples, first.samples)


def test_another_model_than_made_a_file_is_refused(classes: Model) -> None:
    classes.save("m")
    made(Request(model="m", sampling=SAMPLING)).save("a.png")
    old = find("m").weights
    settings = Path("m/model.json")
    about = json.loads(settings.read_text())
    about["spec"]["guidance"] = 3.0
    settings.write_text(json.dumps(about))
    with pytest.raises(
        ValueError, match=f"the model m has changed since.*{old}.*{find('m').weights}"
    ):
        next(make(again("a.png")))
    # Weights that nobody asks for are any.
    assert made(again("a.png", weights="")).request.weights == find("m").weights
    shutil.rmtree("m")
    with pytest.raises(ValueError, match=r"model m, which was not found.*--model"):
        next(make(again("a.png")))
    with pytest.raises(ValueError, match="there is no model folder or run m"):
        next(make(Request(model="m")))


GONE = Added("gone.safetensors", "0123456789abcdef")
GONE_WORD = AddedWord("gone.safetensors", "0123456789abcdef")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"loras": (GONE,)}, r"LoRA gone\.safetensors, which does not exist.*--lora"),
        ({"embeddings": (GONE_WORD,)}, r"embedding gone\.safetensors, which does not.*--embedding"),
        ({"controls": (Guide(GONE, GONE),)}, r"control network gone\.safetensors.*--control"),
        ({"task": Edit(GONE)}, r"original gone\.safetensors"),
        ({"task": Inpaint(GONE)}, r"original gone\.safetensors"),
        ({"task": Invert((GONE,))}, r"picture gone\.safetensors"),
        ({"task": Interpolate(pictures=(GONE, GONE))}, r"picture gone\.safetensors"),
        ({"task": Interpolate(seeds=(1, 2)), "weak": "nothing"}, "--weak"),
        ({"task": Invert(()), "weak": "nothing"}, "--weak"),
        ({"engine": "pakced"}, "Did you mean 'packed'"),
        ({"engine": "eager", "precision": "int8"}, "precision is 'int8'"),
    ],
)
def test_files_and_engines_are_checked_before_a_model_is_looked_for(
    asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        next(make(Request(model="nothing", **asked)))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="there is no model folder or run nothing"):
        next(make(Request(model="nothing")))


def test_files_that_are_others_by_now(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"one")
    lora = Added.of("a.safetensors", "LoRA")
    (tmp_path / "a.safetensors").write_bytes(b"two")
    word = AddedWord(lora.path, lora.sha256)
    for asked in ({"loras": (lora,)}, {"embeddings": (word,)}, {"controls": (Guide(lora, lora),)}):
        with pytest.raises(ValueError, match=rf"a\.safetensors has changed.*{lora.sha256}"):
            next(make(Request(model="nothing", **asked)))  # type: ignore[arg-type]


def test_a_hint_is_checked_too(tmp_path: Path) -> None:
    control, hint = (drawn(f"{name}.png", 4, 4) for name in ("control", "hint"))
    (tmp_path / "hint.png").unlink()
    with pytest.raises(ValueError, match=r"hint hint\.png, which does not exist"):
        next(make(Request(model="nothing", controls=(Guide(control, hint),))))


def test_a_loaded_model_stays_as_it_is(classes: Model) -> None:
    before = {name: value.clone() for name, value in classes.network.state_dict().items()}
    network = classes.network
    made(Request(count=2, fast=True, sampling=SAMPLING), model=classes)
    assert classes.network is network and type(network).__name__ == "UNet"
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())
    for asked in ({"engine": "packed"}, {"half": True}):
        with pytest.raises(ValueError, match=r"engine and half do not apply to a loaded model"):
            next(make(Request(**asked), model=classes))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [{"half": True}, {"engine": "packed"}, {"engine": "eager"}])
def test_other_ways_to_compute_make_nearly_the_same(classes: Model, asked: dict[str, Any]) -> None:
    classes.save("m")
    plain = made(Request(model="m", count=2, sampling=SAMPLING))
    *events, end = make(Request(model="m", count=2, sampling=SAMPLING, **asked))
    assert isinstance(end, Made)
    assert (end.samples - plain.samples).abs().mean() < 0.02
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == (["engine: packed, float32"] if asked.get("engine") == "packed" else [])
    assert end.request.half == asked.get("half", False)


def test_a_weaker_model_is_guided_away_from(classes: Model) -> None:
    weak = dataclasses.replace(classes)
    weak.save("weak")
    with torch.no_grad():
        for parameter in classes.network.parameters():
            parameter.mul_(1.05)
    asked = dataclasses.replace(SAMPLING, guidance=1.6)
    found = made(Request(weak="weak", sampling=asked), model=classes).samples
    steps = generate(classes, conditions=["0"], sampling=asked, weak=Model.load("weak"))
    assert torch.equal(found, last(steps).clamp(-1, 1))
    assert not torch.equal(found, made(Request(sampling=asked), model=classes).samples)


def test_the_weaker_model_is_known_again(classes: Model) -> None:
    classes.save("weak")
    first = made(Request(weak="weak", sampling=SAMPLING), model=classes).request
    assert first.weak_weights == find("weak").weights
    made(first, model=classes)
    with torch.no_grad():
        next(classes.network.parameters()).add_(1)
    classes.save("weak")
    with pytest.raises(ValueError, match=r"the weaker model weak has changed.*add --weak weak"):
        made(first, model=classes)
    lost = dataclasses.replace(first, weak="gone")
    with pytest.raises(ValueError, match="by the weaker model gone, which was not found"):
        made(lost, model=classes)


def test_sizes(classes: Model) -> None:
    small = made(Request(sampling=SAMPLING), model=classes).samples
    large = made(Request(size=32, sampling=SAMPLING), model=classes)
    assert large.samples.shape == (1, 1, 32, 32) and large.request.size == 32
    # The mean of what a pixel has become is nearly the pixel.
    mean = large.samples.reshape(8, 4, 8, 4).mean((1, 3))
    assert np.corrcoef(mean.flatten(), small.flatten())[0, 1] > 0.95
    with pytest.raises(ValueError, match="size is 16x24, but this model only makes 8x8"):
        next(make(Request(size=(16, 24)), model=classes))
    with pytest.raises(
        ValueError, match="size is 32, but this model only makes 16 values in 2 chann"
    ):
        next(make(Request(size=32), model=curves()))
    any_size = unet_model(latent=True, any_size=True)
    found = made(Request(size=(8, 20), sampling=SAMPLING), model=any_size)
    assert found.samples.shape == (1, 3, 8, 20) and found.request.size == (8, 20)


def test_painted_and_the_same_again() -> None:
    model = unet_model(latent=True, beside=3)
    picture = drawn("in.png", 13, 18)
    marks = np.zeros((13, 18), np.uint8)
    marks[3:11, 4:15] = 255
    Image.fromarray(marks).save("mask.png")
    task = Inpaint(picture, Added.of("mask.png", "mask"), seam=2)
    first = made(Request(count=2, sampling=SAMPLING, task=task, columns=1), model=model)
    assert first.samples.shape == (2, 3, 13, 18)
    assert first.request.size == (16, 20)  # whole places of the code
    first.save("out.png")
    with Image.open("in.png") as opened, Image.open("out.png") as out:
        old, new = np.asarray(opened), np.asarray(out)[:13]
    assert np.array_equal(new[marks == 0], old[marks == 0])
    assert (new[marks > 0] != old[marks > 0]).any()
    second = made(again("out.png", "inpaint"), model=model)
    assert torch.equal(second.samples, first.samples) and second.request == first.request


def test_edited_and_the_same_again() -> None:
    model = unet_model(latent=True, beside=2, words=True)
    task = Edit(drawn("in.png", 13, 18))
    first = made(Request(prompt="a red cat", sampling=SAMPLING, task=task), model=model)
    assert first.samples.shape == (1, 3, 13, 18) and first.request.size == (16, 20)
    assert first.request.sampling.picture_guidance == 1.5
    first.save("out.png")
    second = made(again("out.png", "edit"), model=model)
    assert torch.equal(second.samples, first.samples)


def test_a_walk_is_one_row_of_frames_and_a_film(classes: Model) -> None:
    request = Request(task=Interpolate(seeds=(3, 7), frames=4), sampling=SAMPLING, scale=1)
    walk = made(request, model=classes)
    steps = interpolate_seeds(classes, (3, 7), frames=4, condition="0", sampling=SAMPLING)
    assert torch.equal(walk.samples, last(steps).clamp(-1, 1))
    walk.save("walk.png")
    with Image.open("walk.png") as row:
        assert row.size == (4 * 8 + 3 * 2, 8)
    assert torch.equal(made(again("walk.png", "interpolate"), model=classes).samples, walk.samples)
    for suffix in ("webp", "png"):
        walk.save_animation(f"film.{suffix}", fps=5)
        with Image.open(f"film.{suffix}") as film:
            assert film.n_frames == 4 and film.size == (8, 8)  # type: ignore[attr-defined]
            for number, sample in enumerate(walk.samples):
                film.seek(number)
                want = ((sample[0] + 1) * 127.5).round().numpy()
                assert np.array_equal(np.asarray(film.convert("L")), want)


def test_inverted_pictures_stand_above_their_noise_and_what_comes_back(classes: Model) -> None:
    files = tuple(drawn(f"{number}.png", 8 + number, 8) for number in range(2))
    asked = Sampling(steps=12, grid="logsnr", guidance=1.0)
    request = Request(labels=("1",), sampling=asked, task=Invert(files, exact=True))
    *_, end = make(request, model=classes)
    assert isinstance(end, Made) and end.samples.shape == (6, 1, 8, 8)
    originals, noise, back = end.samples.chunk(3)
    for number, file in enumerate(files):
        read = classes.medium.read(Path(file.path), (1, 8, 8), (-1.0, 1.0))
        assert torch.equal(originals[number], read)
    torch.testing.assert_close(back, originals, rtol=0, atol=1e-3)
    assert not torch.allclose(noise, originals, atol=0.1) and end.look.columns == 2
    end.save("a.png")
    assert torch.equal(made(again("a.png", "invert"), model=classes).samples, end.samples)


def test_a_prompt_for_a_model_without_words(classes: Model) -> None:
    with pytest.raises(ValueError, match="does not take a prompt"):
        next(make(Request(prompt="a cat"), model=classes))
    text = latent_text_model()
    conditions = [Prompt("a cat", "round")]
    want = last(generate(text, conditions=conditions, sampling=SAMPLING))
    found = made(Request(prompt="a cat", labels=("round",), sampling=SAMPLING), model=text)
    assert torch.equal(found.samples, text.codec.decode(want).clamp(-1, 1))


@pytest.mark.parametrize(
    ("path", "said"),
    [("folder", "folder is a folder"), ("a.xyz", r"'\.xyz'"), ("a", "file format"),
     ("a.pgn", r"Did you mean '\.png'"), ("file.png/a.png", r"file\.png")],
)  # fmt: skip
def test_files_that_nothing_can_write(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises((ValueError, OSError), match=said):
        check_file(Path(path))
    check_file(Path("new/a.png"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.png", "folder"]


@pytest.mark.parametrize("kind", ["pixels", "series"])
def test_files_that_are_inverted_have_the_models_size_whatever_is_asked(
    classes: Model, kind: str
) -> None:
    np.save("a.npy", np.linspace(0, 20, 32).reshape(2, 16))
    model = classes if kind == "pixels" else curves()
    file = drawn("a.png", 8, 8) if kind == "pixels" else Added.of("a.npy", "series")
    asked = Sampling(steps=3, grid="logsnr", guidance=1.0)
    request = Request(size=8, sampling=asked, task=Invert((file,)))
    found = made(request, model=model)
    assert found.samples.shape == (3, *model.spec.shape) and found.request == request


def test_a_file_made_by_a_loaded_model_is_not_repeated_by_the_default_one(classes: Model) -> None:
    made(Request(sampling=SAMPLING), model=classes).save("a.npz")
    with pytest.raises(ValueError, match=r"by a loaded model.*--model"):
        next(make(again("a.npz")))
    classes.save("m")
    kept = Request(model="m", weights=find("m").weights, sampling=SAMPLING)
    made(kept, model=classes).save("b.npz")
    assert torch.equal(made(again("b.npz")).samples, made(kept, model=classes).samples)


@pytest.mark.parametrize(
    "asked", [{"count": 10**30}, {"scale": 10**9}, {"labels": "01"}, {"labels": 1}, {"count": 2.5},
              {"count": "two"}, {"seed": "x"}, {"seed": 10**60}, {"model": Path("m")}],
)  # fmt: skip
def test_values_that_no_request_can_have(classes: Model, asked: dict[str, Any]) -> None:
    (name,) = asked
    try:
        with pytest.raises(ValueError, match=rf"{name}\b.* is"):
            next(make(Request(**asked), model=classes))
    except TypeError:  # of a comparison, before anything is made
        return


def test_precision_does_not_apply_to_a_loaded_model(classes: Model) -> None:
    with pytest.raises(ValueError, match="precision"):
        next(make(Request(precision="bfloat16"), model=classes))


def test_a_file_for_the_medium_is_checked_before_the_first_step() -> None:
    model = curves()
    with pytest.raises(ValueError, match=r"format of series '\.gif'"):
        next(make(Request(sampling=SAMPLING), model=model, out=Path("a.gif")))
    assert isinstance(next(make(Request(sampling=SAMPLING), model=model, out=Path("a.png"))), Step)


def test_a_walk_takes_one_class(classes: Model) -> None:
    walk = Interpolate(seeds=(1, 2), frames=2)
    with pytest.raises(ValueError, match="one class, not 2"):
        next(make(Request(labels=("0", "1"), task=walk, sampling=SAMPLING), model=classes))


def test_more_samples_than_fit_into_memory_are_refused_before_the_first_step() -> None:
    with pytest.raises(ValueError, match=r"1,000,000 samples of 3x64x64 take .* fewer at a time"):
        for event in make(Request(prompt="a red heart", count=1_000_000)):
            assert not isinstance(event, Step)
