"""The latent codec: shift and scale, sizes, and a model folder that holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from inkdrop.codecs.latent import (
    Latent,
    LatentConfig,
    load_autoencoder,
    write_autoencoder,
)
from inkdrop.digest import digest_of_weights
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig

SMALL = AutoencoderConfig(
    channels=1, latent_channels=2, width=8, multipliers=(1, 1), norm_groups=4, code_conv=False
)


def latent() -> Latent:
    torch.manual_seed(0)
    return Latent(LatentConfig(SMALL, (0.5, -1.0), (2.0, 3.0))).eval().requires_grad_(False)


def test_shift_and_scale() -> None:
    codec, x = latent(), torch.randn(3, 1, 8, 12)
    code = codec.autoencoder.encode(x)
    z = codec.encode(x)
    assert codec.shape((1, 8, 12)) == z.shape[1:] == (2, 4, 6)
    assert torch.allclose(z[:, 0], (code[:, 0] - 0.5) * 2, atol=1e-6)
    assert torch.allclose(z[:, 1], (code[:, 1] + 1) * 3, atol=1e-6)
    assert torch.allclose(codec.decode(z), codec.autoencoder.decode(code), atol=1e-5)


def test_a_sample_of_the_code() -> None:
    codec, x, noise = latent(), torch.randn(1, 1, 8, 12), torch.randn(3, 2, 4, 6)
    said = codec.autoencoder.posterior(x)
    z, code = codec.sample(x, noise), said.mean + (said.logvar / 2).exp() * noise
    assert torch.allclose(z[:, 0], (code[:, 0] - 0.5) * 2, atol=1e-5)
    assert torch.allclose(codec.sample(x, torch.zeros(1, 2, 4, 6)), codec.encode(x))
    tiny = TAESDConfig(2, 1, 2, 4, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    plain = Latent(LatentConfig(tiny, (0.0, 0.0), (1.0, 1.0)))  # says nothing but a mean
    assert torch.equal(plain.sample(x, noise), plain.encode(x).expand(3, -1, -1, -1))


def test_large_data_goes_in_tiles_without_seams() -> None:
    codec, x = latent(), torch.randn(1, 1, 8192 + 16, 8)
    whole = codec.autoencoder.encode(x)
    z = codec.encode(x)
    assert z.shape == (1, 2, 4104, 4)
    assert not torch.equal(z, (whole - codec.shift) * codec.scale)
    inside = (z / codec.scale + codec.shift - whole).abs()
    # Norms and attention see a tile's own statistics: near, not equal.
    assert inside.mean() < 0.2 * whole.std()


def test_a_picture_of_1024_pixels_is_made_whole() -> None:
    codec, z = latent(), torch.randn(1, 2, 128, 128)
    code = z / codec.scale + codec.shift
    assert torch.equal(codec.decode(z), codec.autoencoder.decode(code))


def test_sizes_it_cannot_make() -> None:
    with pytest.raises(ValueError, match=r"9 is not a multiple of 2.*8 and 10"):
        latent().shape((1, 9, 8))


def test_config_is_checked() -> None:
    with pytest.raises(ValueError, match="shift has 1 numbers, but the code has 2"):
        LatentConfig(SMALL, (0.0,), (1.0, 1.0))
    with pytest.raises(ValueError, match="above 0"):
        LatentConfig(SMALL, (0.0, 0.0), (1.0, 0.0))


def test_folder_round_trip(tmp_path: Path) -> None:
    autoencoder = latent().autoencoder
    write_autoencoder(autoencoder, tmp_path)
    again = load_autoencoder(tmp_path)
    assert again.config == autoencoder.config
    assert digest_of_weights(again.state_dict()) == digest_of_weights(autoencoder.state_dict())
    assert digest_of_weights(Autoencoder(SMALL).state_dict()) != digest_of_weights(
        autoencoder.state_dict()
    )


def test_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"format_version": 1}))
    with pytest.raises(ValueError, match="an autoencoder is needed"):
        load_autoencoder(tmp_path)
