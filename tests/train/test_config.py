"""The values that a training is asked for: their options, their limits and how they are shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from inkdrop.data.options import DataOptions
from inkdrop.diffusion import losses
from inkdrop.train import config
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import TrainConfig
from inkdrop.train.evaluation import Evaluation
from inkdrop.train.request import TrainRequest


def test_the_names_of_losses_and_times_are_those_of_their_tables() -> None:
    assert config.LOSSES == losses.LOSSES
    assert tuple(losses.TIMES) == config.TIMES


@pytest.mark.parametrize(
    "cls", [DataOptions, DistillConfig, Evaluation, Latents, TrainConfig, TrainRequest]
)
def test_every_option_is_explained_and_none_says_its_default_twice(cls: type) -> None:
    options = [f for f in dataclasses.fields(cls) if f.metadata]
    assert options
    for field in options:
        help, unset = field.metadata["help"], field.metadata["unset"]
        assert help[0].isupper() and help.endswith(".") and "[" not in help, field.name
        assert (field.default is None) == bool(unset), field.name


@pytest.mark.parametrize("name", ["updates", "batch", "accumulate"])
@pytest.mark.parametrize("number", [0, -1, 10**12])
def test_counts_beyond_all_use_are_refused(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {number}: it must be"):
        TrainConfig(**{name: number})


def test_minutes_are_shared_by_an_autoencoder_that_is_trained_first() -> None:
    request = TrainRequest(TrainConfig(seed=3), minutes=40, save_every=7)
    plan = Latents()
    assert plan.coded(request).minutes == 10 and plan.denoised(request).minutes == 30
    assert plan.coded(request).config.seed == 3 and plan.coded(request).save_every == 7
    fixed = Latents(autoencoder_updates=5)
    assert fixed.coded(request).minutes is None and fixed.coded(request).config.updates == 5
    assert Latents(autoencoder=Path("run")).denoised(request) == request


def test_captions_are_read_if_there_are_any(tmp_path: Path) -> None:
    plain, captioned = tiny.data(tmp_path), tiny.captioned(tmp_path)
    assert not Latents().reads(plain) and Latents().reads(captioned)
    assert Latents(text=True).reads(plain) and not Latents(text=False).reads(captioned)
    assert Latents(text_encoder=Path("clip")).reads(plain)


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="factor is for an autoencoder that is trained here"):
        Latents(autoencoder=Path("run"), factor=4)
    with pytest.raises(ValueError, match="text is off"):
        Latents(text=False, text_encoder=Path("clip"))
    with pytest.raises(ValueError, match=r"there is no loss 'emd'.*Did you mean 'edm'"):
        TrainConfig(loss="emd")
    with pytest.raises(ValueError, match="judge_updates is 0"):
        Evaluation(judge_updates=0)
    with pytest.raises(ValueError, match="either a judge or a pretrained network"):
        Evaluation(judge=Path("a"), features=Path("b"))
    with pytest.raises(ValueError, match="minutes is 0"):
        TrainRequest(minutes=0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"seed": 2**64}, "seed is"), ({"seed": -(10**40)}, "seed is"),
        ({"betas": (0.9, 2.0)}, "betas are"), ({"betas": (float("nan"), 0.9)}, "betas are"),
        ({"weight_decay": -0.1}, "weight_decay is"), ({"weight_decay": float("nan")}, "weight_dec"),
        ({"lr": float("inf")}, "lr is"), ({"log_noise_mean": float("nan")}, "log_noise_mean is"),
    ],
)  # fmt: skip
def test_numbers_that_no_training_can_use(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainConfig(**asked)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: TrainConfig(batch=4 * 10**10), "batch"),
        (lambda: TrainConfig(updates=10**12), "updates"),
        (lambda: TrainConfig(accumulate=10**12), "accumulate"),
        (lambda: TrainConfig(warmup=10**12), "warmup"),
        (lambda: TrainRequest(minutes=1e300), "minutes"),
        (lambda: Evaluation(count=10**12), "count"),
        (lambda: Evaluation(batch=10**12), "batch"),
        (lambda: Evaluation(judge_updates=10**12), "judge_updates"),
    ],
)
def test_numbers_beyond_every_use_are_refused(make: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is [0-9.e+]+: it must be"):
        make()
