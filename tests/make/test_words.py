"""What is said of a request's words before it is sampled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from models import latent_text_model, unet_model

from inkdrop.conditioning.known import Known
from inkdrop.conditioning.text import Text
from inkdrop.events import Note
from inkdrop.make.make import make
from inkdrop.make.words import unheard
from inkdrop.model import Model, Prompt
from inkdrop.tasks.request import Interpolate, Request
from inkdrop.tasks.sampling import Sampling


@pytest.fixture(scope="module")
def model() -> Model:
    made = latent_text_model()
    assert isinstance(made.text, Text)
    known = Known.of(["a red cat", "a blue car", "웃는 고양이"])
    return dataclasses.replace(made, text=dataclasses.replace(made.text, known=known))


def said(model: Model, request: Request) -> Sequence[str]:
    return [note.text for note in unheard(model, request, None)]


@pytest.mark.parametrize(
    "prompt", ["a red cat", "(RED:1.2) BREAK cat", "a", "웃는 고양이", r"a \(red\) cat", None]
)
def test_nothing_is_said_of_what_was_read(model: Model, prompt: str | None) -> None:
    assert said(model, Request(prompt=prompt)) == []


def test_what_was_never_read_is_said_with_the_nearest(model: Model) -> None:
    (note,) = said(model, Request(prompt="a (green:1.3) car"))
    assert note == "the model has never read 'green'; the nearest names it knows are 'a blue car'"
    (note,) = said(model, Request(prompt="xyzzy"))
    assert note == "the model has never read 'xyzzy', so its picture can be of anything"
    (note,) = said(model, Request(prompt="a blue cat"))
    assert note.startswith("the model has never read all of 'a blue cat' together, so it mixes")
    (note,) = unheard(model, Request(prompt="a dog"), "runs/a")
    assert note.text.endswith("; `inkdrop info runs/a` lists all")


def test_all_prompts_count(model: Model) -> None:
    also = Sampling(also=(("dog", 1.0), (Prompt("fox"), 1.0)))
    for request, words in (
        (Request(prompt="cat", sampling=Sampling(negative="dog")), ["dog"]),
        (Request(prompt="cat", sampling=Sampling(negative="a blue cat")), []),
        (Request(prompt="cat", sampling=also), ["dog", "fox"]),
        (Request(task=Interpolate(prompts=("cat", "hat"))), ["hat"]),
    ):
        notes = said(model, request)
        assert len(notes) == len(words)
        for note, word in zip(notes, words, strict=True):
            assert f"never read {word!r}" in note


def test_the_empty_prompt_is_said(model: Model) -> None:
    for prompt in ("", " \n"):
        (note,) = said(model, Request(prompt=prompt))
        assert note.startswith("the prompt is empty, so every sample is whatever the model comes")
    assert said(unet_model(latent=False), Request(prompt="")) == []


def test_it_comes_before_the_first_step(model: Model) -> None:
    request = Request(prompt="a dog", sampling=Sampling(steps=1))
    first = next(iter(make(request, model=model)))
    assert isinstance(first, Note) and "never read 'dog'" in first.text
