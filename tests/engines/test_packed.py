"""Packed layers compute what the plain ones do, for all shapes, and hold each weight once."""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from resident import resident
from safetensors.torch import save_file
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.engines.cpu import fast_bfloat16, fast_int8
from inkdrop.engines.engine import Call, Precision
from inkdrop.engines.int8 import Int8Conv, Int8FeedForward, Int8Linear
from inkdrop.engines.packed import PACKED, Layout, PackedLinear, PackedUpsample, Unfolded
from inkdrop.networks.attention import FeedForward
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.resample import interleaved, phases, unfolded
from inkdrop.networks.reuse import Reused
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.weights import save_weights

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stable": {
        "cross_attention_dim": 12, "odd_sizes": "resize", "modulation": "add", "vector_dim": 6,
        "concat_channels": 1, "num_classes": 3, "down_padding": "asymmetric",
    },
    "linear": {"cross_attention_dim": 12, "projection": "linear", "resample": "resblock"},
    "pooled": {"resample": "pool", "patch": 2},
}  # fmt: skip


def unet(**changes: Any) -> UNet:
    torch.manual_seed(0)
    usual = {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "norm_groups": 4}
    network = UNet(UNetConfig(in_channels=2, head_channels=8, **{**usual, **changes}))
    for weight in network.parameters():
        if not bool(weight.any()):
            nn.init.normal_(weight, std=0.2)
    return network.eval().requires_grad_(False)


def call(network: UNet, batch: int, *size: int) -> Call:
    draw, config = torch.Generator().manual_seed(batch), network.config
    told: dict[str, Tensor] = {}
    if config.cross_attention_dim:
        told["tokens"] = torch.randn(batch, 5, 12, generator=draw)
        told["mask"] = torch.arange(5).expand(batch, 5) < 4
    if config.vector_dim:
        told["vector"] = torch.randn(batch, 6, generator=draw)
        told["label"] = torch.arange(batch) % 3
        told["concat"] = torch.randn(batch, 1, *size, generator=draw)
    x = torch.randn(batch, 2, *size, generator=draw)
    return Call(x, torch.full((batch,), 400.0), Cond(**told))


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_network_says(kind: str) -> None:
    network = unet(**KINDS[kind])
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 8, 8), "float32")
    packed(*call(network, 2, 8, 8))
    kinds = {type(module) for module in packed.modules()}
    assert Layout in kinds and PackedLinear in kinds and Unfolded in kinds
    assert (PackedUpsample in kinds) == (kind in ("plain", "stable"))
    assert nn.Conv2d not in kinds
    for batch, *size in ((2, 8, 8), (1, 8, 8), (3, 7, 10), (1, 5, 16)):
        asked = call(network, batch, *size)
        found = packed(*asked)
        assert found.dtype == torch.float32
        assert error(found, network(*asked)) < 1e-5


@torch.no_grad()
def test_large_maps_are_convolved_and_few_places_are_right_there_too() -> None:
    network = unet(**KINDS["plain"])
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 16, 16), "float32")
    packed(*call(network, 2, 16, 16))
    ways = {type(stage.block.conv1.layer) for level in packed.down for stage in level.stages}
    assert ways == {Layout, Unfolded}
    for size in ((16, 16), (9, 20), (1, 2)):
        asked = call(network, 2, *size)
        assert error(packed(*asked), network(*asked)) < 1e-5


@torch.no_grad()
def test_it_can_be_run_in_parts() -> None:
    network = unet(**KINDS["stable"])
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 8, 8), "float32")
    plain, reused = Reused(network, 2), Reused(packed, 2)
    first, second = call(network, 2, 8, 8), call(network, 2, 8, 8)
    for asked in (first, Call(second.x + 0.1, second.t, first.cond)):
        assert error(reused(*asked), plain(*asked)) < 1e-5


@torch.no_grad()
def test_bfloat16_is_near_where_the_processor_has_it_and_refused_elsewhere() -> None:
    network = unet(**KINDS["stable"])
    if not fast_bfloat16():
        assert "no bfloat16 instructions" in str(
            PACKED.lacks(network, torch.device("cpu"), "bfloat16")
        )
        return
    asked = call(network, 2, 8, 8)
    packed = PACKED.prepare(copy.deepcopy(network), asked, "bfloat16")
    assert 0 < error(packed(*asked), network(*asked)) < 0.03


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_near_where_the_processor_has_it_and_refused_elsewhere(kind: str) -> None:
    network = unet(**KINDS[kind])
    if not fast_int8():
        assert "no int8 instructions" in str(PACKED.lacks(network, torch.device("cpu"), "int8"))
        return
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 16, 16), "int8")
    packed(*call(network, 2, 16, 16))
    assert {Int8Linear, Int8Conv} <= {type(module) for module in packed.modules()}
    for batch, *size in ((2, 8, 8), (1, 8, 8), (3, 7, 10)):
        asked = call(network, batch, *size)
        found = packed(*asked)
        assert found.dtype == torch.float32
        assert 0 < error(found, network(*asked)) < 0.06


@torch.no_grad()
@pytest.mark.skipif(not fast_int8(), reason="the processor has no int8")
def test_int8_of_nothing_is_nothing_and_of_nan_is_nan() -> None:
    layer, plain = Int8Conv(torch.randn(3, 2, 3, 3), None, torch.Size([1, 2, 8, 8])), torch.ones(2)
    x = torch.zeros(1, 2, 8, 8)
    assert not layer(x).any()
    x[0, 1, 3, 3] = torch.nan
    assert layer(x).isnan().all()
    linear = Int8Linear(torch.zeros(2, 2), plain, torch.Size([4, 2]))
    assert torch.equal(linear(torch.randn(4, 2)), torch.ones(4, 2))


def int8_layers() -> dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]]:
    """A layer, the same in int8, and the shape of what it reads."""
    torch.manual_seed(0)
    linear, gated = nn.Linear(12, 7), FeedForward(12)
    conv, step = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=(0, 1))
    rows, map_ = torch.Size([2, 20, 12]), torch.Size([2, 4, 9, 8])
    return {
        "linear": (linear, Int8Linear(linear.weight, linear.bias, rows), rows),
        "gated": (gated, Int8FeedForward(gated, rows), rows),
        "conv": (conv, Int8Conv(conv.weight, conv.bias, map_, [1, 1], [1, 1]), map_),
        "step": (step, Int8Conv(step.weight, step.bias, map_, [2, 2], [0, 1]), map_),
    }


@torch.no_grad()
@pytest.mark.skipif(not fast_int8(), reason="the processor has no int8")
@pytest.mark.parametrize("kind", ["linear", "gated", "conv", "step"])
def test_int8_of_a_sample_depends_on_it_alone(kind: str) -> None:
    plain, layer, shape = int8_layers()[kind]
    x = torch.randn(5, *shape[1:])
    x[1] = x[1].abs() * 100  # its numbers would leave those of the others but a few levels
    x[2] *= 0.1
    x[3].flatten()[0] = torch.inf
    together = layer(x)
    assert together[3].isnan().all()
    for i in (0, 1, 2, 4):
        alone = layer(x[i : i + 1])
        assert torch.equal(together[i : i + 1], alone)
        spread = plain(x[i : i + 1]) - plain(torch.zeros(1, *shape[1:]))
        assert float((alone - plain(x[i : i + 1])).abs().max() / spread.abs().max()) < 0.05


@torch.no_grad()
@pytest.mark.skipif(not fast_int8(), reason="the processor has no int8")
@pytest.mark.parametrize("kind", ["stable", "linear"])
def test_a_sample_in_int8_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    network = unet(**KINDS[kind])
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 16, 16), "int8")
    together = call(network, 3, 16, 16)
    wanted = packed(*together)
    for i in range(3):
        one = slice(i, i + 1)
        alone = packed(together.x[one], together.t[one], together.cond[one])
        # A single number rounded to its other neighbour would differ by a thousandth.
        assert error(alone, wanted[one]) < 1e-5


@torch.no_grad()
@pytest.mark.skipif(not fast_int8(), reason="the processor has no int8")
def test_what_is_in_int8_is_so_whatever_comes_first() -> None:
    network, places = unet(**KINDS["stable"]), []
    for batch, size in ((1, 4), (8, 16)):
        asked = call(network, batch, size, size)
        packed = PACKED.prepare(copy.deepcopy(network), asked, "int8")
        packed(*asked)
        whole = (Int8Linear, Int8Conv, Int8FeedForward)
        places.append({name for name, m in packed.named_modules() if isinstance(m, whole)})
    assert places[0] == places[1] and places[0]


@torch.no_grad()
@pytest.mark.skipif(not fast_int8(), reason="the processor has no int8")
def test_layers_beside_int8_are_the_same_for_every_batch() -> None:
    network, kinds = unet(**KINDS["stable"]), []
    for batch in (1, 8):  # of so few places that in float32 one sample has other layers than many
        asked = call(network, batch, 8, 8)
        packed = PACKED.prepare(copy.deepcopy(network), asked, "int8")
        packed(*asked)
        kinds.append([type(module) for module in packed.modules()])
    assert kinds[0] == kinds[1]


@torch.no_grad()
def test_threads_that_come_first_together_both_get_what_the_network_says() -> None:
    network = unet(**KINDS["plain"])
    packed = PACKED.prepare(copy.deepcopy(network), call(network, 2, 8, 8), "float32")
    asked = [call(network, 2, 8, 8), call(network, 2, 6, 8)]

    def said(each: Call) -> Tensor:
        with torch.no_grad():
            return packed(*each)  # type: ignore[no-any-return]

    with ThreadPoolExecutor(2) as pool:
        for each, found in zip(asked, pool.map(said, asked), strict=True):
            assert error(found, network(*each)) < 1e-5


def test_no_weight_is_held_twice() -> None:
    network = unet()
    count = sum(weight.numel() for weight in network.parameters())
    packed = PACKED.prepare(network, call(network, 2, 8, 8), "float32")
    packed(*call(network, 2, 8, 8))
    plain = sum(weight.numel() for weight in packed.parameters())
    norms = [m for m in packed.modules() if isinstance(m, nn.GroupNorm)]
    kept = sum(w.numel() for m in (*norms, packed.time) for w in m.parameters())  # type: ignore
    assert plain == kept < count / 2


def test_each_plain_layer_goes_when_its_packed_one_is_there() -> None:
    network, made, kinds = unet(**KINDS["stable"]), list[int](), (Layout, PackedLinear)

    def count() -> None:
        made.append(sum(isinstance(module, kinds) for module in network.modules()))

    def told() -> Call:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer is not network.output:
                weakref.finalize(layer, count)
        return call(network, 2, 8, 8)

    asked = told()
    PACKED.prepare(network, asked, "float32")(*asked)
    gc.collect()
    # Of one block some layers are there twice for a moment, and gated ones become three of two.
    ahead = [there - gone for gone, there in enumerate(made)]
    assert len(made) > 50 and max(ahead) <= 20


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_phases_of_either_order_are_one_map_in_that_order(kind: torch.dtype) -> None:
    y = torch.randn(2, 12, 4, 5).to(kind)
    plain, last = interleaved(y), interleaved(y.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, last) and plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_phases_can_be_unfolded(dims: int) -> None:
    weight, bias = torch.randn(3, 2, *(3,) * dims).double(), torch.randn(3)
    again, same = unfolded(*phases(weight, bias))
    torch.testing.assert_close(again, weight)
    assert same is not None and torch.equal(same, bias)


def test_only_on_a_cpu() -> None:
    assert "use eager" in str(PACKED.lacks(nn.Identity(), torch.device("meta"), "float32"))


@torch.no_grad()
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_decoder_is_computed_as_well(precision: Precision) -> None:
    if precision == "bfloat16" and not fast_bfloat16():
        pytest.skip("the processor has no bfloat16")
    torch.manual_seed(0)
    coder = Autoencoder(AutoencoderConfig(latent_channels=2, width=8, norm_groups=4)).eval()
    z, other = torch.randn(2, 2, 5, 4), torch.randn(1, 2, 9, 3)
    wanted = coder.decode(z), coder.decode(other)
    coder.decoder = PACKED.prepare(coder.decoder, (z,), precision)  # type: ignore[assignment]
    for given, picture in zip((z, other), wanted, strict=True):
        found = coder.decode(given)
        assert found.dtype == torch.float32
        assert error(found, picture) < (1e-5 if precision == "float32" else 0.03)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_is_mapped_is_given_back_layer_by_layer(tmp_path: Path) -> None:
    side, count = 5000, 4  # layers of 95 MiB
    weights = {f"{n}.weight": torch.zeros(side, side) for n in range(count)}
    save_file(weights, tmp_path / "a.safetensors")
    said = resident(
        "from pathlib import Path\nfrom torch import nn\n"
        "from inkdrop.engines.packed import pack\nfrom inkdrop.weights import map_weights\n"
        "with torch.device('meta'):\n"
        f"    layers = [nn.Linear({side}, {side}, bias=False) for _ in range({count})]\n"
        "    network = nn.Sequential(*layers)\n"
        "del layers\n"
        f"map_weights(network, Path({str(tmp_path / 'a.safetensors')!r}), torch.float32)\n"
        "note('before')\n"
        f"pack(network, 1, torch.float32)(torch.zeros(1, {side}))\nnote('after')"
    )
    most = said["after"]["VmHWM"] - said["before"]["VmRSS"]
    assert most < (count + 2) * 96


def test_a_packed_network_is_not_saved_without_its_weights(tmp_path: Path) -> None:
    network = unet()
    packed = PACKED.prepare(network, call(network, 2, 8, 8), "float32")
    with pytest.raises(ValueError, match="packed network cannot be saved; save the model before"):
        save_weights(packed, tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_packed_too(dtype: torch.dtype) -> None:
    network = unet(**KINDS["stable"]).to(dtype)
    plain, told = copy.deepcopy(network).float(), call(network, 2, 8, 8)
    packed = PACKED.prepare(network, told, "float32")
    assert {weight.dtype for weight in packed.parameters()} == {torch.float32}
    assert torch.allclose(packed(*told), plain(*told), atol=1e-4)
