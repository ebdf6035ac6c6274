"""Checkpoints in fp8, scaled fp8 and float64: their numbers are read, at every way to use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loras
import pipelines
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.adapters.merge import with_lora
from inkdrop.convert.convert import convert
from inkdrop.convert.inspect.summary import summary
from inkdrop.engines.halved import halved
from inkdrop.find import open_model
from inkdrop.model import Model

Weights = dict[str, Tensor]


def all_in(dtype: torch.dtype) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value.to(dtype) for name, value in weights.items()}


def matrices_in_fp8(weights: Weights) -> Weights:
    """As fp8 files of Stable Diffusion usually are."""
    kinds = {True: torch.float8_e4m3fn, False: torch.float16}
    return {name: value.to(kinds[value.ndim > 1]) for name, value in weights.items()}


def scaled(weights: Weights) -> Weights:
    """As ComfyUI stores scaled fp8: linear layers only."""
    made: Weights = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    for name, value in weights.items():
        if value.ndim != 2 or "embed" in name:
            made[name] = value
            continue
        scale = value.abs().max() / 448
        made[name] = (value / scale).to(torch.float8_e4m3fn)
        made[name.removesuffix("weight") + "scale_weight"] = scale
    return made


# How a file is stored, and how far a number may be from the original, as a share of the largest.
TYPES: dict[str, tuple[Callable[[Weights], Weights], float]] = {
    "float8_e4m3fn": (all_in(torch.float8_e4m3fn), 2**-4),
    "float8_e5m2": (all_in(torch.float8_e5m2), 2**-3),
    "fp8 and float16": (matrices_in_fp8, 2**-4),
    "scaled fp8": (scaled, 2**-4),
    "float64": (all_in(torch.float64), 0.0),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: Any) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("types") / "plain"
    return pipelines.saved(folder, "sd15"), folder


@pytest.fixture(scope="module", params=TYPES)
def stored(request: Any, plain: tuple[Any, Path]) -> tuple[Path, float]:
    change, most = TYPES[request.param]
    folder = plain[1].parent / request.param
    shutil.copytree(plain[1], folder)
    for file in folder.rglob("*.safetensors"):
        save_file(change(load_file(file)), file)
    return folder, most


def answer(model: Model) -> Tensor:
    """What the whole model says of a prompt: the denoiser's output, decoded."""
    cond = model.condition(["a red cat"])
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = model.denoise(x, torch.full((1,), 0.5, dtype=torch.float64), Cond(tokens=cond.tokens))
        return model.codec.decode(z)


def test_numbers_are_those_of_the_file(plain: tuple[Any, Path], stored: tuple[Path, float]) -> None:
    wanted, found = (open_model(path, device="cpu") for path in (plain[1], stored[0]))
    for ours, theirs in zip(found.networks, wanted.networks, strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert a.dtype == torch.float32
            assert float((a - b).abs().max()) <= stored[1] * float(b.abs().max())


def test_half_precision_keeps_them(stored: tuple[Path, float]) -> None:
    wanted = answer(open_model(stored[0], device="cpu"))
    kept = open_model(stored[0], device="cpu", dtype=None)
    types = {value.dtype for network in kept.networks for value in network.parameters()}
    assert types <= {torch.float16, torch.float32}
    exact = types == {torch.float16}  # which has every number of the file
    assert torch.allclose(answer(halved(kept)), wanted, atol=1e-5 if exact else 0.02)


def test_a_lora_is_merged_where_numbers_have_room(
    plain: tuple[Any, Path], stored: tuple[Path, float], tmp_path: Path
) -> None:
    pairs = loras.pairs(plain[0], ("unet", "text_encoder"))
    save_file(loras.peft(pairs), tmp_path / "lora.safetensors")
    wanted = answer(
        with_lora(open_model(stored[0], device="cpu"), tmp_path / "lora.safetensors", 0.1)
    )
    kept = open_model(stored[0], device="cpu", dtype=None)
    found = answer(halved(with_lora(kept, tmp_path / "lora.safetensors", 0.1)))
    assert torch.allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize("half", [False, True])
def test_conversions(stored: tuple[Path, float], tmp_path: Path, half: bool) -> None:
    convert(stored[0], tmp_path / "model", half=half)
    lines = "\n".join(summary(tmp_path / "model"))
    assert ("float16" in lines) or not half
    wanted, found = (open_model(path, device="cpu") for path in (stored[0], tmp_path / "model"))
    for ours, theirs in zip(found.networks, wanted.networks, strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b.half().float() if half else b)
