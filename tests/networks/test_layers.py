from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.networks import layers, resample
from inkdrop.networks.layers import GroupNorm
from inkdrop.networks.resample import Downsample, Upsample
from inkdrop.networks.resblock import BlockStyle, ResBlock

SHAPES = {1: (5,), 2: (3, 4), 3: (2, 3, 4)}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def gradients(y: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return torch.autograd.grad((weights * y).sum(), inputs)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_sinusoidal_is_the_formula(shift: float) -> None:
    t = torch.tensor([0.0, 0.25, 999.0])
    waves = layers.sinusoidal(t, 6, shift=shift)
    for row, time in zip(waves, t.tolist(), strict=True):
        angles = [time * 1e4 ** (-k / (3 - shift)) for k in range(3)]
        expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), atol=2e-4, rtol=0)


def test_sinusoidal_order_and_odd_width() -> None:
    t = torch.tensor([3.0, 7.5])
    cos_first, sin_first = (layers.sinusoidal(t, 7, order=o) for o in ("cos_sin", "sin_cos"))
    assert torch.equal(cos_first[:, :3], sin_first[:, 3:6])
    assert torch.equal(cos_first[:, 3:6], sin_first[:, :3])
    assert torch.equal(cos_first[:, 6], torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_sinusoidal_is_computed_in_float32(dtype: torch.dtype) -> None:
    t = torch.tensor([1, 128, 512]).to(dtype)
    waves = layers.sinusoidal(t, 32)
    assert waves.dtype == torch.float32
    assert torch.equal(waves, layers.sinusoidal(t.float(), 32))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_keep_or_halve_the_size(dims: int) -> None:
    x = torch.randn(2, 3, *(8,) * dims)
    assert layers.conv(dims, 3, 5)(x).shape == (2, 5, *(8,) * dims)
    assert layers.conv(dims, 3, 5, kernel=1)(x).shape == (2, 5, *(8,) * dims)
    assert Downsample(dims, 3)(x).shape == (2, 3, *(4,) * dims)
    assert Downsample(dims, 3, padding="asymmetric")(x).shape == (2, 3, *(4,) * dims)
    assert Upsample(dims, 3)(x).shape == (2, 3, *(16,) * dims)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pool_undoes_upsample(dims: int) -> None:
    x = torch.randn(2, 3, *SHAPES[dims])
    torch.testing.assert_close(resample.pool(resample.upsample(x)), x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_upsample_conv_is_both_steps_in_one(dims: int) -> None:
    x = torch.randn(2, 3, *SHAPES[dims], dtype=torch.float64, requires_grad=True)
    conv = layers.conv(dims, 3, 4).double()
    assert conv.bias is not None
    slow, fast = conv(resample.upsample(x)), resample.upsample_conv(x, conv.weight, conv.bias)
    torch.testing.assert_close(fast, slow)
    inputs = (x, conv.weight, conv.bias)
    torch.testing.assert_close(gradients(fast, *inputs), gradients(slow, *inputs))


def test_upsample_to_a_given_size() -> None:
    up = Upsample(2, 3)
    assert up(torch.randn(1, 3, 4, 4), size=torch.Size((7, 8))).shape == (1, 3, 7, 8)
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(up(x, size=torch.Size((8, 8))), up(x))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pointwise_is_a_convolution(dims: int) -> None:
    size = {1: (300,), 2: (16, 17), 3: (8, 4, 9)}[dims]
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    conv, ours = layers.conv(dims, 3, 4, kernel=1).double(), layers.Pointwise(dims, 3, 4)
    ours.load_state_dict(conv.state_dict())
    ours.double()
    assert conv.bias is not None
    torch.testing.assert_close(ours(x), conv(x))
    torch.testing.assert_close(
        gradients(ours(x), x, ours.weight, ours.bias), gradients(conv(x), x, conv.weight, conv.bias)
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 8, 13])
def test_padding_repeats_edges_and_crops_back(dims: int, size: int) -> None:
    x = torch.randn(2, 3, *(size,) * dims)
    padded, crop = resample.pad_to_multiple(x, 8)
    assert all(n % 8 == 0 and n - size < 8 for n in padded.shape[2:])
    assert torch.equal(padded[crop], x)
    assert torch.equal(padded.flatten(2)[:, :, 0], x.flatten(2)[:, :, 0])


def test_unpatch_is_pixel_shuffle_in_any_dimension() -> None:
    x = torch.randn(2, 3 * 4, 5, 6)
    assert torch.equal(resample.unpatch(x, 2), F.pixel_shuffle(x, 2))
    line = resample.unpatch(torch.arange(6.0).view(1, 2, 3), 2)
    assert line.flatten().tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    assert resample.unpatch(torch.randn(2, 8, 3, 4, 5), 2).shape == (2, 1, 6, 8, 10)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_group_norm_takes_a_scale_and_shift_per_sample(memory: torch.memory_format) -> None:
    norm = GroupNorm(2, 6).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64).contiguous(memory_format=memory)
    scale, shift = (torch.randn(3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    inputs = (x.requires_grad_(), scale, shift, norm.weight, norm.bias)
    plain = F.group_norm(x, 2, norm.weight, norm.bias)
    expected = plain * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    got = norm(x, scale, shift)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(gradients(got, *inputs), gradients(expected, *inputs))


def test_group_norm_of_one_value_is_its_shift() -> None:
    norm = GroupNorm(6, 6)
    x, scale, shift = torch.randn(1, 6, 1, 1), torch.randn(1, 6), torch.randn(1, 6)
    assert torch.equal(norm(x), norm(x.repeat(2, 1, 1, 1))[:1])
    torch.testing.assert_close(norm(x, scale, shift).flatten(1), shift)


@pytest.mark.parametrize("modulation", ["scale_shift", "add"])
def test_a_new_residual_block_is_its_shortcut(modulation: layers.Modulation) -> None:
    style = BlockStyle(2, embed=5, modulation=modulation, groups=2)
    x, emb = torch.randn(2, 4, 6, 6), torch.randn(2, 5)
    assert torch.equal(ResBlock(style, 4, 4)(x, emb), x)
    block = ResBlock(style, 4, 6)
    assert block.shortcut is not None
    assert torch.equal(block(x, emb), block.shortcut(x))


def test_residual_blocks_resample_and_scale() -> None:
    x = torch.randn(2, 4, 6, 6)
    style = BlockStyle(2, groups=2, scale=0.5)
    assert torch.equal(ResBlock(style, 4, 4, resample="down")(x), 0.5 * resample.pool(x))
    assert torch.equal(ResBlock(style, 4, 4, resample="up")(x), 0.5 * resample.upsample(x))


def test_a_residual_block_leaves_its_input_alone() -> None:
    block = ResBlock(BlockStyle(2, embed=5, modulation="add", groups=2, scale=0.5), 4, 4)
    x, emb = torch.randn(2, 4, 6, 6), torch.randn(2, 5)
    before = x.clone()
    block(x, emb)
    assert torch.equal(x, before)


def test_asymmetric_padding_looks_at_the_far_end() -> None:
    down = Downsample(1, 1, padding="asymmetric")
    assert down.conv is not None
    assert down.conv.bias is not None
    with torch.no_grad():
        down.conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        down.conv.bias.zero_()
        y = down(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    assert y.flatten().tolist() == [321.0, 43.0]
