"""Latents: measured shift and scale, and every way they may not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import Encoding, codec, encode, open_latents
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig

SHAPE = AutoencoderConfig(
    channels=1, latent_channels=2, width=8, multipliers=(1, 1), norm_groups=4, code_conv=False
)


def autoencoder(seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    return Autoencoder(SHAPE).eval().requires_grad_(False)


def prepared(folder: Path) -> tuple[Dataset, Autoencoder, Path]:
    data, coder = tiny.data(folder), autoencoder()
    events = list(encode(data, coder, folder / "latents", batch=20))
    assert events[-1] == Encoding(48, 48)
    return data, coder, folder / "latents"


def test_codes_are_the_autoencoders_with_mean_0_and_spread_1(tmp_path: Path) -> None:
    data, coder, folder = prepared(tmp_path)
    latents = open_latents(folder, data, coder)
    assert latents.shape == (2, 4, 4)
    assert latents.labels is not None and data.labels is not None
    assert (latents.labels == data.labels).all()
    z = latents.take(range(48))
    assert z.mean((0, 2, 3)).abs().max() < 1e-2
    assert abs(float(z.var((0, 2, 3), correction=0).mean()) - 1) < 1e-2
    wanted = codec(folder, coder).encode(data.take(range(48)))
    assert torch.allclose(z, wanted, atol=5e-3)  # kept in half precision


def test_made_once(tmp_path: Path) -> None:
    data, coder, folder = prepared(tmp_path)
    assert list(encode(data, coder, folder)) == []


def test_of_another_autoencoder_or_other_data(tmp_path: Path) -> None:
    data, coder, folder = prepared(tmp_path)
    with pytest.raises(ValueError, match="another autoencoder"):
        list(encode(data, autoencoder(1), folder))
    with pytest.raises(ValueError, match="another autoencoder"):
        open_latents(folder, data, autoencoder(1))
    with pytest.raises(ValueError, match="other data"):
        open_latents(folder, data.subset([0, 1]), coder)


def test_collapsed_and_not_finite_codes_are_named(tmp_path: Path) -> None:
    data, coder = tiny.data(tmp_path), autoencoder()
    with torch.no_grad():
        coder.encoder.output.weight[1] = 0
        coder.encoder.output.bias[1] = 0
    with pytest.raises(ValueError, match=r"channel 1 .* has collapsed"):
        list(encode(data, coder, tmp_path / "a"))
    with torch.no_grad():
        coder.encoder.output.weight[0] = float("nan")
    with pytest.raises(ValueError, match="not finite in channel 0"):
        list(encode(data, coder, tmp_path / "b"))
    assert not (tmp_path / "a" / "latents.json").exists()
    assert not (tmp_path / "b" / "latents.npy").exists()
