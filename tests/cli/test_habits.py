"""Habits of other programs: second names that work, and sentences that point the right way."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from console import inkdrop, left
from models import random_model

from inkdrop.cli import habits
from inkdrop.cli.table import TABLE, commands
from inkdrop.media.settings import read_settings


def long(name: str) -> set[str]:
    """The long options of a command, without dashes before them."""
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    found = (option for each in command.params for option in (*each.opts, *each.secondary_opts))
    return {option[2:] for option in found if option.startswith("--")}


OPTIONS = {name: long(name) for name in TABLE}
EVERY = set().union(*OPTIONS.values()) | {"help", "version"}


def test_second_names_are_of_options_that_there_are() -> None:
    # Options of files that a later version brings may be named before them.
    coming = {"vae", "clip-skip", "caption", "image"}
    assert set(habits.SAME.values()) <= EVERY | coming
    training = OPTIONS["train"] | OPTIONS["distill"]
    assert set(habits.SAME_IN_TRAINING.values()) <= training | coming
    for name in TABLE:
        for other, ours in habits.same(name, OPTIONS[name]).items():
            assert other not in OPTIONS[name] and ours in OPTIONS[name]


def test_sentences_tell_of_options_that_there_are() -> None:
    tables = habits.ELSEWHERE, habits.ELSEWHERE_IN_MAKING, habits.ELSEWHERE_IN_TRAINING
    for sentence in {text for table in (*tables, habits.COMMANDS) for text in table.values()}:
        told = {name.rstrip("-") for name in re.findall(r"--([a-z][a-z-]*)", sentence)}
        assert told <= EVERY | {"nproc-per-node"}, sentence
        for name in re.findall(r"inkdrop ([a-z]\w+)", sentence):
            assert name in TABLE, sentence
    assert not habits.COMMANDS.keys() & TABLE.keys()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random_model(tmp_path).save("m")


def test_second_names_and_underscores_work(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[object] = ["--num_inference_steps", 2, "--cfg_scale", 1.5, "--sampler_name", "DDIM"]
    words += ["--n_samples", 2, "--manual-seed", 5, "--output", "a.png", "--class-label", "1"]
    inkdrop(monkeypatch, "sample", "m", *words)
    told = read_settings("a.png")
    asked = {"steps": 2, "guidance": 1.5, "sampler": "DDIM", "count": 2, "seed": 5, "labels": ["1"]}
    assert told.items() >= asked.items()


def test_width_height_and_a_prompt_by_its_option(
    here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heart = ["generate", "--prompt", "a red heart", "--steps", 2, "-W", 32, "-H", 32]
    inkdrop(monkeypatch, *heart, "-o", "a.png")
    told = read_settings("a.png")
    assert (told["prompt"], told["size"]) == ("a red heart", 32)
    for words, said in (
        (["generate", "a", "--width", 64], "give both --width and --height"),
        (["generate", "a", "-W", 64, "-H", 64, "--size", 64], "or --size HxW alone"),
        (["generate", "a", "-p", "b"], "the prompt is given twice"),
        (["generate", "a", "--width", 64, "--height", 32], "size is 32x64, but this model only"),
    ):
        assert said in left(monkeypatch, capsys, *words), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--model", "m"], "the model is the first argument, as in: inkdrop sample"),
        (["generate", "a", "--batch-size", "4"], "--count is how many samples are made"),
        (["generate", "a", "--strength", "0.5"], "`inkdrop edit` and `inkdrop inpaint` change one"),
        (["generate", "a", "--init_img", "a.png"], "starting from a picture is not here yet"),
        (["generate", "a", "--hires"], "upscaling is not here yet"),
        (["generate", "a", "--scheduler", "x"], "say --sampler for an algorithm"),
        (["generate", "a", "--outdir", "x"], "-o names a file"),
        (["generate", "a", "--scale", "7.5"], "the strength of guidance is --guidance"),
        (["generate", "a", "--n_iter", "2"], "--count is how many samples are made"),
        (["generate", "a", "-steps", "2"], "with two dashes it is --steps"),
        (["generate", "a", "-cfg", "2"], "with two dashes it is --cfg"),
        (["generate", "a", "--gidance", "2"], "did you mean --guidance?"),
        (["generate", "a", "red", "heart"], "put a prompt or a path with spaces in quotes"),
        (["train", "my", "photos"], "the argument 'photos' is too many; put a prompt or a path"),
        (["samplers", "--model", "m"], "`inkdrop samplers --help` lists them"),
        (["compare", "m", "--prompt", "a"], "`inkdrop compare --help` lists them"),
        (["generate", "a", "--tiling"], "pictures whose edges meet are not available here"),
        (["generate", "a", "--subseed", "3"], "`inkdrop interpolate --seeds 3 7`"),
        (["generate", "--prompt", "--steps", "2"], "--prompt takes a value, but --steps follows"),
        (["generate", "a", "-o", "-n", "2"], "-o takes a value, but -n follows"),
        (["generate", "a", "--also", "b", "--cfg_scale", "2"], "--also takes 2 values, but --guid"),
        (["interpolate", "m", "--seeds", "3", "--frames", "4"], "--seeds takes 2 values, but --fr"),
        (["evaluate", "m", "--samples", "x"], "'--count': 'x' is not a valid integer"),
        (["train", "x", "--steps", "x"], "'--updates': 'x' is not a valid integer"),
        (["generate", "a", "--zzz"], "`inkdrop generate --help` lists them"),
        (["inpaint", "--prompt", "a"], "the prompt is an argument"),
        (["train", "x", "--num_train_epochs", "3"], "counted in updates of --batch samples"),
        (["train", "x", "--train_batch_size", "x"], "'--batch': 'x' is not a valid integer"),
        (["train", "x", "--max_train_steps", "x"], "'--updates': 'x' is not a valid integer"),
        (["train", "x", "--learning-rate", "x"], "'--lr': 'x' is not a valid float"),
        (["train", "x", "--mixed_precision", "fp16"], "say --precision bfloat16"),
        (["train", "x", "--gradient_accumulation_steps", "4"], "--batch is the whole batch"),
        (["train", "x", "--resume_from_checkpoint", "latest"], "run the same command again"),
        (["train", "--train_data_dir", "x"], "the data is the first argument"),
        (["train", "x", "--snr_gamma", "5"], "say --loss min_snr"),
        (["train", "x", "--rank", "8"], "training a LoRA is not here yet"),
        (["explain", "m", "--batch_size", "3"], "`inkdrop explain --help` lists them"),
        (["txt2img", "a"], 'use: inkdrop generate "a red heart"'),
        (["img2img"], "starting from a picture is not here yet"),
        (["train_lora"], "training a LoRA is not here yet"),
        (["eval"], "use: inkdrop evaluate RUN"),
        (["list"], "`inkdrop info NAME` describes a model"),
        (["webui"], "a page and a server are not here yet"),
        (["resume"], "run the same `inkdrop train` command again"),
        (["help"], "inkdrop COMMAND --help"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_other_words_are_pointed_the_right_way(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in left(monkeypatch, capsys, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("samplers", "engines")])
def test_a_command_alone_says_what_is_missing_with_an_example(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "data":
        name = "data check"
    message = left(monkeypatch, capsys, *name.split())
    assert re.search(rf"is missing.*inkdrop {name} |^inkdrop: give ", message)


@pytest.mark.parametrize("words", [[], ["data"]], ids=["inkdrop", "inkdrop data"])
def test_a_group_alone_shows_its_help(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        inkdrop(monkeypatch, *words)
    lines = capsys.readouterr().err.splitlines()
    assert error.value.code == 2
    assert lines[0].startswith("Usage: ") and {"Commands:", "Make:"} & set(lines)
