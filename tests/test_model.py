"""A model folder: a round trip to the bit, no code, and every fault told in a sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from models import latent_text_model
from safetensors.torch import load_file, save_file

from inkdrop.cond import Cond
from inkdrop.model import Condition, Model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = tiny.model(tiny.data(tmp_path))
    torch.nn.init.normal_(model.network.output.weight)  # type: ignore[union-attr, arg-type]
    model.save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, *keys: str, value: object) -> None:
    file = folder / "model.json"
    data = json.loads(file.read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(data))


def test_round_trip_is_exact(folder: Path, tmp_path: Path) -> None:
    model = Model.load(folder)
    model.save(tmp_path / "again")
    for name in ("model.json", "network.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "network.safetensors"]


def test_denoise_keeps_the_precision_of_x(folder: Path) -> None:
    model = Model.load(folder, dtype=torch.bfloat16)
    x, t = torch.randn(3, 1, 8, 8), torch.full((3,), 0.5, dtype=torch.float64)
    out = model.denoise(x, t, Cond(label=torch.tensor([0, 1, 2])))
    assert out.dtype == torch.float32
    exact = Model.load(folder).denoise(x, t, Cond(label=torch.tensor([0, 1, 2])))
    assert 0 < float((out - exact).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("proces",), {}, r"unknown key 'proces'\. Did you mean 'process'"),
        (("format_version",), 99, "has format 99"),
        (("process", "kind"), "discret", "no process 'discret'.*Did you mean 'discrete'"),
        (("process", "schedule"), "cosin", "Did you mean 'cosine'"),
        (("network", "widht"), 8, r"unknown key 'widht'\. Did you mean 'width'"),
        (("network", "width"), "many", "'width' is 'many'"),
        (("network", "_class_name"), "os.system", "unknown key '_class_name'"),
        (("network", "width"), 10**15, "'width' is 1000000000000000; it must be at most 1000000"),
        (("network", "blocks"), 10**9, "'blocks' is 1000000000; it must be at most 256"),
        (
            ("network", "multipliers"),
            [1] * 65,
            "'multipliers' has 65 levels; it may have at most 64",
        ),
        (
            ("network",),
            {"kind": "unet", "dims": 3, "patch": 10**6},
            "a part of these sizes cannot be",
        ),
        (("process", "steps"), 10**9, "'steps' is 1000000000; it must be at most 1000000"),
        (("network",), None, "'network' must be key-value pairs, not NoneType"),
        (("process",), 3, "'process' must be key-value pairs, not int"),
        (("network", "dropout"), float("nan"), "'dropout' is nan; it must be at most 1000000"),
        (("network", "skip_scale"), 1e308, "'skip_scale' is 1e.308; it must be at most 1000000"),
        (("spec", "shape"), [3, 100_000, 100_000], "a sample may have at most"),
        (("spec", "guidance"), float("inf"), "they must be finite"),
        (
            ("spec", "tuned"),
            [{"steps": 1, "sampler": "fitted", "times": [1.0, 0.0], "weights": [[1e308]]}],
            "a tuned grid of 1 steps has numbers beyond",
        ),
        (
            ("spec", "tuned"),
            [{"steps": 1, "sampler": "ddim", "times": [1.0, float("nan")]}],
            "a tuned grid of 1 steps has",
        ),
        (("text",), None, "'text' must be key-value pairs, not NoneType"),
        (("spec", "condition_drop"), 2.0, "condition_drop is 2.0"),
        (("parameterization", "kind"), "epsilon", "no parameterization 'epsilon'"),
    ],
)
def test_hostile_or_misspelt_description_is_refused(
    folder: Path, keys: tuple[str, ...], value: object, said: str
) -> None:
    edit(folder, *keys, value=value)
    with pytest.raises(ValueError, match=said) as caught:
        Model.load(folder)
    assert "\n" not in str(caught.value)


def test_every_weight_must_find_its_place(folder: Path) -> None:
    file = folder / "network.safetensors"
    weights = load_file(file)
    name = sorted(weights)[0]
    for change, said in (
        ({name: None}, f"lacks 1 weights: {name}"),
        ({"stranger": torch.zeros(1)}, "does not use 1 weights: stranger"),
        ({name: torch.zeros(3, 3, 3)}, f"other shapes for 1 weights: {name}"),
    ):
        changed = {k: v for k, v in {**weights, **change}.items() if v is not None}
        save_file(changed, file)
        with pytest.raises(ValueError, match=said):
            Model.load(folder)
    save_file(weights, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="truncated"):
        Model.load(folder)
    save_file({**weights, name: weights[name].to(torch.complex64)}, file)
    with pytest.raises(ValueError, match=f"holds '{name}' as 'C64'; supported are"):
        Model.load(folder)
    save_file({**weights, name: weights[name].to(torch.int8)}, file)
    with pytest.raises(ValueError, match=f"holds integers for {name} .torch.int8.: it is a quant"):
        Model.load(folder)
    file.unlink()
    with pytest.raises(ValueError, match=r"network\.safetensors is missing"):
        Model.load(folder)


def test_missing_or_broken_description(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is neither a model folder nor a run with a checkpoint"):
        Model.load(tmp_path)
    (folder / "model.json").write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        Model.load(folder)
    (folder / "model.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object"):
        Model.load(folder)


def test_labels_by_name_or_number(folder: Path) -> None:
    model = Model.load(folder)
    assert torch.equal(model.condition(["1", 0]).label, torch.tensor([1, 0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no class 'cat'; known: 0, 1"):
        model.condition(["cat"])


def test_a_condition_is_for_as_many_samples(folder: Path) -> None:
    model = Model.load(folder)
    x, cond = torch.zeros(2, *model.shape), model.condition(["1", "0", "1"])
    with pytest.raises(ValueError, match="for 3 samples, but x has 2"):
        model.denoise(x, torch.full((2,), 0.5), cond)


def named(model: Model, *labels: str) -> Model:
    spec = dataclasses.replace(model.spec, labels=labels)
    return dataclasses.replace(model, spec=spec)


def test_an_int_is_the_number_of_a_class_and_a_string_its_name(folder: Path) -> None:
    model = named(Model.load(folder), "7", "1")

    def numbers(*names: Condition) -> list[int]:
        label = model.condition(list(names)).label
        assert label is not None
        return label.tolist()

    assert numbers(1, 0, np.int64(1)) == [1, 0, 1]  # type: ignore[arg-type]
    assert numbers("1", "7") == [1, 0]
    with pytest.raises(ValueError, match="there is no class '0'; known: 7, 1"):
        numbers("0")  # a slip, where other classes have numbers as their names
    for name, said in ((2, "no class number 2; the model has classes 0 to 1"), (-1, "number -1")):
        with pytest.raises(ValueError, match=said):
            numbers(name)
    with pytest.raises(ValueError, match="there is no class '²'"):
        numbers("²")


def test_a_string_is_a_number_where_no_name_is_one(folder: Path) -> None:
    label = named(Model.load(folder), "cat", "dog").condition(["1", "cat"]).label
    assert label is not None and label.tolist() == [1, 0]


def test_a_class_is_found_in_either_spelling_of_unicode(folder: Path) -> None:
    model = named(Model.load(folder), "cafe\u0301", "th\u00e9")  # decomposed, composed
    label = model.condition(["caf\u00e9", "the\u0301"]).label
    assert label is not None and label.tolist() == [0, 1]


def test_a_model_shows_itself_on_a_card() -> None:
    """Ten lines instead of its modules; names of strangers are harmless there, too."""
    model = latent_text_model()
    names = ("<b>\x1b[2J", "round")
    model = dataclasses.replace(model, spec=dataclasses.replace(model.spec, labels=names))
    card = repr(model).splitlines()
    assert 5 < len(card) <= 10 and max(map(len, card)) < 120
    number = sum(each.numel() for each in model.network.parameters())
    for said in ("pictures, 16x16 RGB", f"{number:,} weights", "edm", "2x8x8", "prompts", "round"):
        assert said in repr(model)
    assert r"<b>\x1b[2J" in repr(model)
    shown = model._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown and "\x1b" not in shown
    assert f"{number:,} weights" in shown
