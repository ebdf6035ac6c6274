"""Every engine computes every kind of network, over one to three axes, at every precision."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.engines import ENGINES, Precision, check_here, prepare, usual
from inkdrop.engines.engine import Call
from inkdrop.find import open_model
from inkdrop.networks.dit import DiT
from inkdrop.networks.unet import UNet
from inkdrop.registry import NETWORKS, build_network

BESIDE = {"in_channels": 2, "num_classes": 3, "vector_dim": 6, "concat_channels": 1}
SMALL = {"kind": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1, "attention": [1],
         "head_channels": 8, "norm_groups": 4, **BESIDE}  # fmt: skip
PATCHED = {"kind": "dit", "width": 24, "heads": 2, "depth": 2, "patch": 2, **BESIDE}
NETS: dict[str, dict[str, Any]] = {
    "unet": {**SMALL, "cross_attention_dim": 12},
    "unet of blocks": {**SMALL, "resample": "resblock"},
    "dit": PATCHED,
    "dit, cross": {**PATCHED, "text": "cross", "tokens_dim": 12},
    "dit, joint": {**PATCHED, "text": "joint", "tokens_dim": 12},
}
CASES = (
    ("unet", 1), ("unet", 2), ("unet of blocks", 3),
    ("dit", 1), ("dit, cross", 2), ("dit, joint", 3),
)  # fmt: skip
# The largest difference, relative to the largest output: measured 2e-6, 0.025 and 0.04.
TOLERANCE: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.06, "int8": 0.08}
# "compiled" takes half a minute for each network.
WAYS = [(name, p) for name in ENGINES if name != "compiled" for p in ENGINES[name].precisions]


def network(kind: str, dims: int) -> UNet | DiT:
    torch.manual_seed(0)
    made = build_network({**NETS[kind], "dims": dims}, "the test")
    assert isinstance(made, UNet | DiT)
    for weight in made.parameters():
        if not bool(weight.any()):
            nn.init.normal_(weight, std=0.2)
    return made.eval().requires_grad_(False)


def call(kind: str, batch: int, *size: int) -> Call:
    draw = torch.Generator().manual_seed(batch)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    words = {"tokens": normal(batch, 5, 12), "mask": torch.arange(5).expand(batch, 5) < 4}
    cond = Cond(
        label=torch.arange(batch) % 3,
        vector=normal(batch, 6),
        concat=normal(batch, 1, *size),
        **(words if {"cross_attention_dim", "text"} & set(NETS[kind]) else {}),
    )
    return Call(normal(batch, 2, *size), torch.full((batch,), 400.0), cond)


def test_every_kind_of_the_registry_is_here() -> None:
    assert {NETS[kind]["kind"] for kind, _ in CASES} == set(NETWORKS)
    assert {kind for kind, _ in CASES} == set(NETS)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "dims"), CASES)
@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_an_engine_says_what_the_network_says(
    engine: str, precision: Precision, kind: str, dims: int
) -> None:
    plain = network(kind, dims)
    if why := ENGINES[engine].lacks(plain, torch.device("cpu"), precision):
        pytest.skip(why)
    made = ENGINES[engine].prepare(copy.deepcopy(plain), call(kind, 2, *(8,) * dims), precision)
    dtype = next(made.parameters()).dtype
    for batch, size in ((2, 8), (3, 8), (1, 7)):
        x, t, cond = call(kind, batch, *(size,) * dims)
        wanted = plain(x, t, cond)
        worst = (made(x.to(dtype), t, cond).float() - wanted).abs().max() / wanted.abs().max()
        assert float(worst) < TOLERANCE[precision]


@torch.no_grad()
@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_the_model_in_the_box(engine: str, precision: Precision) -> None:
    model = open_model("emoji", device="cpu")
    if why := ENGINES[engine].lacks(model.network, model.device, precision):
        pytest.skip(why)
    cond, t = model.condition(["a red heart"]), torch.full((1,), 0.6, dtype=torch.float64)
    x = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0))
    wanted = model.denoise(x, t, cond)
    found = prepare(model, engine, precision=precision).denoise(x, t, cond)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < TOLERANCE[precision]


def test_an_unusable_engine_or_precision_is_refused_before_a_model_is_opened() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    with pytest.raises(ValueError, match="no precision 'fp16'; choose from bfloat16, float32, int"):
        check_here(None, "fp16", cpu)
    with pytest.raises(ValueError, match=r"packed cannot compute in float32 here: .*use eager"):
        check_here("packed", "float32", gpu)
    with pytest.raises(ValueError, match="int8 here: it computes only on CPUs"):
        check_here(None, "int8", gpu)
    check_here(None, "float32", gpu)


def test_a_small_model_gets_an_engine_that_has_the_precision() -> None:
    model = open_model("emoji", device="cpu")
    if ENGINES["packed"].lacks(model.network, model.device, "int8"):
        pytest.skip("the processor has no int8")
    assert usual(model) == "eager" and usual(model, "int8") == "packed"
