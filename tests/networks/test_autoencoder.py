"""Autoencoders: diffusers' AutoencoderKL with the same weights, sizes, codebooks, gradients."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from diffusers_keys import translated
from torch import Tensor

from inkdrop.convert.sd.autoencoder_keys import diffusers_naming
from inkdrop.networks.autoencoder import Autoencoder, Gaussian
from inkdrop.networks.autoencoder_config import AutoencoderConfig

TINY = AutoencoderConfig(width=8, multipliers=(1, 2), norm_groups=4)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_net(config: AutoencoderConfig) -> Autoencoder:
    """A network whose zeroed layers are random too."""
    net = Autoencoder(config).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def test_with_the_same_weights_it_is_the_one_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4,
    ).double().eval()  # fmt: skip
    ours = Autoencoder(TINY).double().eval()
    ours.load_state_dict(translated(theirs.state_dict(), ours, diffusers_naming(TINY)))
    x, z = torch.randn(2, 3, 12, 20).double(), torch.randn(2, 4, 6, 10).double()
    with torch.no_grad():
        said = theirs.encode(x).latent_dist
        found = ours.posterior(x)
        torch.testing.assert_close(found.mean, said.mean)
        torch.testing.assert_close(found.logvar, said.logvar)
        torch.testing.assert_close(found.kl(), said.kl())
        torch.testing.assert_close(ours.decode(z), theirs.decode(z).sample)


@pytest.mark.parametrize("codes", [None, 7])
@pytest.mark.parametrize(
    ("patch", "levels", "size"),
    [(1, 1, (5,)), (1, 2, (6, 4)), (2, 2, (8, 12)), (4, 1, (8, 4)), (2, 3, (8, 8, 16)),
     (1, 6, (64,)), (8, 3, (32, 64))],
)  # fmt: skip
def test_sizes_channels_and_axes(
    codes: int | None, patch: int, levels: int, size: tuple[int, ...]
) -> None:
    config = dataclasses.replace(
        TINY, dims=len(size), channels=5, latent_channels=3, codes=codes, patch=patch,
        multipliers=(1,) * levels,
    )  # fmt: skip
    net = Autoencoder(config)
    x = torch.randn(2, 5, *size)
    z = net.encode(x)
    assert z.shape == (2, 3, *(n // config.factor for n in size))
    assert net(x).shape == x.shape


def test_the_gaussians_kl_is_that_of_torch() -> None:
    code = Gaussian(torch.randn(3, 4, 5, 5).double(), torch.randn(3, 4, 5, 5).double())
    normal = torch.distributions.Normal(code.mean, (code.logvar / 2).exp())
    unit = torch.distributions.Normal(torch.zeros_like(code.mean), 1.0)
    expected = torch.distributions.kl_divergence(normal, unit).flatten(1).sum(1)
    torch.testing.assert_close(code.kl(), expected)
    noise = torch.randn(100_000, 1, 1)
    drawn = Gaussian(torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), -1.0)).sample(noise)
    assert abs(drawn.mean().item() - 2) < 0.01 and abs(drawn.var().log().item() + 1) < 0.02


def test_every_place_takes_its_nearest_entry_and_keeps_its_gradient() -> None:
    net = random_net(dataclasses.replace(TINY, codes=11))
    z = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    found = net.quantize(z)
    assert net.codebook is not None
    entries = net.codebook.weight
    for place in ((0, 0, 0), (1, 2, 4), (1, 0, 3)):
        vector = z[place[0], :, place[1], place[2]]
        distances = [(vector - entry).square().sum().item() for entry in entries]
        nearest = min(range(11), key=distances.__getitem__)
        assert found.entry[place] == nearest
        torch.testing.assert_close(found.code[place[0], :, place[1], place[2]], entries[nearest])
    weight = torch.randn_like(z)
    straight = torch.autograd.grad((found.code * weight).sum(), z, retain_graph=True)[0]
    assert torch.equal(straight, weight)
    to_codes = torch.autograd.grad(found.commitment.sum(), (z, entries), allow_unused=True)
    assert to_codes[0].any() and to_codes[1] is None
    to_data = torch.autograd.grad(found.codebook.sum(), (z, entries), allow_unused=True)
    assert to_data[0] is None and to_data[1].any()


def test_a_code_on_entries_is_decoded_as_it_is() -> None:
    net = random_net(dataclasses.replace(TINY, codes=11))
    assert net.codebook is not None
    z: Tensor = net.codebook(torch.randint(11, (1, 3, 3))).movedim(-1, 1)
    torch.testing.assert_close(net.decode(z), net.decode(z + 1e-6))
    assert net.quantize(z).commitment.abs().max() < 1e-20


def test_what_does_not_fit_is_refused_in_words() -> None:
    net = Autoencoder(TINY)
    with pytest.raises(ValueError, match=r"a size of 7 is not a multiple of 2.*: 6 and 8"):
        net.encode(torch.randn(1, 3, 8, 7))
    with pytest.raises(ValueError, match=r"\[1, 4, 8, 8\] but the autoencoder takes 3 channels"):
        net.encode(torch.randn(1, 4, 8, 8))
    with pytest.raises(ValueError, match="Gaussian code, not a codebook"):
        net.quantize(torch.randn(1, 4, 2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": 4}, "dims is 4"),
        ({"multipliers": ()}, "multipliers is empty"),
        ({"latent_channels": 0}, "latent_channels is 0"),
        ({"codes": 1}, "codes is 1: a codebook needs at least 2"),
        ({"width": 6}, "level 0 has 6 channels, not a multiple of norm_groups, 4"),
        ({"down_padding": "both"}, "down_padding is 'both'"),
    ],
)
def test_a_shape_that_cannot_be_built(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
