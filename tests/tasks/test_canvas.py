"""Pictures of any size on the grid of a code: widened, and cut back to what they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from models import unet_model
from PIL import Image

from inkdrop.media.image import read_image
from inkdrop.networks.control import Controlled
from inkdrop.tasks.canvas import decoded, of_size, padded, read_transparent, size_of, takes
from inkdrop.tasks.request import LARGEST

SIZES = [(16, 24), (13, 10), (1, 7), (8, 9)]


@pytest.mark.parametrize("size", SIZES)
def test_pictures_are_widened_to_whole_places_and_come_back(size: tuple[int, int]) -> None:
    model = unet_model(latent=True)
    factor = model.codec.factor
    assert factor == 4
    picture = torch.rand(2, 3, *size) * 2 - 1
    larger, (first, second) = padded(model, picture, picture[:, :1])
    # numpy's "edge" is the rule for what is added, half of it on either side.
    extra = [-side % factor for side in size]
    around = [(0, 0), (0, 0), *((each // 2, each - each // 2) for each in extra)]
    assert np.array_equal(first.numpy(), np.pad(picture.numpy(), around, mode="edge"))
    assert torch.equal(second, first[:, :1])
    assert larger.spec.shape == (3, *first.shape[2:]) and larger.shape[1:] == tuple(
        side // factor for side in first.shape[2:]
    )
    x = torch.randn(2, *larger.shape)
    back = decoded(larger, x, picture)
    whole = larger.codec.decode(x).clamp(-1, 1)
    ends = zip(extra, size, strict=True)
    rows, columns = (slice(each // 2, each // 2 + side) for each, side in ends)
    assert back.shape == picture.shape and torch.equal(back, whole[:, :, rows, columns])


@pytest.mark.parametrize("size", SIZES)
def test_pixels_come_back_as_they_were(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size) * 2 - 1
    model, (same,) = padded(unet_model(latent=False), picture)
    assert torch.equal(same, picture) and torch.equal(decoded(model, same, picture), picture)
    assert decoded(model, 3 * same, picture).abs().max() <= 1


@pytest.mark.parametrize(("asked", "made"), [((16, 16), (16, 16)), ((13, 1), (16, 4))])
def test_a_model_is_of_the_next_larger_size_of_its_code(
    asked: tuple[int, int], made: tuple[int, int]
) -> None:
    model = unet_model(latent=True)
    assert of_size(model, *asked).spec.shape == (3, *made)
    assert model.spec.shape == (3, 16, 16)
    assert of_size(unet_model(latent=False), *asked).spec.shape == (3, *asked)


def test_the_size_is_the_one_that_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (30, 20)).save(file, exif=exif)
    assert size_of(str(file)) == (30, 20) == read_image(file).shape[:2]


def test_larger_pictures_than_can_be_made_are_refused(tmp_path: Path) -> None:
    for size in ((LARGEST, 1), (1, LARGEST)):
        Image.new("L", size).save(tmp_path / "a.png")
        assert size_of(str(tmp_path / "a.png")) == size[::-1]
    for size in ((LARGEST + 1, 1), (1, LARGEST + 1)):
        Image.new("L", size).save(tmp_path / "a.png")
        with pytest.raises(ValueError, match=rf"a\.png is {size[1]}x{size[0]}.*{LARGEST}"):
            size_of(str(tmp_path / "a.png"))


def test_transparency_is_read_to_the_bit_and_opaque_pictures_have_none(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_transparent(str(tmp_path / "a.png"))
    assert found is not None
    back = ((found[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(back, pixels)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.png")
    assert read_transparent(str(tmp_path / "b.png")) is None


def test_which_models_take_a_picture_beside_x() -> None:
    model = unet_model(latent=True, beside=5)
    controlled = dataclasses.replace(model, network=Controlled(model.network, []))
    for each in (model, controlled):
        assert takes(each, 5) and not takes(each, 4)
    assert not takes(unet_model(latent=True), 5)
    # An engine's graph does not say what it takes; the notes of the model do.
    assert takes(dataclasses.replace(model, network=torch.nn.Linear(1, 1)), 4)
