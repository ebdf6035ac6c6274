"""The estimate of memory, against what the system counts for a real call."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from resident import resident

from inkdrop.convert.family import Headers
from inkdrop.convert.files.parts import Part
from inkdrop.convert.inspect.estimate import (
    COMPUTED,
    PROGRAM,
    Load,
    calling,
    check_memory,
    decoding,
    memory,
)
from inkdrop.engines.cpu import fast_bfloat16, fast_int8
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.unet import UNet
from inkdrop.networks.unet_config import UNetConfig

SIZES = (384, 512)
DECODER = AutoencoderConfig(width=32, multipliers=(1, 2, 4, 4), blocks=2)
NETWORK = UNetConfig(in_channels=4, width=64,
                     multipliers=(1, 2, 4, 4), attention=(0, 1, 2), heads=8,
                     cross_attention_dim=64, modulation="add")  # fmt: skip
MEASURE = """
from inkdrop.cond import Cond
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.unet import UNet, UNetConfig
config = {config!r}
network = (Autoencoder if isinstance(config, AutoencoderConfig) else UNet)(config).eval()
def call(h, w):
    if isinstance(config, AutoencoderConfig):
        return network.decode(torch.randn(1, 4, h, w))
    return network(torch.randn(2, 4, h, w), torch.ones(2), Cond(tokens=torch.randn(2, 77, 64)))
call(8, 8)
note("before")
call({sizes[0]} // 8, {sizes[1]} // 8)
note("called")
"""
# The maps of a real picture are larger than glibc ever keeps (32 MiB): it gives them back at once.
# These are smaller, so that it is told to; else what it keeps is measured, which no run repeats.
AS_LARGE = """
import ctypes
ctypes.CDLL(None).mallopt(-3, 1 << 16)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("config", [DECODER, NETWORK], ids=["decoder", "unet"])
def test_what_a_call_takes(config: AutoencoderConfig | UNetConfig) -> None:
    said = resident(AS_LARGE + MEASURE.format(config=config, sizes=SIZES))
    took = (said["called"]["VmHWM"] - said["before"]["VmHWM"]) * 2**20
    if isinstance(config, AutoencoderConfig):
        expected = decoding(config, SIZES)
    else:
        expected = calling(config, 8, SIZES)
    assert 0.4 * expected < took < 1.3 * expected


CONTROLLED = """
from inkdrop.cond import Cond
from inkdrop.networks.control import Control, Controlled, ControlNet, ControlNetConfig
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.weights import on_meta
with on_meta():
    unet = UNet({config!r}).eval()
    branch = ControlNet(ControlNetConfig(unet.config)).eval()
for network in (unet, branch):
    network.to_empty(device="cpu")
def call(network, h, w):
    network(torch.randn(2, 4, h, w), torch.ones(2), Cond(tokens=torch.randn(2, 77, 64)))
def told(h, w):
    return Controlled(unet, [Control(branch, 0.5, torch.rand(1, 3, 8 * h, 8 * w))])
call(told(8, 8), 8, 8)
note("before")
call(unet, {sizes[0]} // 8, {sizes[1]} // 8)
note("alone")
call(told({sizes[0]} // 8, {sizes[1]} // 8), {sizes[0]} // 8, {sizes[1]} // 8)
note("controlled")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_what_a_control_network_adds_to_a_call() -> None:
    said = resident(AS_LARGE + CONTROLLED.format(config=NETWORK, sizes=(384, 384)))
    alone = said["alone"]["VmHWM"] - said["before"]["VmHWM"]
    more = said["controlled"]["VmHWM"] - said["alone"]["VmHWM"]
    expected = calling(NETWORK, 8, SIZES, controls=1) / calling(NETWORK, 8, SIZES) - 1
    assert 0.4 * expected < more / alone < 1.3 * expected


PACKED = """
from inkdrop.cond import Cond
from inkdrop.engines.packed import DTYPES, pack
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.unload import unload
from inkdrop.weights import on_meta
config = {config!r}
def packed(kept):
    x, cond = torch.randn(2, 4, 16, 16), Cond(tokens=torch.randn(2, 77, 64))
    with on_meta():
        network = UNet(config).eval()
    network = pack(network.to_empty(device="cpu"), len(x), DTYPES[kept])
    network(x, torch.ones(2), cond)  # which lays the layers out
    unload()
    return network
for kept in {kept!r}:  # what is imported and compiled for it
    packed(kept)
unload()
note("before")
networks = []
for kept in {kept!r}:
    networks.append(packed(kept))
    note(kept)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_weights_take_as_an_engine_computes_with_them() -> None:
    numbers = sum(weight.numel() for weight in UNet(NETWORK).parameters())
    there = {"float32": True, "bfloat16": fast_bfloat16(), "int8": fast_int8()}
    kept = [name for name, can in there.items() if can]
    said = resident(PACKED.format(config=NETWORK, kept=kept))
    last = said["before"]["VmRSS"]
    for each in kept:
        took = (said[each]["VmRSS"] - last) * 2**20
        assert 0.85 * COMPUTED[each] < took / numbers < 1.15 * COMPUTED[each]
        last = said[each]["VmRSS"]


def told(numbers: int = 10**9, kind: str = "float32", texts: int = 0, coders: int = 0) -> Headers:
    """The headers of a model with so many numbers in its denoiser and its other parts."""
    size = 4 if kind == "float32" else 2
    parts = [Part("unet", numbers, size * numbers, (kind,))]
    parts += [Part("text_encoder", texts, size * texts, (kind,))] if texts else []
    parts += [Part("autoencoder", coders, size * coders, (kind,))] if coders else []
    return Headers(NETWORK, DECODER, SIZES, True, tuple(parts))


CALL = calling(NETWORK, 8, SIZES) + PROGRAM


def test_weights_are_counted_as_they_are_kept() -> None:
    about = told(10**9, texts=10**7, coders=10**6)
    assert memory(about, SIZES) == 4004 * 10**6 + CALL
    assert memory(about, SIZES, kept="half") == 2002 * 10**6 + CALL
    assert memory(about, SIZES, kept="bfloat16") == 2104 * 10**6 + CALL
    assert memory(about, SIZES, kept="int8") == 1404 * 10**6 + CALL
    assert memory(replace(about, network=object()), SIZES) is None


def test_what_is_done_with_goes_so_only_the_largest_part_counts() -> None:
    assert memory(told(1000, coders=10**6), SIZES) == 4 * 10**6 + decoding(DECODER, SIZES) + PROGRAM
    assert memory(told(1000, texts=10**9), SIZES) == 4 * 10**9 + PROGRAM


def test_what_is_no_view_into_its_file_is_there_in_float32_first() -> None:
    many = 10**10
    assert memory(told(many), SIZES, kept="int8") == 14 * 10**9 + CALL
    assert memory(told(many, "float16"), SIZES, kept="int8") == 40 * 10**9 + PROGRAM
    assert memory(told(many, "float16"), SIZES, kept="half") == 20 * 10**9 + CALL


def test_control_networks_are_counted() -> None:
    many = 10**8
    control = Part("control", 10**7, 4 * 10**7, ("float32",))
    for count in (1, 2):
        call = calling(NETWORK, 8, SIZES, controls=count) + PROGRAM
        beside = [control] * count
        assert call > calling(NETWORK, 8, SIZES, controls=count - 1) + PROGRAM
        assert memory(told(many), SIZES, controls=beside) == (400 + 40 * count) * 10**6 + call
        found = memory(told(many), SIZES, kept="half", controls=beside)
        assert found == (200 + 20 * count) * 10**6 + call
        found = memory(told(many), SIZES, kept="int8", controls=beside)
        assert found == (140 + 14 * count) * 10**6 + call


def test_what_does_not_fit_is_refused_with_the_ways_to_less() -> None:
    numbers = 10**9
    about, least = told(numbers), CALL
    check_memory(about, 4 * numbers + least)
    check_memory(about, 2 * numbers + least, Load(kept="half"))
    check_memory(about, None)
    said = r"a picture of 384x512 .* about 4\.5 GB, .* 4\.0 GB are free; give --half or a smaller"
    with pytest.raises(ValueError, match=said):
        check_memory(about, 4 * numbers)
    with pytest.raises(ValueError, match=r"of 1024x512 .* free; give a smaller --size$"):
        check_memory(about, 2 * numbers, Load(size=(1024, 512), kept="half"))
    with pytest.raises(ValueError, match=r"4 pictures of 64x64 .* or a smaller --count$"):
        check_memory(about, 4 * numbers, Load(size=64, samples=4))
    control = Part("control", numbers, 4 * numbers, ("float32",))
    with pytest.raises(ValueError, match=r"model with its control networks takes about 8\.\d GB"):
        check_memory(about, 4 * numbers + least, Load(controls=[control]))
