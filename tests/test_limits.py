"""The numbers that requests and trainings take: those at the edge pass, those beyond are named."""

from __future__ import annotations

from typing import Any

import pytest

from inkdrop.limits import CHARACTERS, FILES, SEEDS, check_seed, check_within
from inkdrop.tasks.added import Added
from inkdrop.tasks.request import Guide, Interpolate, Request, request_of
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import TrainConfig
from inkdrop.train.evaluation import Evaluation

FILE = Added("a.safetensors", "0" * 16)


def test_the_edges_of_a_range_are_in_it() -> None:
    for value in (None, 0, 1, 0.5):
        check_within("it", value, 0, 1)
    for value in (-1e-9, 1.1, float("nan"), float("inf"), 1e308):
        with pytest.raises(ValueError, match=r"it is .*: it must be from 0 to 1"):
            check_within("it", value, 0, 1)


@pytest.mark.parametrize("seed", [SEEDS[0] - 1, SEEDS[1] + 1, 2**127, -(10**43), 10**400])
def test_every_value_with_a_seed_refuses_one_that_is_too_large(seed: int) -> None:
    def walk(seed: int) -> Interpolate:
        return Interpolate(seeds=(0, seed))

    makers: list[Any] = [Request, TrainConfig, Evaluation]
    for made in (*(lambda seed, cls=cls: cls(seed=seed) for cls in makers), walk, check_seed):
        for edge in SEEDS:
            made(edge)
        with pytest.raises(ValueError, match=r"it must be from -2\^63 to 2\^64 - 1") as error:
            made(seed)
        assert len(str(error.value)) < 120


@pytest.mark.parametrize(
    "fields",
    [
        {"guidance": 1e39}, {"guidance": float("nan")}, {"picture_guidance": -1e308},
        {"eta": 1e39}, {"eta": -1}, {"rescale": 2}, {"threshold": float("nan")}, {"steps": 10**6},
        {"reuse": 0}, {"also": [["a", 1e39]]}, {"also": [["a", 1]] * (FILES + 1)},
        {"negative": "x" * (CHARACTERS + 1)}, {"prompt": "x" * (CHARACTERS + 1)},
        {"count": 10**7}, {"batch": 0}, {"batch": 10**7}, {"scale": 65}, {"columns": -1},
        {"loras": [{"path": "a", "sha256": "", "weight": 1e300}]},
        {"loras": [{"path": "a", "sha256": ""}] * (FILES + 1)},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_beyond_every_use(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields)).rstrip('s')[:4]}|LoRA"):
        request_of("generate", fields)


def test_numbers_of_tasks() -> None:
    for frames in (1, 1001):
        with pytest.raises(ValueError, match=f"frames is {frames}: it must be from 2 to 1,000"):
            Interpolate(seeds=(1, 2), frames=frames)
    with pytest.raises(ValueError, match=r"one of the prompts has 100,001 characters"):
        Interpolate(prompts=("a", "x" * (CHARACTERS + 1)))
    with pytest.raises(ValueError, match=r"the strength of the control network a\.safetensors"):
        Guide(Added("a.safetensors", "", 1e39), FILE)
    Sampling(guidance=-1000, eta=1, rescale=1, steps=10_000)
