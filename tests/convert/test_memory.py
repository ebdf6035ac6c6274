"""The estimate of memory, against what the system counts for a real call."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inkdrop.convert.headers import Headers, Part
from inkdrop.convert.memory import calling, check_memory, decoding, memory
from inkdrop.networks.autoencoder import AutoencoderConfig
from inkdrop.networks.unet_config import UNetConfig

SIZES = (384, 512)
DECODER = AutoencoderConfig(width=32, multipliers=(1, 2, 4, 4), blocks=2)
NETWORK = UNetConfig(in_channels=4, width=64,
                     multipliers=(1, 2, 4, 4), attention=(0, 1, 2), heads=8,
                     cross_attention_dim=64, modulation="add")  # fmt: skip
MEASURE = """
import torch
from inkdrop.cond import Cond
from inkdrop.networks.autoencoder import Autoencoder, AutoencoderConfig
from inkdrop.networks.unet import UNet, UNetConfig
torch.set_num_threads(1)
torch.set_grad_enabled(False)
config = {config!r}
network = (Autoencoder if isinstance(config, AutoencoderConfig) else UNet)(config).eval()
def call(h, w):
    if isinstance(config, AutoencoderConfig):
        return network.decode(torch.randn(1, 4, h, w))
    return network(torch.randn(2, 4, h, w), torch.ones(2), Cond(tokens=torch.randn(2, 77, 64)))
def peak():  # of this program alone: getrusage also knows the one that started it
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
call(8, 8)
before = peak()
call({sizes[0]} // 8, {sizes[1]} // 8)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("config", [DECODER, NETWORK], ids=["decoder", "unet"])
def test_what_a_call_takes(config: AutoencoderConfig | UNetConfig) -> None:
    code = MEASURE.format(config=config, sizes=SIZES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if isinstance(config, AutoencoderConfig):
        expected = decoding(config, SIZES)
    else:
        expected = calling(config, 8, SIZES)
    assert 0.4 * expected < int(done.stdout) < 1.3 * expected


def test_weights_are_counted_in_the_type_of_computing() -> None:
    least = max(decoding(DECODER, SIZES), calling(NETWORK, 8, SIZES))
    assert memory(NETWORK, DECODER, 1000, SIZES) == 4000 + least
    assert memory(object(), DECODER, 1000, SIZES) is None
    assert memory(NETWORK, DECODER, 1000, SIZES, kept=2) == 2000 + least


def test_what_does_not_fit_is_refused_with_the_ways_to_less() -> None:
    numbers = 10**9
    about = Headers(NETWORK, DECODER, SIZES, True, (Part("unet", numbers, 4 * numbers, ()),))
    least = max(decoding(DECODER, SIZES), calling(NETWORK, 8, SIZES))
    check_memory(about, 4 * numbers + least)
    check_memory(about, 2 * numbers + least, half=True)
    check_memory(about, None)
    said = r"a picture of 384x512 .* about 4\.2 GB, .* 4\.0 GB are free; give --half or a smaller"
    with pytest.raises(ValueError, match=said):
        check_memory(about, 4 * numbers)
    with pytest.raises(ValueError, match=r"of 1024x512 .* free; give a smaller --size$"):
        check_memory(about, 2 * numbers, size=(1024, 512), half=True)
    with pytest.raises(ValueError, match=r"4 pictures of 64x64 .* or a smaller --count$"):
        check_memory(about, 4 * numbers, size=64, samples=4)
