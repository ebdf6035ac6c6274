"""A request as one value: written out flat and read again; bad values refused in words."""

from __future__ import annotations

import dataclasses
import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inkdrop.conditions import Between, Prompt
from inkdrop.limits import SCALE, SEEDS, STEPS
from inkdrop.media.parameters import from_parameters
from inkdrop.tasks.added import Added, AddedWord
from inkdrop.tasks.request import (
    FRAMES,
    LARGEST,
    LAST,
    TASKS,
    Edit,
    Generate,
    Guide,
    Inpaint,
    Interpolate,
    Invert,
    Request,
    check_task,
    request_of,
    settings_of,
    task_name,
)
from inkdrop.tasks.sampling import RULES, Sampling

FILE = Added("a.png", "0123456789abcdef")

numbers, shares = st.floats(-SCALE, SCALE), st.floats(0, 1)
counts, seeds = st.integers(1, 10**6), st.integers(*SEEDS)
classes = st.text(max_size=8) | st.integers()
prompts = st.builds(Prompt, st.text(max_size=8), st.none() | classes)
conditions = classes | prompts | st.builds(Between, prompts, prompts, numbers)
files = st.builds(Added, st.text(max_size=8), st.text("0123456789abcdef", max_size=16), numbers)
words = st.builds(
    AddedWord, st.text(max_size=8), st.text("0123456789abcdef", max_size=16), word=st.text()
)
sides = st.integers(1, LARGEST)
pairs = st.tuples

tasks: dict[str, st.SearchStrategy[Any]] = {
    "generate": st.builds(Generate),
    "inpaint": st.builds(Inpaint, files, st.none() | files, st.integers(0, 99)),
    "edit": st.builds(Edit, files),
    "interpolate": st.builds(
        lambda way, frames, depth: Interpolate(**way, frames=frames, depth=depth),
        st.fixed_dictionaries({"prompts": pairs(st.text(max_size=8), st.text(max_size=8))})
        | st.fixed_dictionaries({"seeds": pairs(seeds, seeds)})
        | st.fixed_dictionaries({"pictures": pairs(files, files)}),
        st.integers(2, FRAMES),
        shares,
    ),
    "invert": st.builds(Invert, st.lists(files, max_size=3).map(tuple), st.booleans()),
}

# Of several ways to guide a request asks for one.
ways: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"rule": st.sampled_from(RULES)}),
    st.fixed_dictionaries({"rescale": shares}),
    st.fixed_dictionaries({"picture_guidance": numbers}),
    st.fixed_dictionaries({"weak": st.text(max_size=8)}),
    st.fixed_dictionaries({"also": st.lists(pairs(conditions, numbers), max_size=2).map(tuple)}),
)
HOWS: dict[str, st.SearchStrategy[Any]] = {
    "steps": st.integers(1, STEPS), "sampler": st.text(max_size=8), "grid": st.text(max_size=8),
    "eta": shares, "tolerance": numbers, "guidance": numbers,
    "interval": pairs(numbers, numbers), "negative": conditions, "threshold": shares,
    "two_calls": st.booleans(), "reuse": st.integers(1, STEPS),
}  # fmt: skip
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "model": st.text(max_size=8), "weights": st.text(max_size=8), "prompt": st.text(max_size=8),
    "labels": st.lists(classes, max_size=3).map(tuple), "seed": seeds,
    "first": st.integers(0, LAST), "weak_weights": st.text(max_size=8),
    "clip_skip": st.integers(1, 100),
    "count": counts, "batch": counts, "columns": counts, "scale": st.integers(1, 64),
    "size": sides | pairs(sides, sides), "loras": st.lists(files, max_size=2).map(tuple),
    "embeddings": st.lists(words, max_size=2).map(tuple),
    "vae": st.none() | files,
    "controls": st.lists(st.builds(Guide, files, files), max_size=2).map(tuple),
    "fast": st.booleans(), "lora_dir": st.text(max_size=8),
}  # fmt: skip
hows = st.fixed_dictionaries({}, optional=HOWS)
plain = st.fixed_dictionaries({}, optional=PLAIN)
engines = st.just({"half": True}) | st.fixed_dictionaries(
    {}, optional={"engine": st.text(max_size=8), "precision": st.text(max_size=8)}
)


def requests(task: str) -> st.SearchStrategy[Request]:
    def made(what: Any, way: Any, how: Any, other: Any, engine: Any) -> Request:
        weak = {"weak": way.pop("weak")} if "weak" in way else {}
        sampling = Sampling(**how, **way)
        return Request(**other, **engine, **weak, sampling=sampling, task=what)

    return st.builds(made, tasks[task], ways, hows, plain, engines)


def test_every_task_and_every_field_is_among_what_is_asked_here() -> None:
    assert set(tasks) == set(TASKS)
    asked = {"weak", "half", "engine", "precision", "sampling", "task"}
    asked |= set(PLAIN)
    assert asked == {each.name for each in dataclasses.fields(Request)}
    asked = {"rule", "rescale", "picture_guidance", "also"}
    asked |= set(HOWS)
    assert asked == {each.name for each in dataclasses.fields(Sampling)}


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_out_is_read_again(task: str, data: st.DataObject) -> None:
    request = data.draw(requests(task))
    flat = settings_of(request)
    assert flat["task"] == task == task_name(request)
    assert request_of(task, json.loads(json.dumps(flat))) == request
    # What is not known is left aside.
    foreign = {"Model hash": "abc", "width": 512, "sampling": {"steps": 3}, "hires": [1]}
    assert request_of(task, {**foreign, **flat}) == request


def test_the_fields_stand_side_by_side() -> None:
    request = Request(prompt="a", sampling=Sampling(steps=3), task=Inpaint(FILE, seam=2))
    flat = settings_of(request)
    assert (flat["prompt"], flat["steps"], flat["seam"]) == ("a", 3, 2)
    assert flat["picture"] == {"path": "a.png", "sha256": "0123456789abcdef", "weight": 1.0}
    assert "sampling" not in flat


@pytest.mark.parametrize("task", TASKS)
def test_no_name_is_a_field_of_two(task: str) -> None:
    names = [each.name for cls in (Request, Sampling, TASKS[task]) for each in _fields(cls)]
    assert len(names) == len(set(names))


def test_changes_count_before_settings_and_none_changes_nothing() -> None:
    old = {"prompt": "a", "steps": 3, "seed": 1}
    new = request_of("generate", old, {"steps": 9, "seed": 0, "prompt": None, "fast": False})
    assert (new.prompt, new.sampling.steps, new.seed, new.fast) == ("a", 9, 0, False)
    assert old == {"prompt": "a", "steps": 3, "seed": 1}


def test_settings_of_another_program() -> None:
    text = (
        "a boat\nNegative prompt: fog\n"
        "Steps: 12, Sampler: ddim, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: boats,"
        " Clip skip: 2, Denoising strength: 0.7"
    )
    request = request_of("generate", from_parameters(text))
    assert request == Request(
        model="boats",
        prompt="a boat",
        seed=42,
        sampling=Sampling(steps=12, sampler="ddim", guidance=7.5, negative="fog"),
    )


NEEDED: dict[str, dict[str, Any]] = {
    "generate": {},
    "inpaint": {"picture": dataclasses.asdict(FILE)},
    "edit": {"picture": dataclasses.asdict(FILE)},
    "interpolate": {"seeds": [1, 2]},
    "invert": {"pictures": [dataclasses.asdict(FILE)]},
}


@pytest.mark.parametrize(
    ("task", "name", "value"),
    [
        *(("generate", name, 0) for name in ("count", "batch", "columns", "scale", "reuse")),
        ("generate", "count", -3),
        ("generate", "count", "many"),
        ("generate", "seed", 1.5),
        ("generate", "seed", None),
        ("generate", "size", 0),
        ("generate", "size", LARGEST + 1),
        ("generate", "size", [64, LARGEST + 1]),
        ("generate", "size", [64, 0]),
        ("generate", "size", [1, 2, 3]),
        ("generate", "size", "large"),
        ("generate", "labels", "cat"),
        ("generate", "prompt", 3),
        ("generate", "fast", "perhaps"),
        ("generate", "loras", [{"path": "a"}]),
        ("generate", "loras", [{"path": "a", "sha256": "0", "wieght": 1}]),
        ("generate", "steps", "many"),
        ("generate", "guidance", "strong"),
        ("generate", "guidance", float("nan")),
        ("generate", "guidance", float("inf")),
        ("edit", "picture_guidance", float("inf")),
        ("generate", "rule", "cgf"),
        ("generate", "interval", [1.0]),
        ("generate", "interval", ["low", "high"]),
        ("generate", "also", [["a cat"]]),
        ("generate", "also", [["a cat", "strong"]]),
        ("generate", "negative", {"text": "a", "stlye": "b"}),
        ("inpaint", "seam", -1),
        ("inpaint", "seam", "wide"),
        ("inpaint", "picture", "a.png"),
        ("inpaint", "picture", None),
        ("edit", "picture", {"path": "a.png"}),
        ("interpolate", "frames", "many"),
        ("interpolate", "seeds", [1]),
        ("interpolate", "seeds", [1, 2, 3]),
        ("invert", "pictures", 7),
    ],
)
def test_bad_values_are_one_sentence_that_names_them(task: str, name: str, value: object) -> None:
    request_of(task, NEEDED[task])
    with pytest.raises(ValueError, match=name) as error:
        request_of(task, {**NEEDED[task], name: value})
    said = str(error.value)
    assert "\n" not in said, said
    assert len(said) < 400


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**30), "nan", "\n", "1e999"])
    | numbers
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["path", "sha256", "text", "label", "x"]), inner)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_value_is_taken_or_refused_in_one_sentence(task: str, data: st.DataObject) -> None:
    names = [each.name for cls in (Request, Sampling, TASKS[task]) for each in _fields(cls)]
    flat = {**NEEDED[task], data.draw(st.sampled_from(names)): data.draw(anything)}
    said = ""
    try:
        request = request_of(task, flat)
        assert request_of(task, settings_of(request)) == request
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


def _fields(cls: type) -> list[dataclasses.Field[Any]]:
    return [each for each in dataclasses.fields(cls) if each.name not in ("sampling", "task")]


@pytest.mark.parametrize("given_ways", list(product([False, True], repeat=3)), ids=str)
def test_a_walk_goes_exactly_one_way(given_ways: tuple[bool, bool, bool]) -> None:
    whole = {"prompts": ("a", "b"), "seeds": (0, 0), "pictures": (FILE, FILE)}
    asked = {name: value for (name, value), on in zip(whole.items(), given_ways, strict=True) if on}
    if sum(given_ways) == 1:
        assert dataclasses.asdict(Interpolate(**asked))[next(iter(asked))] is not None  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=r"--prompts.*--seeds.*--pictures"):
        Interpolate(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [{"engine": "packed"}, {"precision": "bfloat16"}, {"engine": "openvino", "precision": "int8"}],
)
def test_half_leaves_no_choice_of_an_engine(asked: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="half"):
        Request(half=True, **asked)  # type: ignore[arg-type]
    assert Request(half=True, engine="eager", precision="float32").half


def test_a_weak_model_beside_another_way_to_guide() -> None:
    for way in ({"rule": "apg"}, {"rescale": 0.5}, {"also": (("a", 1.0),)}):
        with pytest.raises(ValueError, match="two ways of guidance"):
            Request(weak="a", sampling=Sampling(**way))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="two ways of guidance"):
            request_of("generate", {"weak": "a", **way})


def test_a_strength_of_control_is_a_number() -> None:
    for weight in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"strength of the control network a\.png is"):
            Guide(dataclasses.replace(FILE, weight=weight), FILE)


@pytest.mark.parametrize("task", TASKS)
def test_settings_belong_to_one_task(task: str) -> None:
    for other in TASKS:
        if other == task:
            check_task({"task": other}, task, "a.png")
            continue
        with pytest.raises(ValueError, match=rf"inkdrop {other} --like a\.png"):
            check_task({"task": other}, task, "a.png")
    with pytest.raises(ValueError, match=r"'dream'.*update inkdrop"):
        check_task({"task": "dream"}, task, "a.png")
    for junk in (["generate"], {"generate": 1}, None, 5):
        with pytest.raises(ValueError, match="update inkdrop"):
            check_task({"task": junk}, task, "a.png")
    with pytest.raises(ValueError, match="task"):
        request_of("dream", {})


def test_pictures_of_other_programs_are_generated() -> None:
    check_task({"prompt": "a"}, "generate", "a.png")
    with pytest.raises(ValueError, match=r"inkdrop generate --like a\.png"):
        check_task({"prompt": "a"}, "edit", "a.png")


def test_another_way_to_walk_takes_the_place_of_the_one_in_a_file() -> None:
    old = settings_of(Request(task=Interpolate(prompts=("a cat", "a dog"), frames=5)))
    walk = request_of("interpolate", old, {"seeds": (1, 2)}).task
    assert walk == Interpolate(seeds=(1, 2), frames=5)
