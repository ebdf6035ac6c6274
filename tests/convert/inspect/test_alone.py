"""What `inkdrop info` and `inkdrop convert` say of a network without the rest of its model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pipelines
import pytest
from models import latent_text_model
from safetensors.torch import load_file, save_file

from inkdrop.codecs.latent import Latent, write_autoencoder
from inkdrop.convert.convert import convert
from inkdrop.convert.files.write import under_names
from inkdrop.convert.inspect.summary import summary
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.unet_keys import ldm_naming

PART = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: Any) -> Path:
    """The parts of a pipeline, each in a folder or a file of its own."""
    folder = tmp_path_factory.mktemp("parts")
    pipelines.saved(folder / "whole", "sd15")
    for name in ("unet", "vae", "text_encoder"):
        shutil.copytree(folder / "whole" / name, folder / name)
    for name in ("unet", "vae"):
        shutil.copy(folder / name / PART, folder / f"{name}.safetensors")
    model, _ = open_checkpoint(folder / "whole")
    unet = under_names(model.network, ldm_naming(model.network.config))  # type: ignore[arg-type]
    for name, prefix in (("bare", ""), ("comfy", "diffusion_model."),
                         ("ldm", "model.diffusion_model.")):  # fmt: skip
        save_file({prefix + n: v for n, v in unet.items()}, folder / f"{name}.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    names = {n: n if n.startswith("text_model.") else f"text_model.{n}" for n in text}
    save_file({names[n]: v for n, v in text.items()}, folder / "clip_l.safetensors")
    save_file(
        {f"cond_stage_model.transformer.{names[n]}": v for n, v in text.items()},
        folder / "text.safetensors",
    )
    return folder


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("vae", "an autoencoder alone"),
        ("vae.safetensors", "an autoencoder alone"),
        ("unet", "a U-Net alone"),
        ("bare.safetensors", "a U-Net alone"),
        ("comfy.safetensors", "a U-Net alone"),
        ("ldm.safetensors", "a U-Net alone"),
        ("text_encoder", "a CLIPTextModel of transformers alone"),
        ("text.safetensors", "text encoders alone"),
        ("clip_l.safetensors", "one part of a diffusers folder; give the folder"),
        ("unet.safetensors", "one part of a diffusers folder; give the folder"),
    ],
)
def test_what_it_is(parts: Path, tmp_path: Path, name: str, what: str) -> None:
    lines = summary(parts / name)
    assert lines[0].startswith(f"layout: {what}")
    assert " million numbers, float32, " in lines[1]
    if "autoencoder" in what:
        assert "--vae" in lines[-1]
        return
    with pytest.raises(ValueError, match=name):
        convert(parts / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_whole_model_is_described_as_one(parts: Path) -> None:
    assert summary(parts / "whole")[0] == "layout: a diffusers folder"


def test_an_autoencoder_of_inkdrops_own(tmp_path: Path) -> None:
    codec = latent_text_model().codec
    assert isinstance(codec, Latent)
    write_autoencoder(codec.autoencoder, tmp_path)  # type: ignore[arg-type]
    lines = summary(tmp_path)
    assert lines[0].startswith("layout: an autoencoder") and lines[1].startswith("network: ")
