"""A tiny autoencoder agrees with the big one whose code it shares, and stands in for it."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LinearRegression
from torch import Tensor

from inkdrop.codecs.latent import Latent, LatentConfig, load_autoencoder
from inkdrop.data.open import open_data
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.resample import blocks
from inkdrop.runs import own_folder
from inkdrop.train.aims.autoencoder import train_autoencoder
from inkdrop.train.aims.reconstruction import AutoencoderLoss
from inkdrop.train.aims.tiny import linear_start, tiny_shape, train_tiny
from inkdrop.train.config import TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
BIG = AutoencoderConfig(
    channels=1, latent_channels=4, patch=2, width=16, multipliers=(1, 1), blocks=1,
    middle_attention=False, code_conv=False, linear=True, norm_groups=4,
)  # fmt: skip


def ask(updates: int, batch: int = 8) -> TrainRequest:
    config = TrainConfig(
        updates=updates, batch=batch, warmup=2, precision="float32", condition_drop=0.0, ema=0.9
    )
    return TrainRequest(config, save_every=999)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    """Trained on digits until its code is no longer linear."""
    run = tmp_path_factory.mktemp("big")
    list(train_autoencoder(open_data("digits"), run, BIG, None, ask(150), world=World(device=CPU)))
    return load_autoencoder(own_folder(run)[0])


def places(x: Tensor) -> np.ndarray:
    return x.movedim(1, -1).flatten(0, -2).numpy()


def test_the_start_is_the_best_linear_map(big: Autoencoder) -> None:
    data = open_data("digits")
    x = data.take(range(len(data)))
    z = big.encode(x)
    weights, variance = linear_start(big, data, CPU, count=len(data))
    assert abs(variance - float(z.var((0, 2, 3)).mean())) < 1e-3
    shape = dataclasses.replace(tiny_shape(BIG), norm_groups=4, width=8)
    small = Autoencoder(shape)
    for name, value in weights.items():
        small.get_parameter(f"linear.{name}").data.copy_(value)
    pixels, codes = places(blocks(x, 4)), places(z)
    with torch.no_grad():
        found = places(small.encode(x)), places(blocks(small.decode(z), 4))
    down, up = LinearRegression().fit(pixels, codes), LinearRegression().fit(codes, pixels)
    # pixels that are always the same leave the map itself open, not what it says of the data
    assert np.allclose(found[0], down.predict(pixels), atol=1e-2)
    assert np.allclose(found[1], up.predict(codes), atol=1e-3)


def test_its_codes_agree_and_its_pictures_beat_the_linear_ones(
    tmp_path: Path, big: Autoencoder
) -> None:
    data = open_data("digits")
    list(train_tiny(big, data, tmp_path / "run", None, None, ask(300), world=World(device=CPU)))
    small = load_autoencoder(own_folder(tmp_path / "run")[0])
    assert sum(p.numel() for p in small.decoder.layers.parameters()) > 0
    linear = Autoencoder(small.config)
    for name, value in linear_start(big, data, CPU)[0].items():
        linear.get_parameter(f"linear.{name}").data.copy_(value)
    x = data.take(range(512))
    z = big.encode(x)
    with torch.no_grad():
        error, before = ((net.encode(x) - z).square().mean() / z.var() for net in (small, linear))
        assert error < 0.7 * before and error < 0.05
        rebuilt, lines = ((net.decode(z) - x).square().mean() for net in (small, linear))
        assert rebuilt < 0.9 * lines and rebuilt < 0.3 * (x - x.mean(0)).square().mean()
        # either half in the big one's place
        crossed = (big.decode(small.encode(x)) - x).square().mean()
        assert crossed < 2 * (big(x) - x).square().mean()
        codec = Latent(LatentConfig(BIG, (0.5,) * 4, (2.0,) * 4), big)
        shown = codec.through(small)
        assert torch.allclose(shown.decode(codec.encode(x)), small.decode(z), atol=1e-5)


@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_it_resumes_to_the_bit(tmp_path: Path, big: Autoencoder, adversarial: float) -> None:
    data, loss = tiny.data(tmp_path), AutoencoderLoss(adversarial=adversarial)
    list(train_tiny(big, data, tmp_path / "a", None, loss, ask(8), world=World(device=CPU)))
    stop = threading.Event()
    for event in train_tiny(
        big, data, tmp_path / "b", None, loss, ask(8), world=World(device=CPU, stop=stop)
    ):
        if isinstance(event, Update) and event.index == 3:
            stop.set()
    list(train_tiny(big, data, tmp_path / "b", None, loss, ask(8), world=World(device=CPU)))
    left, right = (load_file(own_folder(tmp_path / r)[0] / "network.safetensors") for r in "ab")
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not any("discriminator" in name or "big" in name for name in left)
    with pytest.raises(ValueError, match="was started with big"):
        list(
            train_tiny(
                Autoencoder(BIG), data, tmp_path / "a", None, loss, ask(8), world=World(device=CPU)
            )
        )


def test_it_follows_a_codebook_and_other_axes(tmp_path: Path) -> None:
    shape = AutoencoderConfig(
        channels=1, latent_channels=2, codes=16, width=8, multipliers=(1, 1), norm_groups=4
    )
    big = Autoencoder(shape)
    list(
        train_tiny(
            big, tiny.data(tmp_path), tmp_path / "a", None, None, ask(3), world=World(device=CPU)
        )
    )
    small = load_autoencoder(own_folder(tmp_path / "a")[0])
    assert small.codebook is None and small.config.factor == shape.factor == 2
    one = tiny_shape(AutoencoderConfig(dims=1, channels=2, multipliers=(1,), patch=3))
    assert (one.factor, one.dims, one.channels) == (3, 1, 2)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, big: Autoencoder) -> None:
    data, fits = tiny.data(tmp_path), tiny_shape(BIG)
    for change, words in (
        ({"patch": 2}, "factor is 2, but 4 in the autoencoder whose code"),
        ({"latent_channels": 3}, "latent_channels is 3, but 4"),
        ({"channels": 3}, "channels is 3, but 1"),
        ({"codes": 8}, "codes is for a codebook"),
    ):
        shape = dataclasses.replace(fits, **change)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=words):
            train_tiny(big, data, tmp_path / "x", shape)
    with pytest.raises(ValueError, match=r"perceptual is 1.0, but no feature network"):
        train_tiny(big, data, tmp_path / "x", loss=AutoencoderLoss(perceptual=1.0))
    other = Autoencoder(dataclasses.replace(BIG, latent_channels=3))
    codec = Latent(LatentConfig(BIG, (0.0,) * 4, (1.0,) * 4), big)
    with pytest.raises(ValueError, match="latent_channels is 3, but 4"):
        codec.through(other)
    assert not (tmp_path / "x").exists()
