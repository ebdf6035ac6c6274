"""A family is one value in a table: with a second one in it, every command reads its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import checkpoints
import pytest
import torch
from models import latent_text_model
from safetensors.torch import load_file, save_file

from inkdrop.convert import families
from inkdrop.convert.convert import convert
from inkdrop.convert.family import Family, ForeignLayout, Headers
from inkdrop.convert.files.fill import filled
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.parts import part
from inkdrop.convert.files.report import Report
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.files.write import under_names
from inkdrop.convert.inspect.headers import headers
from inkdrop.convert.inspect.summary import summary
from inkdrop.convert.open import open_checkpoint
from inkdrop.files import replacing
from inkdrop.model import Model
from inkdrop.networks.dit import DiT

OURS = latent_text_model()
assert isinstance(OURS.network, DiT)
CONFIG = OURS.network.config


@dataclass(frozen=True)
class Found:
    """A transformer in a single file, whose weights are called as ours behind a prefix."""

    path: Path
    weights: Weights
    layout: ForeignLayout = "single"

    @property
    def naming(self) -> Naming:
        return Naming({}, ((r"^", "toy."),))


def read(path: Path, options: ReadOptions) -> Found:
    return Found(path, open_file(path, options).weights)


def build(found: Found, dtype: torch.dtype | None, text_needed: bool) -> tuple[Model, Report]:
    network, report = filled(lambda: DiT(CONFIG), found, "network", str(found.path), dtype)
    model = Model(network, OURS.process, OURS.parameterization, OURS.spec, OURS.codec, OURS.text)
    return model, Report((report,))


def export(model: Model, out: Path, layout: ForeignLayout) -> None:
    assert isinstance(model.network, DiT)
    with replacing(out) as beside:
        save_file(under_names(model.network, Found(out, {}).naming), beside)


TOY = Family(
    kind=Kind("a toy", weights=(r"toy\.",)),
    pipelines=("ToyPipeline",),
    networks=(),
    read=read,
    headers=lambda f: Headers(CONFIG, None, (16, 16), False, (part("network", f.weights),)),
    build=build,
    takes="a DiT",
    exports=lambda model: isinstance(model.network, DiT),
    export=export,
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the second family, written by `convert` once the family is in the table."""
    OURS.save(tmp_path / "own")
    with pytest.raises(
        ValueError, match="a DiT on Latent has no place in the layouts of others, w"
    ):
        convert(tmp_path / "own", tmp_path / "toy.safetensors")
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, TOY))
    convert(tmp_path / "own", tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def test_every_command_knows_it(path: Path, tmp_path: Path) -> None:
    assert all(name.startswith("toy.") for name in load_file(path))
    model, report = open_checkpoint(path)
    assert isinstance(model.network, DiT) and report.parts[0].name == "network"
    for name, value in OURS.network.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(model.network.state_dict()[name], value)
    assert headers(path).network == CONFIG
    assert any(line.startswith("network: ") for line in summary(path))
    convert(path, tmp_path / "again")
    assert Model.load(tmp_path / "again").spec == OURS.spec


def test_others_keep_their_own(path: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "sd", "sd15")
    assert families.family_at(tmp_path / "sd") is families.FAMILIES[0]
    assert families.family_at(path) is TOY
    (tmp_path / "sd" / "model_index.json").write_text('{"_class_name": "ToyPipeline"}')
    assert families.family_at(tmp_path / "sd") is TOY
    (tmp_path / "sd" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ValueError, match=r"'FluxPipeline', which is not read here; .*ToyPip"):
        families.family_at(tmp_path / "sd")
