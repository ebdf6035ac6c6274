"""The registry: every part by its name and back, and descriptions that describe nothing."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models import latent_text_model
from torch import nn

import inkdrop.diffusion.parameterization
import inkdrop.diffusion.process
from inkdrop.diffusion.parameterization import Parameterization
from inkdrop.diffusion.process import Process
from inkdrop.registry import (
    CODECS,
    ENCODERS,
    MEDIA,
    NETWORKS,
    PARAMETERIZATIONS,
    PROCESSES,
    build,
    build_codec,
    build_network,
    describe,
    describe_codec,
    describe_network,
    describe_text,
    medium,
    read_text,
    write_text,
)

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"in_channels": 1, "width": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8,
             "norm_groups": 4},
    "dit": {"in_channels": 1, "width": 16, "depth": 1, "heads": 2},
}  # fmt: skip
CODES: dict[str, dict[str, Any]] = {
    "identity": {},
    "latent": {
        "shift": [0.5, 0.0], "scale": [2.0, 1.0],
        "autoencoder": {"latent_channels": 2, "width": 8, "multipliers": [1, 1], "norm_groups": 4},
    },
}  # fmt: skip


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(data))
    return found


@pytest.mark.parametrize(
    ("kind", "table", "name"),
    [
        *(("process", PROCESSES, name) for name in PROCESSES),
        *(("parameterization", PARAMETERIZATIONS, name) for name in PARAMETERIZATIONS),
    ],
)
def test_every_part_is_described_and_built_again(
    kind: str, table: dict[str, type], name: str
) -> None:
    part = table[name]()
    about = describe(table, part)
    assert about["kind"] == name
    again = build(kind, table, through_json(about), "here")
    assert type(again) is type(part) and again == part
    assert build(kind, table, {"kind": name}, "here") == part


@pytest.mark.parametrize(
    ("module", "base", "table"),
    [
        (inkdrop.diffusion.process, Process, PROCESSES),
        (inkdrop.diffusion.parameterization, Parameterization, PARAMETERIZATIONS),
    ],
)
def test_no_process_and_no_parameterization_is_left_out(
    module: Any, base: type, table: dict[str, type]
) -> None:
    there = {
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if dataclasses.is_dataclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls)
    }
    assert there - {base} == set(table.values())


def test_every_kind_of_network_and_codec_is_among_what_is_built_here() -> None:
    assert set(SMALL) == set(NETWORKS) and set(CODES) == set(CODECS)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    network = build_network({"kind": name, **SMALL[name]}, "here")
    about = describe_network(network)
    assert about["kind"] == name
    assert {key: about[key] for key in SMALL[name]} == {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in SMALL[name].items()
    }
    again = build_network(through_json(about), "here")
    assert describe_network(again) == about
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize("name", CODECS)
def test_codecs(name: str) -> None:
    codec = build_codec({"kind": name, **CODES[name]}, "here")
    about = describe_codec(codec)
    assert about["kind"] == name
    assert describe_codec(build_codec(through_json(about), "here")) == about


def test_a_small_text_encoder(tmp_path: Path) -> None:
    text = latent_text_model().text
    assert text is not None
    about = describe_text(text)
    assert about["kind"] == "small" and about["kind"] in ENCODERS
    write_text(text, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "text.safetensors",
        "tokenizer.json",
    ]
    for data in (about, {key: value for key, value in about.items() if key != "kind"}):
        again = read_text(through_json(data), tmp_path, "here")
        words = ["a red cat", "", "웃는"]
        one, other = text.encode(words), again.encode(words)
        assert torch.equal(one.tokens, other.tokens)  # type: ignore[arg-type]
        assert torch.equal(one.mask, other.mask)  # type: ignore[arg-type]


def test_media() -> None:
    assert set(MEDIA) == {"picture", "series"}
    assert all(medium(name).name == name for name in MEDIA)
    with pytest.raises(ValueError, match=r"'pictures'.*Did you mean 'picture'"):
        medium("pictures")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no process ''"),
        ({"kind": "discret"}, r"'discret'.*Did you mean 'discrete'"),
        ({"kind": ["discrete"]}, r"no process "),
        ({"kind": "discrete", "stpes": 3}, r"here, process 'discrete'.*'stpes'.*'steps'"),
        ({"kind": "discrete", "steps": "many"}, r"here, process 'discrete'.*'steps'"),
        ({"kind": "discrete", "steps": 10**7}, r"'steps' is 10000000"),
    ],
)
def test_descriptions_of_nothing(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        build("process", PROCESSES, data, "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"width": 10**9}, "'width' is 1000000000"),
        ({"blocks": 1000}, "'blocks' is 1000"),
        ({"multipliers": [1, 10**8]}, r"'multipliers' is \[1, 100000000\]"),
        ({"multipliers": [1] * 80}, "'multipliers' has 80 levels"),
        ({"blocks": [1] * 65}, "'blocks' has 65 levels"),
        ({"width": 999_992, "multipliers": [999_999]}, "a part of these sizes"),
    ],
)
def test_networks_that_nobody_has(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said), torch.device("meta"):
        build_network({"kind": "unet", **SMALL["unet"], **more}, "here")


def test_what_is_inside_a_codec_is_looked_at_too() -> None:
    code = {**CODES["latent"]["autoencoder"], "blocks": 300}
    with pytest.raises(ValueError, match="'blocks' is 300; it must be at most 256"):
        build_codec({"kind": "latent", **CODES["latent"], "autoencoder": code}, "here")


def test_parts_that_no_folder_can_hold() -> None:
    with pytest.raises(ValueError, match="whose network is a Linear cannot be saved"):
        describe_network(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="int is not in the registry"):
        describe(PROCESSES, 3)
