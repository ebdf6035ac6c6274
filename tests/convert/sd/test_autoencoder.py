"""Autoencoders of others: scalings, former names, sixteen channels, and TAESD in its layouts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import pytest
import torch
from checkpoints import difference, save
from safetensors.torch import load_file, save_file

from inkdrop.convert.sd.autoencoder_settings import read_autoencoder, write_autoencoder
from inkdrop.convert.sd.model import to_codec, to_model
from inkdrop.convert.sd.read import read


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


FLUX = {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159,
        "use_quant_conv": False, "use_post_quant_conv": False}  # fmt: skip
MEASURED = {"scaling_factor": 0.5, "latents_mean": (-1.6574, 1.886, -1.383, 2.5155),
            "latents_std": (8.4927, 5.9022, 6.5498, 5.2299)}  # fmt: skip


@pytest.mark.parametrize(
    "told", [{}, FLUX, MEASURED, {"mid_block_add_attention": False}, {"norm_num_groups": 8}]
)
def test_codes_are_theirs(tmp_path: Path, told: dict[str, Any]) -> None:
    theirs = checkpoints.vae(**told)
    theirs.save_pretrained(tmp_path / "vae")
    codec, report = to_codec(read(tmp_path / "vae"))
    assert report.used == len(theirs.state_dict())
    channels, config = theirs.config.latent_channels, theirs.config
    x, z = torch.randn(3, 3, 40, 56), torch.randn(3, channels, 5, 7)
    mean, std = (
        torch.tensor(value or (neutral,) * channels).view(-1, 1, 1)
        for value, neutral in ((config.latents_mean, 0.0), (config.latents_std, 1.0))
    )
    shift = config.shift_factor or 0
    code = (theirs.encode(x).latent_dist.mean - mean - shift) * config.scaling_factor / std
    assert difference(codec.encode(x), code) < 1e-4
    inner = z * std / config.scaling_factor + shift + mean
    assert difference(codec.decode(z), theirs.decode(inner).sample) < 1e-4


@pytest.mark.parametrize("told", [{}, FLUX, MEASURED])
def test_what_is_written_is_what_was_read(tmp_path: Path, told: dict[str, Any]) -> None:
    checkpoints.vae(**told).save_pretrained(tmp_path / "vae")
    codec, _ = to_codec(read(tmp_path / "vae"))
    config, scaling = read_autoencoder(write_autoencoder(codec.config), "here")
    assert config == codec.config.autoencoder
    assert scaling.shift == codec.config.shift
    assert scaling.scale == pytest.approx(codec.config.scale, rel=1e-12)


def test_former_names(tmp_path: Path) -> None:
    theirs = checkpoints.vae()
    theirs.save_pretrained(tmp_path / "vae")
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    former = {"to_q": "query", "to_k": "key", "to_v": "value", r"to_out\.0": "proj_attn"}
    weights = load_file(file)
    for new, old in former.items():
        weights = {re.sub(new, old, name): value for name, value in weights.items()}
    assert any("proj_attn" in name for name in weights)
    save_file(weights, file)
    codec, _ = to_codec(read(tmp_path / "vae"))
    z = torch.randn(1, 4, 5, 7)
    assert difference(codec.autoencoder.decode(z), theirs.decode(z).sample) < 1e-5


def tiny(**told: Any) -> Any:
    widths = dict.fromkeys(("encoder_block_out_channels", "decoder_block_out_channels"), (16,) * 4)
    return checkpoints.random(diffusers.AutoencoderTiny(**widths, **told))


@pytest.mark.parametrize(
    "told",
    [{}, {"latent_channels": 16}, {"scaling_factor": 0.5, "shift_factor": 0.25},
     {"num_encoder_blocks": (1, 2, 0, 1), "num_decoder_blocks": (2, 1, 1, 0)}],
)  # fmt: skip
def test_taesd_in_a_folder(tmp_path: Path, told: dict[str, Any]) -> None:
    theirs = tiny(**told)
    theirs.save_pretrained(tmp_path / "vae")
    codec, report = to_codec(read(tmp_path / "vae"))
    assert report.used == len(theirs.state_dict())
    x = torch.randn(3, 3, 40, 56)
    z = 3 * torch.randn(3, theirs.config.latent_channels, 5, 7)
    scale, shift = theirs.config.scaling_factor, theirs.config.shift_factor
    assert difference(codec.encode(x), (theirs.encode(x).latents - shift) * scale) < 1e-4
    assert difference(codec.decode(z), theirs.decode(z / scale + shift).sample) < 1e-4


def original(theirs: Any) -> dict[str, dict[str, torch.Tensor]]:
    """The halves as their author publishes them: sequences, with a limit before the decoder's."""
    halves: dict[str, dict[str, torch.Tensor]] = {"encoder": {}, "decoder": {}}
    for name, value in theirs.state_dict().items():
        half, _, number, *rest = name.split(".")
        place = int(number) + (half == "decoder")
        halves[half][".".join([str(place), *rest])] = value
    return halves


def test_taesd_in_its_own_files(tmp_path: Path) -> None:
    theirs = tiny()
    halves = original(theirs)
    for half, weights in halves.items():
        save_file(weights, tmp_path / f"taesd_{half}.safetensors")
    joined = {f"{half}.{n}": v for half, weights in halves.items() for n, v in weights.items()}
    save_file(joined, tmp_path / "taesd.safetensors")
    x, z = torch.randn(2, 3, 16, 24), torch.randn(2, 4, 2, 3)
    for name in ("taesd_encoder", "taesd_decoder", "taesd"):
        codec, _ = to_codec(read(tmp_path / f"{name}.safetensors"))
        assert difference(codec.encode(x), theirs.encode(x).latents) < 1e-4
        assert difference(codec.decode(z), theirs.decode(z).sample) < 1e-4
    (tmp_path / "taesd_encoder.safetensors").unlink()
    with pytest.raises(ValueError, match="is the decoder of a TAESD alone; put its encoder beside"):
        read(tmp_path / "taesd_decoder.safetensors")


def test_a_model_with_a_tiny_autoencoder(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "taesd")
    save(tmp_path / "sd", "sd15", unet=checkpoints.unet("sd15"), vae=checkpoints.vae())
    model, _ = to_model(read(tmp_path / "sd"), autoencoder=read(tmp_path / "taesd"))
    assert model.shape == (4, 8, 8) and model.codec.config.scale == (1.0,) * 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"act_fn": "gelu"}, "'act_fn' is 'gelu'"),
        ({"upsampling_scaling_factor": 4}, "'upsampling_scaling_factor' is 4"),
        ({"encoder_block_out_channels": [8] * 4}, r"levels of \[8, 64\] channels"),
        ({"num_encoder_blocks": [1, 1]}, "both need one number for each level"),
        ({"latnt_channels": 4}, "Did you mean 'latent_channels'"),
    ],
)
def test_a_taesd_that_is_not_read(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_autoencoder({"_class_name": "AutoencoderTiny", **change}, "here")


@pytest.fixture
def large(tmp_path: Path) -> Any:
    """diffusers' autoencoder in float16, whose maps in the middle are beyond what that holds."""
    theirs = checkpoints.vae("sdxl")
    for end in (theirs.decoder.conv_in, theirs.encoder.conv_in):
        end.weight.mul_(3e4)
    return theirs.half()


def test_maps_beyond_float16_are_computed_in_float32(large: Any, tmp_path: Path) -> None:
    save(tmp_path / "sdxl", "sdxl", unet=checkpoints.unet("sdxl").half(), vae=large)
    model, _ = to_model(read(tmp_path / "sdxl"))
    assert {p.dtype for p in model.codec.parameters()} == {torch.float16}
    x, z = torch.randn(2, 3, 40, 56), torch.randn(2, 4, 5, 7)
    made, code = model.codec.decode(z), model.codec.encode(x)
    assert {p.dtype for p in model.codec.parameters()} == {torch.float16}
    scale = large.config.scaling_factor
    assert not large.decode((z / scale).half()).sample.isfinite().all()
    wide = large.float()
    assert difference(made, wide.decode(z / scale).sample) < 1e-4
    assert difference(code, wide.encode(x).latent_dist.mean * scale) < 1e-4
    assert model.codec.bfloat16().decode(z).dtype == torch.bfloat16


def test_an_autoencoder_that_says_it_fits_float16(large: Any, tmp_path: Path) -> None:
    large.register_to_config(force_upcast=False)
    large.save_pretrained(tmp_path / "vae")
    codec, _ = to_codec(read(tmp_path / "vae"))
    assert not codec.config.upcast and not write_autoencoder(codec.config)["force_upcast"]
    with pytest.raises(FloatingPointError, match="output in float16 is not finite; try float32"):
        codec.decode(torch.randn(1, 4, 5, 7))
    checkpoints.vae().half().save_pretrained(tmp_path / "usual")
    codec, _ = to_codec(read(tmp_path / "usual"))
    assert codec.config.upcast and write_autoencoder(codec.config)["force_upcast"]
