"""Configurations come back as they went, and whatever is wrong is said in one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from inkdrop.config import choose, dump, nearest, parse


@dataclass(frozen=True)
class Inner:
    width: int = 3


@dataclass(frozen=True)
class Settings:
    rate: float
    steps: int = 10
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    name: str | None = None
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: at least 1")


def test_a_dataclass_goes_through_json_and_back() -> None:
    value = Settings(0.5, 3, "b", (4, 5, 6), "x", Inner(7))
    assert parse(Settings, json.loads(json.dumps(dump(value))), "here") == value
    assert parse(Settings, {"rate": 1}, "here") == Settings(1.0)


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"run.json has an unknown key 'step'. Did you mean 'steps'"
    ):
        parse(Settings, {"rate": 1, "step": 3}, "run.json")
    with pytest.raises(ValueError, match=r"unknown key 'zzz'. Known keys: rate, steps"):
        parse(Settings, {"zzz": 3}, "run.json")


def test_an_unknown_key_inside_is_refused_too() -> None:
    with pytest.raises(ValueError, match=r"inner.*wdth"):
        parse(Settings, {"rate": 1, "inner": {"wdth": 3}}, "run.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "'rate'"),
        ({"rate": "fast"}, "'rate' is 'fast'"),
        ({"rate": 1, "steps": 2.5}, "'steps' is 2.5"),
        ({"rate": 1, "kind": "c"}, "'kind' is 'c'.*'a' or 'b'"),
        ({"rate": 1, "sizes": [1, "x"]}, "'sizes.1' is 'x'"),
        ({"rate": 1, "steps": 0}, "steps is 0: at least 1"),
    ],
)
def test_a_bad_value_is_named_with_its_place(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse(Settings, data, "run.json")
    assert str(error.value).startswith("run.json")
    assert "\n" not in str(error.value)


def test_what_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match=r"run.json must be key-value pairs, not list"):
        parse(Settings, [1, 2], "run.json")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"int is not a dataclass"):
        parse(int, {}, "run.json")


def test_the_nearest_name_is_offered_only_if_it_is_near() -> None:
    assert nearest("cosin", ["linear", "cosine"]) == " Did you mean 'cosine'?"
    assert nearest("quux", ["linear", "cosine"]) == ""


def test_choose_finds_or_explains() -> None:
    table = {"linear": 1, "cosine": 2}
    assert choose("schedule", "cosine", table) == 2
    with pytest.raises(
        ValueError, match=r"no schedule 'linar'; choose from cosine, linear. Did you"
    ):
        choose("schedule", "linar", table)


@dataclass(frozen=True)
class Walked:
    size: int | tuple[int, int] = 1
    pairs: tuple[tuple[str | int, float], ...] = ()


def test_a_place_names_no_types_and_a_long_value_is_cut() -> None:
    with pytest.raises(ValueError, match=r"^'size' is 'x'"):
        parse(Walked, {"size": "x"}, "")
    with pytest.raises(ValueError, match=r"^'pairs\.1\.0' is \[\]"):
        parse(Walked, {"pairs": [["a", 1], [[], 1]]}, "")
    with pytest.raises(ValueError, match=r"999 \.\.\.") as error:
        parse(Walked, {"size": "9" * 5000 + "x"}, "")
    assert len(str(error.value)) < 250
