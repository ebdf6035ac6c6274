"""What is no Model, tensor, number or name: public functions say what they want, in a sentence."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from models import latent_text_model, random_model, unet_model

import inkdrop
from inkdrop.arguments import _hints, checked, fits, said
from inkdrop.conditions import Between, Prompt, per_sample
from inkdrop.model import Model
from inkdrop.tasks.inpaint import Masked

FUNCTIONS = sorted(
    name for name in inkdrop.__all__ if inspect.isfunction(inspect.unwrap(getattr(inkdrop, name)))
)
CONFIGS = (
    "Discrete", "DistillConfig", "EDM", "Request", "Sampling", "Spec", "TrainConfig", "Tuned",
    "UNetConfig", "DiTConfig", "VE", "VP", "SeededNoise",
)  # fmt: skip
TWO = inkdrop.Sampling(steps=2, sampler="ddim")


class Nothing:
    """A value of a kind that nobody wants."""

    def __repr__(self) -> str:
        return "nothing\x1b"


def arguments(name: str) -> list[str]:
    return list(inspect.signature(getattr(inkdrop, name)).parameters)


def test_all_functions_are_there() -> None:
    assert {"generate", "train", "make", "open_data", "ddim", "cfg", "save"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_every_public_function_names_what_it_wants(name: str) -> None:
    """Before anything is done."""
    for argument in arguments(name):
        with pytest.raises(TypeError) as error:
            getattr(inkdrop, name)(**{argument: Nothing()}, **_fitting(name, argument))
        message = str(error.value)
        assert message.startswith(f"{name}: {argument} is nothing\x1b (Nothing); give "), message
        assert "\n" not in message


def _fitting(name: str, without: str) -> dict[str, Any]:
    """Values of the right kinds for the other arguments that have no default."""
    function = inspect.unwrap(getattr(inkdrop, name))
    parameters = inspect.signature(function).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty]
    return {each: _of_kind(_hints(function)[each]) for each in needed if each != without}


def _of_kind(hint: Any) -> Any:
    """Something that passes for a value of this kind."""
    processes = inkdrop.Discrete(), inkdrop.VP()
    for value in (1, "a", (1, 2), (torch.zeros(1),) * 2, MODEL, torch.zeros(1), *processes):
        if fits(value, hint):
            return value
    if fits(_anything, hint):
        return _anything
    return object.__new__(typing.get_args(hint)[0] if typing.get_args(hint) else hint)


def _anything(*given: Any) -> Any:
    return None


MODEL = latent_text_model()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_of_a_configuration(name: str, tmp_path: Path) -> None:
    cls = getattr(inkdrop, name)
    needed: dict[str, Any] = {
        "Spec": {"shape": (1, 8, 8)},
        "Tuned": {"steps": 1, "sampler": "ddim", "times": (1.0, 0.0)},
        "SeededNoise": {"seed": 0, "samples": (0,), "shape": (1,), "process": inkdrop.VP()},
        "UNetConfig": {"in_channels": 1},
        "DiTConfig": {"in_channels": 1},
    }.get(name, {})
    tried = 0
    for field in dataclasses.fields(cls):
        if field.init and not field.name.startswith("_"):
            with pytest.raises(TypeError, match=rf"{name}: {field.name} is .*; give "):
                cls(**{**needed, field.name: Nothing()})
            tried += 1
    assert tried


CASES: Sequence[tuple[Callable[[Path], Any], str]] = [
    (lambda _: inkdrop.generate("emoji"), "model is 'emoji' (str); give a Model, as open_model"),
    (lambda _: inkdrop.generate(), "missing a required argument: 'model'"),
    (lambda _: inkdrop.generate(MODEL, sample=3), "unexpected keyword argument 'sample'"),
    (lambda _: inkdrop.generate(MODEL, samples=4), "samples is 4 (int); give a list of whole"),
    (lambda _: inkdrop.generate(MODEL, samples=()), "samples is empty"),
    (lambda _: inkdrop.generate(MODEL, ["a"], samples=(0, 1)), "one for each, not a list of 1 for"),
    (lambda _: inkdrop.generate(MODEL, seed=1.5), "seed is 1.5 (float); give a whole number"),
    (lambda _: inkdrop.generate(MODEL, torch.zeros(1)), "conditions is a Tensor of shape [1]"),
    (lambda _: inkdrop.Sampling(steps="ten"), "steps is 'ten' (str); give a whole number"),
    (lambda _: inkdrop.Sampling(steps=-1), "steps is -1"),
    (lambda _: inkdrop.Spec(shape=[1, 8, 8]), "shape is [1, 8, 8] (list); give a tuple of whole"),
    (lambda _: inkdrop.grid(inkdrop.VP(), "uniform", -2), "steps is -2"),
    (lambda _: inkdrop.open_model("/no/such/model"), "/no/such"),
    (lambda _: inkdrop.open_data("/no/such/data"), "/no/such"),
    (lambda _: inkdrop.open_data(["a"]), "path is ['a'] (list); give text or a path"),
    (lambda _: inkdrop.invert(MODEL, [[0.0]]), "data is [[0.0]] (list); give a torch tensor"),
    (lambda _: inkdrop.invert(MODEL, torch.zeros(1, 1, 8, 8)), "the model makes (3, 16, 16)"),
    (lambda _: inkdrop.invert(MODEL, np.zeros((1, 3, 16))), "a ndarray of shape [1, 3, 16]; give"),
    (
        lambda _: inkdrop.UNet({"a": 8}),
        "UNet: config is {'a': 8} (dict); give a UNetConfig",
    ),
    (lambda _: inkdrop.DiT(3), "DiT: config is 3 (int); give a DiTConfig"),
    (lambda _: inkdrop.interpolate_seeds(MODEL, (1, 2), frames=10**9), "frames is 1000000000"),
    (lambda _: MODEL.condition([3.5]), "a condition is 3.5 (float); give words, a class"),
    (lambda _: MODEL.condition(None), "a condition is None"),
    (lambda _: inkdrop.save([1], "a.png"), "samples is [1] (list)"),
    (lambda _: inkdrop.ddim(inkdrop.VP(), _anything, torch.zeros(2, 3), GRID), "the denoiser gave"),
    (lambda _: _ran(lambda x, t: x[:1]), "the denoiser gave a Tensor of shape [1, 3]"),
    (lambda _: _ran(lambda x, t: x, x=torch.zeros(2, 3, dtype=torch.int64)), "x is int64 [2, 3]"),
    (lambda _: _ran(lambda x, t: x, x=torch.tensor(1.0)), "x is float32 []"),
    (lambda _: _ran(lambda x, t: x, noise=lambda t, s, k=0: torch.zeros(5)), "noise gave a Tensor"),
    (lambda _: _ran(lambda x, t: x, times=GRID.flip(0)), "must be a decreasing sequence"),
]
GRID = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)


def _ran(denoise: Any, x: Any = None, times: Any = GRID, noise: Any = None) -> None:
    x, eta = torch.zeros(2, 3) if x is None else x, 0.0 if noise is None else 1.0
    list(inkdrop.ddim(inkdrop.VP(), denoise, x, times, eta=eta, noise=noise))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_wrong_kinds_shapes_and_numbers(case: int, tmp_path: Path) -> None:
    call, wanted = CASES[case]
    with pytest.raises((TypeError, ValueError)) as error:
        found = call(tmp_path)
        list(found)
    assert wanted in str(error.value) and "\n" not in str(error.value)


def test_numbers_of_numpy_and_ranges_are_numbers_and_lists() -> None:
    steps = inkdrop.generate(MODEL, seed=np.int64(3), samples=range(2), sampling=TWO)
    assert next(iter(steps)).x.shape[0] == 2
    assert inkdrop.Sampling(guidance=2).guidance == 2  # a whole number is a number
    assert fits(np.float32(0.5), float) and not fits("0.5", float)


def test_one_condition_stands_for_all_samples() -> None:
    def last(conditions: Any) -> torch.Tensor:
        for step in inkdrop.generate(MODEL, conditions, samples=(0, 1), sampling=TWO):
            x = step.x
        return x

    assert torch.equal(last("a red cat"), last(["a red cat", "a red cat"]))
    assert not torch.equal(last("a red cat"), last(None))
    assert MODEL.condition("a red cat").batch == 1
    assert per_sample(3, 2) == [3, 3] and per_sample(None, 2) is None
    point = Between(Prompt("a"), Prompt("b"), 0.5)
    assert per_sample(point, 1) == [point] and per_sample(("a", 1), 2) == ["a", 1]


def test_what_is_wanted_in_words() -> None:
    assert said(int | None) == "a whole number or None"
    assert said(tuple[int, ...]) == "a tuple of whole numbers"
    assert said(Sequence[str]) == "a list of names"
    assert said(tuple[int, str]) == "(a whole number, text)"
    assert said(Callable[[int], int]) == "a function"
    assert said(Model | str) == "a Model, as open_model returns it; or text"


def test_a_checked_function_is_the_same_function() -> None:
    def double(x: int, *, times: int = 2) -> int:
        """Twice."""
        return x * times

    found = checked(double)
    assert found(3) == 6 and found(3, times=4) == 12
    assert found.__doc__ == "Twice." and inspect.signature(found) == inspect.signature(double)


@pytest.mark.parametrize(
    "code",
    [
        "from inkdrop import TrainConfig, train; train(1, 2)",
        "from inkdrop import train, TrainConfig; train(1, 2)",
        "import inkdrop, inkdrop.train.config; inkdrop.train(1, 2)",
        "import inkdrop.make.make as m; assert m.Made; import inkdrop; inkdrop.make(1)",
        "from inkdrop import make; import inkdrop.train.run; make(1)",
    ],
)
def test_train_and_make_are_functions_whatever_was_imported_before(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is 1 (int); give a " in done.stderr.splitlines()[-1], done.stderr


def test_a_public_function_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(inkdrop.sampler)) is inkdrop.sampler


def test_pictures_and_masks_of_other_shapes() -> None:
    painter = unet_model(latent=True, beside=3)
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="samples is empty"):
        inkdrop.inpaint(painter, Masked(torch.zeros(1, 3, 8, 8), mask), samples=())
    with pytest.raises(TypeError, match=r"masked is a Tensor of shape \[1, 1, 8, 8\]"):
        inkdrop.inpaint(painter, mask)


def test_training_data_that_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="give a Dataset, as open_data returns it"):
        inkdrop.train("photos", tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert tiny.data(tmp_path) and random_model(tmp_path)
