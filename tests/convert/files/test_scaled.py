"""Scaled fp8 as other programs store it: a weight in 8 bits beside its scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from inkdrop.convert.files.fill import check_floats
from inkdrop.convert.files.folders import open_file, open_part
from inkdrop.convert.files.options import PLAIN

FP8 = torch.float8_e4m3fn
WEIGHT = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def opened(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    save_file(weights, path / "a.safetensors")
    file = open_file(path / "a.safetensors", PLAIN)
    return {name: value.read() for name, value in file.weights.items()}


@pytest.mark.parametrize("end", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (6, 1)])
def test_a_weight_is_multiplied_by_its_scale(
    tmp_path: Path, end: str, shape: tuple[int, ...]
) -> None:
    rows = len(shape) > 0 and shape[0] == 6
    scale = (WEIGHT.abs().amax(1) if rows else WEIGHT.abs().max()).reshape(shape) / 448
    stored = (WEIGHT / (scale.view(6, 1) if rows else scale)).to(FP8)
    found = opened(
        tmp_path,
        {"a.weight": stored, f"a.{end}": scale, "a.bias": torch.ones(6, dtype=torch.float16)},
    )
    assert set(found) == {"a.weight", "a.bias"}
    wanted = stored.float() * (scale.view(6, 1) if rows else scale)
    assert torch.equal(found["a.weight"], wanted)
    # Four significant bits.
    assert (found["a.weight"] - WEIGHT).abs().max() <= WEIGHT.abs().max() / 16


def test_what_is_for_arithmetic_in_8_bits_is_left_out(tmp_path: Path) -> None:
    found = opened(
        tmp_path,
        {
            "model.scaled_fp8": torch.empty(2, dtype=FP8),
            "a.weight": WEIGHT.to(FP8),
            "a.scale_weight": torch.tensor(2.0),
            "a.scale_input": torch.tensor(3.0),
            "a.comfy_quant": torch.zeros(9, dtype=torch.uint8),
            "b.weight": WEIGHT,
        },
    )
    assert set(found) == {"a.weight", "b.weight"}
    assert torch.equal(found["a.weight"], 2 * WEIGHT.to(FP8).float())
    assert torch.equal(found["b.weight"], WEIGHT)


def test_scales_in_another_shard(tmp_path: Path) -> None:
    save_file({"a.weight": WEIGHT.to(FP8)}, tmp_path / "model-1.safetensors")
    save_file({"a.scale_weight": torch.tensor(2.0)}, tmp_path / "model-2.safetensors")
    places = {"a.weight": "model-1.safetensors", "a.scale_weight": "model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    weights, _ = open_part(tmp_path, PLAIN)
    assert list(weights) == ["a.weight"]
    assert torch.equal(weights["a.weight"].read(), 2 * WEIGHT.to(FP8).float())


def test_other_scales_are_refused(tmp_path: Path) -> None:
    blocks = {"a.weight": WEIGHT.to(FP8), "a.weight_scale": torch.ones(6, 2)}
    with pytest.raises(ValueError, match=r"a.weight of \[6, 4\] has scales of \[6, 2\] .* plain"):
        opened(tmp_path, blocks)


def test_whole_numbers_with_a_scale_stay_a_quantized_model(tmp_path: Path) -> None:
    quantized = {"a.weight": WEIGHT.to(torch.int8), "a.weight_scale": torch.tensor(2.0)}
    save_file(quantized, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.weight holds whole numbers"):
        check_floats("x", open_file(tmp_path / "a.safetensors", PLAIN).weights)
