"""Options made from fields: their types, defaults in --help, repeats, flags and second names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import click
import pytest
from click.testing import CliRunner

from inkdrop.cli.options import all_of, given, options_of, out_option
from inkdrop.config import option, parse
from inkdrop.tasks.request import TASKS, Generate, Interpolate, Invert, Request, request_of
from inkdrop.tasks.sampling import Sampling

Named = str | int


@dataclass(frozen=True)
class Soup:
    """One field of every type that there is."""

    hidden: int = 3
    bowls: int = option(2, "How many bowls.", names=("-b", "--dishes"))
    salt: float = option(0.5, "Grams of salt.")
    heat: float | None = option(None, "Degrees.", unset="the cook's own")
    name: str | None = option(None, "What it is called.")
    served_hot: bool = option(False, "Serve it hot.", names=("-H",))
    spread: tuple[float, float] | None = option(
        None, "From one to the other.", metavar="LOW HIGH", unset="all of it"
    )
    guests: tuple[int, str] = option((4, "few"), "How many, and which.")
    herbs: tuple[str, ...] = option((), "A herb.", flag="--herb", unset="none")
    parts: tuple[tuple[Named, float], ...] = option((), "A part and its share.")
    size: int | tuple[int, int] | None = option(None, "N or HxW.", metavar="N|HxW")


def cooked(*words: str, **how: Any) -> dict[str, Any]:
    """What a command with the options of Soup is called with."""
    found: dict[str, Any] = {}

    @click.command()
    @options_of(Soup, **how)
    def cook(**options: Any) -> None:
        found.update(options)

    cook(list(words), standalone_mode=False)
    return found


def helped(**how: Any) -> dict[str, str]:
    """The help of each option by its first name, in order, in one line."""

    @click.command()
    @options_of(Soup, **how)
    def cook(**options: Any) -> None:
        """Cook."""

    context = click.Context(cook)
    records = [each.get_help_record(context) for each in cook.params]
    return {name.split(" ")[0].rstrip(","): text for name, text in filter(None, records)}


def test_what_is_not_given_is_none_and_left_out() -> None:
    found = cooked()
    assert found.keys() == {each.name for each in dataclasses.fields(Soup)} - {"hidden"}
    assert all(value in (None, ()) for value in found.values())
    assert given(found) == {}
    assert parse(Soup, given(found), "") == Soup()
    # What is given counts, whatever it is.
    kept = {"a": 0, "b": 0.0, "c": False, "d": "", "e": (0,)}
    assert given({**kept, "f": None, "g": ()}) == kept


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--bowls", "0"], "bowls", 0),
        (["-b", "7"], "bowls", 7),
        (["--dishes", "7"], "bowls", 7),
        (["--salt", "2"], "salt", 2.0),
        (["--heat", "-3.5"], "heat", -3.5),
        (["--name", ""], "name", ""),
        (["--served-hot"], "served_hot", True),
        (["--no-served-hot"], "served_hot", False),
        (["-H"], "served_hot", True),
        (["--spread", "1", "2.5"], "spread", (1.0, 2.5)),
        (["--guests", "2", "all"], "guests", (2, "all")),
        (["--herb", "dill"], "herbs", ("dill",)),
        (["--herb", "dill", "--herb", "sage"], "herbs", ("dill", "sage")),
        (["--parts", "leek", "1", "--parts", "3", "-0.5"], "parts", (("leek", 1.0), ("3", -0.5))),
        (["--size", "64x96"], "size", "64x96"),
    ],
)
def test_values_are_of_the_fields_types(words: list[str], field: str, value: object) -> None:
    found = given(cooked(*words))
    assert found == {field: value} and type(found[field]) is type(value)
    if field != "size":  # whose text is for the command to read
        assert getattr(parse(Soup, found, ""), field) == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bowls", "two"], "--bowls"),
        (["--bowls", "1.5"], "--bowls"),
        (["--salt", "much"], "--salt"),
        (["--spread", "1"], "--spread"),
        (["--spread", "low", "high"], "--spread"),
        (["--parts", "leek", "some"], "--parts"),
        (["--herbs", "dill"], "--herbs"),
        (["--hidden", "1"], "--hidden"),
        (["--served-hot", "yes"], "yes"),
    ],
)
def test_values_that_a_field_does_not_take(words: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as error:
        cooked(*words)
    assert said in error.value.format_message()


def test_help_shows_defaults_or_what_stands_for_them() -> None:
    said = helped()
    for name, shown in (
        ("-b", "[2]"), ("--salt", "[0.5]"), ("--heat", "[the cook's own]"),
        ("--spread", "[all of it]"), ("--guests", "[4 few]"), ("--herb", "[none]"),
    ):  # fmt: skip
        assert shown in said[name], said[name]
    for name in ("--name", "-H", "--parts"):
        assert "[" not in said[name]
    for name, text in said.items():
        assert text.endswith(".") and ("(may repeat)" in text) == (name in ("--herb", "--parts"))


def test_help_lists_the_fields_in_their_order_with_all_names() -> None:
    @click.command()
    @options_of(Soup)
    def cook(**options: Any) -> None:
        """Cook."""

    lines = CliRunner().invoke(cook, ["--help"]).output
    names = ("bowls", "salt", "heat", "name", "served-hot", "spread", "guests", "herb", "parts")
    places = [lines.index(f"--{name}") for name in names]
    assert places == sorted(places)
    for shown in ("-b, --bowls, --dishes", "--spread LOW HIGH", "--size N|HxW", "--no-served-hot"):
        assert shown in lines


def test_a_command_may_have_other_defaults_and_fewer_options() -> None:
    said = helped(defaults={"bowls": 12, "heat": 80.0}, without=("salt",))
    assert "[12]" in said["-b"] and "[80]" in said["--heat"] and "--salt" not in said
    assert cooked(defaults={"bowls": 12})["bowls"] is None
    assert cooked(only=("name", "salt"), without=("salt",)).keys() == {"name"}
    assert cooked(only=()) == {}


def test_options_stand_together_in_their_order() -> None:
    @click.command()
    @all_of(click.option("--one"), options_of(Soup, only=("name",)), out_option("a.png"))
    def cook(**options: Any) -> None:
        """Cook."""

    assert [each.name for each in cook.params] == ["one", "name", "out"]
    record = cook.params[2].get_help_record(click.Context(cook))
    assert record is not None and "a.png" in record[1] and record[0].startswith("-o, --out")


WORDS: dict[type, dict[str, tuple[list[str], Any]]] = {
    Sampling: {
        "steps": (["--num-inference-steps", "7"], 7),
        "sampler": (["--sampler", "ddim"], "ddim"),
        "grid": (["--grid", "karras:7"], "karras:7"),
        "eta": (["--eta", "0"], 0.0),
        "tolerance": (["--tolerance", "1e-3"], 1e-3),
        "guidance": (["--cfg", "3"], 3.0),
        "rule": (["--rule", "apg"], "apg"),
        "rescale": (["--rescale", "0.7"], 0.7),
        "interval": (["--interval", "0.5", "2"], (0.5, 2.0)),
        "negative": (["--negative-prompt", "fog"], "fog"),
        "also": (["--also", "cat", "2", "--also", "3", "-1"], (("cat", 2.0), ("3", -1.0))),
        "picture_guidance": (["--picture-guidance", "2"], 2.0),
        "threshold": (["--threshold", "0.9"], 0.9),
        "two_calls": (["--two-calls"], True),
        "reuse": (["--reuse", "3"], 3),
    },
    Request: {
        "model": (["--model", "runs/a"], "runs/a"),
        "prompt": (["--prompt", "a cat"], "a cat"),
        "labels": (["--label", "flat", "--style", "7"], ("flat", "7")),
        "seed": (["--seed", "-3"], -3),
        "count": (["-n", "5"], 5),
        "first": (["--first", "3"], 3),
        "batch": (["--batch", "2"], 2),
        "columns": (["--columns", "2"], 2),
        "scale": (["--scale", "2"], 2),
        "clip_skip": (["--clip-skip", "2"], 2),
        "weak": (["--weak", "old"], "old"),
        "fast": (["--fast"], True),
        "half": (["--half"], True),
        "lora_dir": (["--lora-dir", "loras"], "loras"),
        "engine": (["--engine", "packed"], "packed"),
        "precision": (["--precision", "int8"], "int8"),
    },
    Interpolate: {
        "prompts": (["--prompts", "a cat", "a dog"], ("a cat", "a dog")),
        "seeds": (["--seeds", "3", "-7"], (3, -7)),
        "frames": (["--frames", "4"], 4),
        "depth": (["--depth", "1"], 1.0),
    },
    Invert: {"exact": (["--exact"], True)},
    TASKS["inpaint"]: {
        "seam": (["--seam", "4"], 4),
        "nearest_mask": (["--nearest-mask"], True),
    },
}
# Files and sizes are read by the command.
BY_HAND = {"size", "loras", "embeddings", "vae", "pictures"}


@pytest.mark.parametrize("cls", [Request, Sampling, *TASKS.values()])
def test_every_option_of_what_is_made_is_tried_here(cls: type) -> None:
    declared = {each.name for each in dataclasses.fields(cls) if "help" in each.metadata}
    assert declared - BY_HAND == set(WORDS.get(cls, {}))


@pytest.mark.parametrize(
    ("cls", "field"), [(cls, field) for cls, fields in WORDS.items() for field in fields]
)
def test_words_become_the_fields_of_what_is_made(cls: type, field: str) -> None:
    words, value = WORDS[cls][field]
    found: dict[str, Any] = {}

    @click.command()
    @options_of(cls)
    def command(**options: Any) -> None:
        found.update(given(options))

    command(words, standalone_mode=False)
    assert found == {field: value}
    if cls in (Request, Sampling):
        request = request_of("generate", {}, found)
        assert request == request_of("generate", {field: value})
        assert getattr(request if cls is Request else request.sampling, field) == value
        assert isinstance(request.task, Generate)
