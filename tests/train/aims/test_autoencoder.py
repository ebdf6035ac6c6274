"""Training an autoencoder: the linear start, the parts of the loss, an exact resume."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from sklearn.decomposition import PCA

from inkdrop.codecs.latent import load_autoencoder
from inkdrop.data.open import open_data
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.discriminator import Discriminator, DiscriminatorConfig
from inkdrop.networks.resample import blocks
from inkdrop.runs import own_folder
from inkdrop.train.aims.autoencoder import principal, shape_for, train_autoencoder
from inkdrop.train.aims.reconstruction import AutoencoderLoss, Reconstruction
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Saved
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
SHAPE = AutoencoderConfig(
    channels=1, latent_channels=4, patch=2, width=8, multipliers=(1, 1), blocks=1,
    middle_attention=False, code_conv=False, linear=True, norm_groups=4,
)  # fmt: skip


def ask(updates: int, save_every: int = 100) -> TrainRequest:
    config = TrainConfig(
        updates=updates, batch=8, warmup=2, precision="float32", condition_drop=0.0
    )
    return TrainRequest(config, save_every=save_every)


def test_the_linear_start_is_the_principal_components() -> None:
    data = open_data("digits")
    shape = shape_for(data, factor=4, channels=3)
    autoencoder = Autoencoder(shape)
    for name, value in principal(data, shape, count=len(data)).items():
        autoencoder.get_parameter(f"linear.{name}").data.copy_(value)
    x = data.take(range(len(data)))
    places = blocks(x, 4).movedim(1, -1).flatten(0, -2).numpy()
    pca = PCA(3, svd_solver="full").fit(places)
    rebuilt = pca.inverse_transform(pca.transform(places))
    with torch.no_grad():
        y = autoencoder(x)
        code = autoencoder.encode(x)
    assert np.allclose(blocks(y, 4).movedim(1, -1).flatten(0, -2).numpy(), rebuilt, atol=1e-4)
    assert abs(float(code.var((0, 2, 3)).mean()) - 1) < 1e-2


@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_training_resumes_to_the_bit_and_leaves_an_autoencoder(
    tmp_path: Path, adversarial: float
) -> None:
    data, loss = tiny.data(tmp_path), AutoencoderLoss(adversarial=adversarial, kl=1e-4)
    list(train_autoencoder(data, tmp_path / "a", SHAPE, loss, ask(8), world=World(device=CPU)))
    stop = threading.Event()
    for event in train_autoencoder(
        data, tmp_path / "b", SHAPE, loss, ask(8), world=World(device=CPU, stop=stop)
    ):
        if isinstance(event, Update) and event.index == 3:
            stop.set()
    list(train_autoencoder(data, tmp_path / "b", SHAPE, loss, ask(8), world=World(device=CPU)))
    a, b = (own_folder(tmp_path / name)[0] for name in "ab")
    left, right = (load_file(folder / "network.safetensors") for folder in (a, b))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not any("discriminator" in name for name in left)
    assert (tmp_path / "a" / "samples" / "final.png").is_file()
    assert load_autoencoder(a).config == SHAPE


def test_it_learns_more_than_the_linear_code(tmp_path: Path) -> None:
    data = open_data("digits")
    shape = dataclasses.replace(SHAPE, latent_channels=3, width=16)
    held = data.take(range(256))
    list(train_autoencoder(data, tmp_path / "run", shape, None, ask(300), world=World(device=CPU)))
    trained = load_autoencoder(own_folder(tmp_path / "run")[0])
    linear = Autoencoder(shape)
    for name, value in principal(data, shape).items():
        linear.get_parameter(f"linear.{name}").data.copy_(value)
    with torch.no_grad():
        before, after = ((net(held) - held).square().mean() for net in (linear, trained))
    assert after < 0.9 * before


def test_it_starts_from_an_autoencoder(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    list(train_autoencoder(data, tmp_path / "a", SHAPE, None, ask(4), world=World(device=CPU)))
    first = load_autoencoder(own_folder(tmp_path / "a")[0])
    slow = dataclasses.replace(ask(1), config=dataclasses.replace(ask(1).config, lr=1e-9))
    loss = AutoencoderLoss(adversarial=0.5)
    run = tmp_path / "b"
    list(train_autoencoder(data, run, None, loss, slow, weights=first, world=World(device=CPU)))
    left, right = (load_file(own_folder(tmp_path / r)[0] / "network.safetensors") for r in "ab")
    assert all(torch.allclose(left[name], right[name], atol=1e-7) for name in left)
    with pytest.raises(ValueError, match="with weights"):
        list(train_autoencoder(data, run, None, loss, slow, weights=Autoencoder(SHAPE)))
    other = dataclasses.replace(SHAPE, width=16)
    with pytest.raises(ValueError, match="has another shape than was asked for"):
        train_autoencoder(data, run, other, loss, slow, weights=first)


def test_a_codebook_is_trained(tmp_path: Path) -> None:
    shape = AutoencoderConfig(
        channels=1, latent_channels=2, codes=16, width=8, multipliers=(1, 1), norm_groups=4
    )
    events = list(
        train_autoencoder(
            tiny.data(tmp_path), tmp_path / "vq", shape, None, ask(6), world=World(device=CPU)
        )
    )
    assert isinstance(next(e for e in events if isinstance(e, Saved)), Saved)
    entries = load_autoencoder(own_folder(tmp_path / "vq")[0]).codebook
    assert entries is not None and float(entries.weight.abs().max()) > 1 / 16


def test_each_loss_meets_the_others_weights_as_constants() -> None:
    torch.manual_seed(0)
    critic = Discriminator(DiscriminatorConfig(channels=1, width=8, layers=2))
    network = Reconstruction(Autoencoder(SHAPE), AutoencoderLoss(adversarial=1.0), None, critic)
    x, noise = torch.randn(3, 1, 16, 16), torch.randn(3, 4, 4, 4)
    network(x, noise, 0.0).sum().backward()
    alone = {name: p.grad.clone() for name, p in critic.named_parameters() if p.grad is not None}
    network.zero_grad()
    network(x, noise, 1.0).sum().backward()
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, alone[name], atol=1e-6)


def test_bad_input(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    with pytest.raises(ValueError, match="kl is -1"):
        AutoencoderLoss(kl=-1)
    with pytest.raises(ValueError, match="l1 and l2 are both 0"):
        AutoencoderLoss(l1=0, l2=0)
    with pytest.raises(ValueError, match=r"perceptual is 1.0, but no feature network"):
        train_autoencoder(data, tmp_path / "x", SHAPE, AutoencoderLoss(perceptual=1.0))
    with pytest.raises(ValueError, match="factor is 3: it must be a power of 2"):
        shape_for(data, factor=3)
    with pytest.raises(ValueError, match="8 is not a multiple of 16"):
        train_autoencoder(data, tmp_path / "x", shape_for(data, factor=16))
    assert not (tmp_path / "x").exists()
