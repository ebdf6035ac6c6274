"""What is asked of samples is distributed as in the data, and samples are those of `generate`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import tiny
import torch
from captions import tokenizer

from inkdrop.conditioning.text import Text
from inkdrop.evaluate.samples import conditions_like, drawn
from inkdrop.model import Prompt
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling


def test_every_picture_is_asked_for_before_any_twice(tmp_path: Path) -> None:
    data = dataclasses.replace(tiny.data(tmp_path), captions=tuple(map(str, range(48))))
    encoder = TextEncoder(TextEncoderConfig(vocabulary=400, width=16, layers=1, heads=2))
    model = dataclasses.replace(tiny.model(data), text=Text(tokenizer(), encoder))
    asked = conditions_like(model, data, 60, seed=3)
    assert asked is not None and asked == conditions_like(model, data, 60, seed=3)
    assert asked != conditions_like(model, data, 60, seed=4)
    prompts = [prompt for prompt in asked if isinstance(prompt, Prompt)]
    assert sorted(int(p.text) for p in prompts[:48]) == list(range(48))
    assert data.labels is not None
    for prompt in prompts:
        assert prompt.label == data.label_names[data.labels[int(prompt.text)]]


def test_captions_are_literal(tmp_path: Path) -> None:
    text = "a (red) cat AND [a|b] BREAK <lora:x:1>"
    data = dataclasses.replace(tiny.data(tmp_path), captions=(text,) * 48)
    encoder = TextEncoder(TextEncoderConfig(vocabulary=400, width=16, layers=1, heads=2))
    model = dataclasses.replace(tiny.model(data), text=Text(tokenizer(), encoder))
    (asked,) = conditions_like(model, data, 1) or ()
    assert isinstance(asked, Prompt)
    read = Text(tokenizer(), encoder).tokenize([asked.text])
    ids = [piece.id for piece in tokenizer().pieces(text)]
    assert [n for n in read.ids[read.mask].tolist() if n in ids] == ids
    assert bool((read.weights == 1).all())


def test_a_model_of_classes_is_asked_for_those_of_the_data(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    rare = data.subset([*range(0, 48, 2), 1, 3])  # 24 of one class and 2 of the other
    model = tiny.model(data)
    assert Counter(conditions_like(model, rare, 52) or ()) == {"0": 48, "1": 4}
    with pytest.raises(ValueError, match="has no classes; name its column"):
        conditions_like(model, dataclasses.replace(data, labels=None, label_names=()), 5)
    with pytest.raises(ValueError, match="the class 'a', which the model lacks"):
        conditions_like(model, dataclasses.replace(data, label_names=("a", "b")), 5)


def test_samples_come_a_batch_at_a_time_as_generate_makes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tiny.model(tiny.data(tmp_path))
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    names, sampling = ["0", "1"] * 3 + ["0"], Sampling(steps=3)
    parts = list(drawn(model, names, 7, seed=5, batch=3, sampling=sampling))
    whole = generate_many(
        model, seed=5, count=7, conditions=names, batch=3, sampling=sampling
    ).clamp(-1, 1)
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), whole)


def test_data_of_one_class_that_does_not_say_so(tmp_path: Path) -> None:
    data = dataclasses.replace(tiny.data(tmp_path), labels=None, label_names=())
    model = tiny.model(tiny.data(tmp_path))
    with pytest.raises(ValueError, match=r"with --label, or the class of all of it with --class"):
        conditions_like(model, data, 3)
    assert conditions_like(model, data.of_class("1"), 3) == ["1"] * 3
    with pytest.raises(ValueError, match=r"has the class 'x', which the model lacks"):
        conditions_like(model, data.of_class("x"), 3)
    with pytest.raises(ValueError, match=r"has classes of its own \(0, 1\); leave out"):
        tiny.data(tmp_path).of_class("1")
