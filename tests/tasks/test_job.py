"""Jobs: which samples are computed together, and what each of them is asked to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import latent_text_model, random_model, unet_model

from inkdrop.model import Model, Prompt
from inkdrop.tasks.job import batches, conditions_for, sampling_for
from inkdrop.tasks.plan import faster
from inkdrop.tasks.request import Request
from inkdrop.tasks.sampling import Sampling


@given(st.integers(1, 300), st.integers(1, 80))
def test_batches_are_all_samples_in_order(count: int, batch: int) -> None:
    rows = batches(Request(count=count, batch=batch))
    assert [i for each in rows for i in each] == list(range(count))
    assert all(len(each) == batch for each in rows[:-1]) and 1 <= len(rows[-1]) <= batch


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Knows the classes "0" and "1" and does not take a prompt."""
    return random_model(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def both() -> Model:
    """Reads words and knows the styles flat and round."""
    return latent_text_model()


WORDS_ONLY = {"latent": True, "words": True}


def test_classes_take_turns_whatever_the_batch(classes: Model) -> None:
    assert classes.spec.labels == ("0", "1")
    for count, batch in ((5, 5), (5, 2), (7, 3)):
        request = Request(count=count, batch=batch)
        found = [
            each for rows in batches(request) for each in conditions_for(request, classes, rows)
        ]
        assert found == ["0", "1", "0", "1", "0", "1", "0"][:count]


def test_classes_that_are_asked_for_take_turns(classes: Model) -> None:
    request = Request(labels=("1", 0, "1"), count=5)
    assert conditions_for(request, classes, range(5)) == ["1", 0, "1", "1", 0]
    assert conditions_for(request, classes, range(4, 5)) == [0]


def test_words_go_with_every_style_that_is_asked_for(both: Model) -> None:
    request = Request(prompt="a cat", labels=("round", "flat"))
    first, second = Prompt("a cat", "round"), Prompt("a cat", "flat")
    assert conditions_for(request, both, range(3)) == [first, second, first]
    assert conditions_for(Request(prompt="a cat"), both, range(2)) == [Prompt("a cat")] * 2
    # Without words the styles take turns, the ones that are asked for or all.
    plain = [Prompt(label="flat"), Prompt(label="round")]
    assert conditions_for(Request(), both, range(2)) == plain
    assert conditions_for(Request(labels=("round",)), both, range(2)) == [Prompt("", "round")] * 2
    # Words may be empty, which is not the same as none.
    assert conditions_for(Request(prompt=""), both, range(1)) == [Prompt("")]


def test_a_model_of_words_alone() -> None:
    model = unet_model(**WORDS_ONLY)
    assert conditions_for(Request(), model, range(2)) == [Prompt(), Prompt()]
    assert conditions_for(Request(prompt="a"), model, range(1)) == [Prompt("a")]
    with pytest.raises(ValueError, match=r"'flat'.*trained without labels"):
        conditions_for(Request(prompt="a", labels=("flat",)), model, range(1))


def test_a_model_without_conditions() -> None:
    model = unet_model(latent=True)
    assert conditions_for(Request(), model, range(3)) is None
    found = conditions_for(Request(labels=("flat",)), model, range(1))
    assert found == ["flat"]
    with pytest.raises(ValueError, match="without labels"):
        model.condition(found)


def test_words_for_a_model_that_reads_none(classes: Model) -> None:
    for model in (classes, unet_model(latent=True)):
        with pytest.raises(ValueError, match="does not take a prompt"):
            conditions_for(Request(prompt="a cat"), model, range(1))


def test_fast_is_worked_into_the_sampling(classes: Model, tmp_path: Path) -> None:
    asked = Sampling(guidance=3.0, sampler="ddim")
    assert sampling_for(Request(sampling=asked), classes) is asked
    quick = sampling_for(Request(sampling=asked, fast=True), classes)
    assert quick == faster(classes, asked) and quick.interval is not None
    # With a weak model the two are guided apart everywhere.
    weak = sampling_for(Request(sampling=asked, fast=True, weak=str(tmp_path)), classes)
    assert weak.interval is None and weak.steps == quick.steps
