"""The family from folders and single files: it says what diffusers' networks say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from checkpoints import FAMILIES, answer, asked, difference, save, small
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import load_file
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.sd.export import export_single
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.model import Model
from inkdrop.networks.layers import sinusoidal

SIZES = [(8, 8), (40, 56), (13, 21)]


class Case:
    """One member of the family: diffusers' networks, and ours read from both layouts of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.unet, self.vae = checkpoints.unet(name), checkpoints.vae(name)
        save(folder / "folder", name, unet=self.unet, vae=self.vae)
        self.foreign = read(folder / "folder")
        self.folder, self.report = to_model(self.foreign)
        self.file = folder / "single.safetensors"
        export_single(self.folder, self.file)
        self.single = to_model(read(self.file))[0]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: Any, tmp_path_factory: Any) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


def ours(model: Model, given: dict[str, Tensor]) -> Tensor:
    vector = None
    if "pooled" in given:
        waves = sinusoidal(given["sizes"].flatten(), 256).view(len(given["sizes"]), -1)
        vector = torch.cat([given["pooled"], waves], dim=1)
    cond = Cond(tokens=given["tokens"], vector=vector, concat=given.get("beside"))
    said: Tensor = model.network(given["x"], given["t"], cond)
    return said


@pytest.mark.parametrize("size", SIZES)
def test_it_says_what_theirs_says(case: Case, size: tuple[int, int]) -> None:
    given = asked(case.name, size)
    expected = answer(case.unet, given)
    assert difference(ours(case.folder, given), expected) < 1e-4
    assert difference(ours(case.single, given), expected) < 1e-4


def test_the_autoencoder_says_what_theirs_says(case: Case) -> None:
    torch.manual_seed(2)
    x, z = torch.randn(3, 3, 40, 56), torch.randn(3, 4, 5, 7)
    scale = case.vae.config.scaling_factor
    for model in (case.folder, case.single):
        code = scale * case.vae.encode(x).latent_dist.mean
        assert difference(model.codec.encode(x), code) < 1e-4
        assert difference(model.codec.decode(z), case.vae.decode(z / scale).sample) < 1e-4


def test_diffusers_reads_the_single_file_as_its_own_weights(case: Case) -> None:
    # The oracle of the layout: its public converter from LDM gives its weights back, to the bit.
    weights = load_file(case.file)
    config = {**small(case.name), "layers_per_block": 2}
    back = convert_ldm_unet_checkpoint(dict(weights), config)
    assert same(back, case.unet.state_dict())
    back = convert_ldm_vae_checkpoint(dict(weights), case.vae.config)
    assert same(back, case.vae.state_dict())


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], value) for name, value in expected.items())


def test_both_layouts_are_one_model(case: Case) -> None:
    assert case.folder.network.config == case.single.network.config
    assert case.folder.codec.config == case.single.codec.config
    assert case.folder.process == case.single.process
    assert case.folder.parameterization == case.single.parameterization
    assert case.folder.spec.notes == case.single.spec.notes


def test_what_is_reported(case: Case) -> None:
    unet, coder = case.report.parts
    assert (unet.used, coder.used) == (
        len(case.unet.state_dict()), len(case.vae.state_dict()),
    )  # fmt: skip
    assert unet.numbers == sum(p.numel() for p in case.unet.parameters())
    assert unet.dtypes == ("float32",) and not unet.missing and not unet.unused
    assert case.report.lines()[0].startswith(f"unet: {unet.used} weights, ")


def test_what_the_model_is_for(case: Case) -> None:
    spec, family = case.folder.spec, case.foreign.version
    assert family is not None
    assert spec.shape == (3, 64, 64) and not spec.clip and spec.condition_drop > 0
    assert spec.notes["family"].startswith(family.name)
    extra = case.unet.config.in_channels - 4
    assert ("concat" in spec.notes) == (extra > 0)
    assert case.folder.network.config.concat_channels == extra
    names = {"sd15": "sd1", "inpainting": "sd1 inpainting", "pix2pix": "sd1 instruct-pix2pix",
             "sd21": "sd2", "refiner": "sdxl refiner"}  # fmt: skip
    expected = names.get(case.name, case.name.replace("sd21", "sd2"))
    assert spec.notes["family"] == expected
