"""A model with another autoencoder: every kind of file, beside diffusers' own decoding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pipelines
import pytest
import torch
from console import inkdrop, left, same
from models import latent_text_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from inkdrop.codecs.latent import Latent, write_autoencoder
from inkdrop.convert.autoencoder import doubts, with_autoencoder
from inkdrop.convert.convert import convert
from inkdrop.convert.files.write import under_names
from inkdrop.convert.sd.autoencoder_keys import ldm_naming
from inkdrop.find import open_model
from inkdrop.media.settings import settings_in
from inkdrop.model import Model

TINY = {"encoder_block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}
PART = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("sd15")
    pipelines.saved(folder, "sd15")
    return folder


@pytest.fixture(scope="module")
def model(sd15: Path) -> Model:
    return open_model(sd15, device="cpu")


@pytest.fixture(scope="module")
def other(tmp_path_factory: Any) -> tuple[Any, Path]:
    """Another autoencoder of diffusers, and its folder."""
    torch.manual_seed(5)
    made = pipelines.checkpoints.random(pipelines.checkpoints.vae("sd15", scaling_factor=0.3))
    folder = tmp_path_factory.mktemp("other") / "vae"
    made.save_pretrained(folder)
    return made, folder


Z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def decoded(model: Model) -> Tensor:
    with torch.no_grad():
        return model.codec.decode(Z)


def near(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["", PART])
def test_a_folder_of_diffusers_has_its_own_scale(
    model: Model, other: tuple[Any, Path], name: str
) -> None:
    theirs, folder = other
    found = decoded(with_autoencoder(model, folder / name))
    assert near(found, theirs.decode(Z / 0.3).sample)
    assert not near(decoded(model), found)


def test_single_files_take_the_models_scale(
    model: Model, other: tuple[Any, Path], tmp_path: Path
) -> None:
    theirs, folder = other
    wanted = theirs.decode(Z / 0.18215).sample
    shutil.copy(folder / PART, tmp_path / "a.safetensors")  # under diffusers' names
    codec = with_autoencoder(model, folder).codec
    assert isinstance(codec, Latent)
    coder = codec.autoencoder
    ldm = under_names(coder, ldm_naming(coder.config))  # type: ignore[arg-type]
    save_file(ldm, tmp_path / "b.safetensors")
    save_file({f"first_stage_model.{n}": v for n, v in ldm.items()}, tmp_path / "c.safetensors")
    for name in "abc":
        made = with_autoencoder(model, tmp_path / f"{name}.safetensors")
        assert near(decoded(made), wanted)
        assert made.network is model.network and made.text is model.text


def test_a_whole_model_lends_its_autoencoder(model: Model, sd15: Path, tmp_path: Path) -> None:
    assert torch.equal(decoded(with_autoencoder(model, sd15)), decoded(model))
    model.save(tmp_path / "own")
    assert torch.equal(decoded(with_autoencoder(model, tmp_path / "own")), decoded(model))


def test_tiny_ones(model: Model, tmp_path: Path) -> None:
    theirs = pipelines.checkpoints.random(diffusers.AutoencoderTiny(**TINY))
    theirs.save_pretrained(tmp_path / "tiny")
    with torch.no_grad():
        wanted = theirs.decode(Z).sample  # AutoencoderTiny gives [-1, 1]
    assert near(decoded(with_autoencoder(model, tmp_path / "tiny")), wanted)
    # The original files: layers by their numbers, where the decoder begins with one for its range.
    weights = load_file(tmp_path / "tiny" / PART)
    for half, shift in (("encoder", 0), ("decoder", 1)):
        begin = f"{half}.layers."
        own = [n.removeprefix(begin).split(".", 1) for n in weights if n.startswith(begin)]
        save_file(
            {f"{int(n) + shift}.{rest}": weights[f"{begin}{n}.{rest}"] for n, rest in own},
            tmp_path / f"taesd_{half}.safetensors",
        )
    made = with_autoencoder(model, tmp_path / "taesd_decoder.safetensors")
    assert near(decoded(made), wanted)


def test_one_of_inkdrops_own(tmp_path: Path) -> None:
    ours = latent_text_model()
    assert isinstance(ours.codec, Latent)
    (tmp_path / "coder").mkdir()
    write_autoencoder(ours.codec.autoencoder, tmp_path / "coder")  # type: ignore[arg-type]
    z = torch.randn(1, *ours.shape)
    made = with_autoencoder(ours, tmp_path / "coder")
    assert torch.equal(made.codec.decode(z), ours.codec.decode(z))


def test_half_precision_stays_computable(model: Model, other: tuple[Any, Path]) -> None:
    folder = other[1].parent / "eighth"
    shutil.copytree(other[1], folder, dirs_exist_ok=True)
    weights = {n: v.to(torch.float8_e4m3fn) for n, v in load_file(folder / PART).items()}
    save_file(weights, folder / PART)
    made = with_autoencoder(model, folder, dtype=None)
    assert isinstance(made.codec, Latent)
    assert {v.dtype for v in made.codec.parameters()} == {torch.float16}


@pytest.mark.parametrize("half", [False, True])
def test_an_autoencoder_by_itself_is_converted(
    other: tuple[Any, Path], tmp_path: Path, half: bool
) -> None:
    """To a single file and back, and its settings with it where they can be known."""
    theirs, folder = other
    single, back = tmp_path / "a.safetensors", tmp_path / "back"
    convert(folder, single, half=half)
    report = convert(single, back)
    assert "does not give the scale of its code; 0.18215 was written" in report.lines()[-1]
    again = diffusers.AutoencoderKL.from_pretrained(back)
    assert again.config.scaling_factor == 0.18215
    for name, value in theirs.state_dict().items():
        found = again.state_dict()[name]
        assert torch.equal(found, value.half().float() if half else value)
    convert(folder, tmp_path / "copy", to="folder")
    assert diffusers.AutoencoderKL.from_pretrained(tmp_path / "copy").config.scaling_factor == 0.3
    with pytest.raises(ValueError, match="network by itself, for which inkdrop has no layout"):
        convert(folder, tmp_path / "own", to="inkdrop")


def test_what_does_not_fit(model: Model, other: tuple[Any, Path], sd15: Path) -> None:
    with pytest.raises(ValueError, match="has 4 channels of the code, but this model's has 2; giv"):
        with_autoencoder(latent_text_model(), other[1])
    with pytest.raises(ValueError, match="has no autoencoder"):
        with_autoencoder(model, sd15 / "unet")
    with pytest.raises(ValueError, match="there is no autoencoder"):
        with_autoencoder(model, sd15 / "nothing.safetensors")


def test_a_checkpoint_without_one_takes_what_is_given(
    sd15: Path,
    other: tuple[Any, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(sd15, bare, ignore=shutil.ignore_patterns("vae"))
    pipelines.checkpoints.edit(bare / "model_index.json", vae=[None, None])
    told = ("generate", "a red cat", "--size", 64, "--steps", 2)
    said = left(monkeypatch, capsys, *told, "--model", bare, "-o", tmp_path / "none.png")
    assert "bare has no autoencoder; give one of its family with `inkdrop generate --vae`" in said
    for number, vae in enumerate((other[1], other[1] / PART, sd15)):
        first, second = tmp_path / f"{number}.png", tmp_path / f"{number}-whole.png"
        inkdrop(monkeypatch, *told, "--model", bare, "--vae", vae, "-o", first)
        inkdrop(monkeypatch, *told, "--model", sd15, "--vae", vae, "-o", second)
        assert same(first, second)


def test_the_scale_of_another_family_is_said(
    model: Model, other: tuple[Any, Path], tmp_path: Path
) -> None:
    pipelines.checkpoints.vae("sdxl").save_pretrained(tmp_path / "sdxl")
    shutil.copy(tmp_path / "sdxl" / PART, tmp_path / "a.safetensors")  # without settings
    diffusers.AutoencoderTiny(**TINY).save_pretrained(tmp_path / "tiny")
    said = f"the autoencoder {tmp_path / 'sdxl'} scales its code by 0.13025, but this model's own"
    for name, sentence in (("sdxl", said), ("a.safetensors", ""), ("tiny", "")):
        codec = with_autoencoder(model, tmp_path / name).codec
        assert isinstance(codec, Latent) and isinstance(model.codec, Latent)
        found = doubts(tmp_path / name, codec, model.codec)
        assert found.startswith(sentence) and bool(found) == bool(sentence)


def test_the_command_records_and_repeats_it(
    sd15: Path,
    other: tuple[Any, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = ("generate", "a red cat", "--model", sd15, "--steps", 2)
    first, again, plain = (tmp_path / f"{n}.png" for n in ("first", "again", "plain"))
    inkdrop(monkeypatch, *told, "--vae", other[1], "-o", first)
    assert settings_in(first)["vae"]["path"] == str(other[1])
    assert "scales its code by 0.3, but this model's own by 0.18215" in capsys.readouterr().err
    inkdrop(monkeypatch, "generate", "--like", first, "-o", again)
    inkdrop(monkeypatch, *told, "-o", plain)
    assert same(first, again) and not same(first, plain)
