"""Weights and JSON in files: what goes in comes out, and what is broken is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inkdrop.weights import (
    MOST_JSON,
    check_same,
    largest,
    listed,
    load_weights,
    map_weights,
    on_meta,
    put_weights,
    read_json,
    read_weights,
    save_weights,
    widest,
)


def network() -> nn.Module:
    """Layers in layers, a buffer, and a parameter without a layer."""
    made = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Conv1d(2, 2, 3), nn.GroupNorm(1, 2)))
    made[1].register_buffer("shift", torch.randn(2))
    made.register_parameter("scale", nn.Parameter(torch.rand(())))
    return made


def equal(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_saved_weights_are_read_again_by_us_and_by_others(tmp_path: Path) -> None:
    path, made = tmp_path / "a.safetensors", network()
    save_weights(made, path)
    ours, theirs = read_weights(path), load_numpy(path)
    state = made.state_dict()
    assert ours.keys() == theirs.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(ours[name], value) and np.array_equal(theirs[name], value.numpy())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_network_is_filled_or_given_the_files_own(tmp_path: Path) -> None:
    path, made = tmp_path / "a.safetensors", network()
    save_weights(made, path)
    filled = network()
    assert not equal(filled, made)
    load_weights(filled, path)
    assert equal(filled, made) and filled.training
    with on_meta():
        empty = network()
    assert all(value.is_meta for value in empty.state_dict().values())
    mapped = map_weights(empty, path, None)
    assert mapped is empty and equal(mapped, made)
    assert not mapped.training and not any(p.requires_grad for p in mapped.parameters())
    x = torch.randn(5, 3)
    assert torch.equal(mapped[0](x), made[0](x))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool]
)
def test_every_type_is_read_as_it_is_stored(tmp_path: Path, dtype: torch.dtype) -> None:
    values = (100 * torch.randn(3, 5)).to(dtype)
    odd = {
        "b": torch.ones(1, dtype=torch.int8),
        "a": values,
        "none": torch.empty(0, 4, dtype=dtype),
    }
    save_file(odd, tmp_path / "a.safetensors", {"note": "is no weight"})
    found = read_weights(tmp_path / "a.safetensors")
    assert found.keys() == odd.keys()
    for name, value in odd.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value)


def test_one_weight_by_two_names_is_saved_once(tmp_path: Path) -> None:
    made = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    made[1].weight = made[0].weight
    save_weights(made, tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors").keys() == {"0.weight"}
    # It is read again as one weight, in every type.
    for dtype in (torch.float32, torch.float64, None):
        with on_meta():
            other = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
            other[1].weight = other[0].weight
        map_weights(other, tmp_path / "a.safetensors", dtype)
        assert other[1].weight is other[0].weight
        assert torch.equal(other[0].weight.float(), made[0].weight)
    # Equal numbers in two weights are two weights.
    made[1].weight = nn.Parameter(made[0].weight.detach().clone())
    save_weights(made, tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors").keys() == {"0.weight", "1.weight"}


def test_weights_that_lie_strangely_in_memory(tmp_path: Path) -> None:
    made = nn.Linear(3, 4)
    made.weight = nn.Parameter(torch.randn(3, 4).t())
    made.bias = nn.Parameter(torch.randn(8)[::2])
    save_weights(made, tmp_path / "a.safetensors")
    found = read_weights(tmp_path / "a.safetensors")
    assert torch.equal(found["weight"], made.weight) and torch.equal(found["bias"], made.bias)


def changed(weights: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    match kind:
        case "missing":
            del weights["0.bias"]
        case "extra":
            weights["2.bias"] = torch.ones(7)
        case "shape":
            weights["0.weight"] = weights["0.weight"].t().contiguous()
        case "quantized":
            weights["0.weight"] = torch.ones(4, 3, dtype=torch.int8)
    return weights


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", r"lacks 1 weights: 0\.bias \[4\]"),
        ("extra", r"does not use 1 weights: 2\.bias \[7\]"),
        ("shape", r"other shapes for 1 weights: 0\.weight \[3, 4\]"),
        ("quantized", r"integers for 0\.weight"),
    ],
)
def test_weights_of_another_network(tmp_path: Path, kind: str, said: str) -> None:
    path, made = tmp_path / "a.safetensors", network()
    save_file(changed(dict(made.state_dict()), kind), path)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    for read in (lambda: load_weights(made, path), lambda: map_weights(made, path, None)):
        with pytest.raises(ValueError, match=said) as error:
            read()
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_of_many_wrong_names_ten_are_named() -> None:
    shapes = {f"layer{number:02d}": (number,) for number in range(13)}
    assert listed(shapes).endswith("layer09 [9] and 3 more")
    assert listed({"b": (), "a": (2, 3)}) == "a [2, 3], b []"
    with pytest.raises(ValueError, match="lacks 13 weights: layer00"):
        check_same("here", shapes, {})
    check_same("here", {"a": (2,)}, {"a": torch.ones(2)})


def test_files_that_are_cut_missing_or_something_else(tmp_path: Path) -> None:
    whole = tmp_path / "a.safetensors"
    save_weights(network(), whole)
    content, bad = whole.read_bytes(), tmp_path / "bad.safetensors"
    for wrong in (b"", content[:4], content[:60], content[:-1], content + b"x", b"\xff" * 99):
        bad.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"bad\.safetensors is truncated or not") as error:
            read_weights(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"none\.safetensors is missing"):
        read_weights(tmp_path / "none.safetensors")


def test_types(tmp_path: Path) -> None:
    half, brain, single = torch.float16, torch.bfloat16, torch.float32
    assert widest({half}) == half and widest({half, single}) == single
    assert widest({half, brain}) == single and widest({torch.float64, single}) == torch.float64
    mixed = nn.Sequential(nn.Linear(2, 2).half(), nn.Linear(2, 2))
    save_weights(mixed, tmp_path / "a.safetensors")
    for dtype, want in ((None, single), (half, half), (brain, brain)):
        target = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        mapped = map_weights(target, tmp_path / "a.safetensors", dtype)
        assert {value.dtype for value in mapped.state_dict().values()} == {want}
        for name, value in mixed.state_dict().items():
            assert torch.equal(mapped.state_dict()[name], value.to(want))


def test_numbers_that_half_precision_does_not_hold() -> None:
    top = torch.finfo(torch.float16).max
    assert top == 65504
    for value, fits in ((top, True), (-top, True), (1e5, False), (-1e5, False), (math.inf, True)):
        weights = {"weight": torch.full((1, 1), value)}
        if fits:
            put_weights(nn.Linear(1, 1, bias=False), weights, torch.float16)
            assert weights == {}
            continue
        with pytest.raises(ValueError, match=r"weight holds 1e\+05, but half precision ends"):
            put_weights(nn.Linear(1, 1, bias=False), weights, torch.float16)


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=9))
def test_the_largest_number_signs_aside(values: list[float]) -> None:
    assert largest(torch.tensor(values)) == max(map(abs, values))


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=6,
        ),
    )
)
def test_json_is_read_as_python_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.json"
    for ascii_only in (True, False):
        path.write_text(json.dumps(data, ensure_ascii=ascii_only), encoding="utf-8")
        assert read_json(path) == data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": 1} {}', "not valid JSON"),
        (b'\xff\xfe{"a": 1}', "not valid JSON"),
        (b"[1, 2]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": 1, "a": 1}', "'a' appears twice"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "'b' appears twice"),
        (b'{"a": [{"b": 1, "b": 3}]}', "'b' appears twice"),
        (b'{"' + b"k" * 90 + b'": 1, "' + b"k" * 90 + b'": 2}', "'k{40}' appears twice"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 600 + b"1" + b"}" * 600, "nested over 100 levels deep"),
        (b'{"a":' + b"[" * 600 + b"]" * 600 + b"}", "nested over 100 levels deep"),
    ],
)
def test_broken_json(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_json(tmp_path / "a.json")
    message = str(error.value)
    assert message.startswith(str(tmp_path / "a.json")) and "\n" not in message


@pytest.mark.parametrize("levels", [101, 600, 100_000])
@pytest.mark.parametrize("kind", ["[", '{"a":'])
def test_json_of_many_levels(tmp_path: Path, levels: int, kind: str) -> None:
    ends = {"[": "]", '{"a":': "}"}
    text = '{"a":' + kind * levels + "1" + ends[kind] * levels + "}"
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"is not valid JSON .it is nested over 100 levels deep"):
        read_json(tmp_path / "a.json")


def test_json_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "' + b" " * MOST_JSON + b'"}')
    with pytest.raises(ValueError, match="bytes, more than settings ever take"):
        read_json(tmp_path / "a.json")


def test_of_many_keys_the_one_that_appears_twice_is_named(tmp_path: Path) -> None:
    pairs = [f'"a{number}": 1' for number in range(60_000)]
    (tmp_path / "a.json").write_text("{" + ", ".join([*pairs, '"a500": 2']) + "}")
    with pytest.raises(ValueError, match="the key 'a500' appears twice"):
        read_json(tmp_path / "a.json")


def test_json_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.json").mkdir()
    for name in ("a.json", "b.json"):
        with pytest.raises(ValueError, match=f"there is no {name} in {tmp_path}"):
            read_json(tmp_path / name)
