"""The TAESD family: diffusers' AutoencoderTiny with the same weights, sizes, axes, its codec."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers_keys import translated

from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.config import dump, parse
from inkdrop.convert.sd.taesd_keys import diffusers_naming
from inkdrop.networks.taesd import TAESD, TAESDConfig

SMALL = TAESDConfig(width=8, encoder_blocks=(1, 2, 1), decoder_blocks=(2, 1, 1))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_with_the_same_weights_it_is_the_one_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 3, decoder_block_out_channels=(8,) * 3,
        num_encoder_blocks=SMALL.encoder_blocks, num_decoder_blocks=SMALL.decoder_blocks,
    ).double().eval()  # fmt: skip
    ours = TAESD(SMALL).double().eval()
    ours.load_state_dict(translated(theirs.state_dict(), ours, diffusers_naming(SMALL)))
    x, z = torch.randn(2, 3, 12, 20).double(), 3 * torch.randn(2, 4, 3, 5).double()
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x).latents)
        torch.testing.assert_close(ours.decode(z), theirs.decode(z).sample)


@pytest.mark.parametrize("size", [(8,), (12, 20), (4, 8, 4)])
def test_sizes_channels_and_axes(size: tuple[int, ...]) -> None:
    config = TAESDConfig(len(size), 5, 3, 8, (1, 2, 1), (2, 1, 1))
    net, x = TAESD(config).double(), torch.randn(2, 5, *size).double()
    z = net.encode(x)
    assert z.shape == (2, 3, *(n // 4 for n in size))
    assert net(x).shape == x.shape


def test_a_size_between_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a size of 10 is not a multiple of 4.*: 8 and 12"):
        TAESD(SMALL).encode(torch.randn(1, 3, 8, 10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": 4}, "dims is 4"),
        ({"width": 0}, "width is 0 but must be at least 1"),
        ({"encoder_blocks": (1, 1)}, "both need one number for each level"),
    ],
)
def test_a_shape_that_cannot_be_built(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TAESDConfig(**{**dump(SMALL), **change})


def test_a_codec_of_it_is_described_and_read_again(tmp_path: Path) -> None:
    codec = Latent(LatentConfig(SMALL, (0.0,) * 4, (1.0,) * 4))
    again = Latent(parse(LatentConfig, dump(codec.config), "here"))
    assert again.config == codec.config and isinstance(again.autoencoder, TAESD)
    again.load_state_dict(codec.state_dict())
    x = torch.randn(1, 3, 8, 12)
    torch.testing.assert_close(again.decode(again.encode(x)), codec.autoencoder(x))


def test_a_misspelt_key_of_it_is_refused() -> None:
    about = dump(LatentConfig(SMALL, (0.0,) * 4, (1.0,) * 4))
    about["autoencoder"]["widht"] = 8
    with pytest.raises(ValueError, match="widht"):
        parse(LatentConfig, about, "here")
