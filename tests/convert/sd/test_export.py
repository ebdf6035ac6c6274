"""The way back: weights are the same to the bit after a round trip in every format and type."""

from __future__ import annotations

import dataclasses
import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import numpy as np
import pipelines
import pytest
import torch
from checkpoints import save
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.convert.convert import convert
from inkdrop.convert.sd.export import export_folder, export_single, single_weights
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.pipelines import pipeline
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.versions import SD2, SDXL, VERSIONS
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import X0, Eps, V
from inkdrop.diffusion.process import VP
from inkdrop.model import Model
from inkdrop.networks.unet import UNet

NAMES = ("sd15", "sd21", "sdxl", "refiner", "inpainting")
PARTS = ("unet", "vae")


def files(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {p: load_file(folder / p / "diffusion_pytorch_model.safetensors") for p in PARTS}


def identical(folder: Path, other: Path) -> bool:
    """True if both folders hold the same weights, of the same types, to the bit."""
    ours, theirs = files(folder), files(other)
    for part in PARTS:
        assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs[part].items():
            assert value.dtype == ours[part][name].dtype
            assert torch.equal(value.view(torch.uint8), ours[part][name].view(torch.uint8)), name
    return True


def original(folder: Path, name: str, unet: torch.dtype, vae: torch.dtype) -> Path:
    networks = {"unet": checkpoints.unet(name), "vae": checkpoints.vae(name)}
    for part, dtype in (("unet", unet), ("vae", vae)):
        if dtype != torch.float32:
            networks[part].to(dtype)
    return save(folder, name, **networks)


@pytest.mark.parametrize("name", NAMES)
def test_every_round_trip(tmp_path: Path, name: str) -> None:
    half, single = torch.float16, torch.float32
    first = original(tmp_path / "first", name, half, single)
    model, _ = to_model(read(first))
    export_folder(model, tmp_path / "folder")
    assert identical(tmp_path / "folder", first)
    export_single(model, tmp_path / "single.safetensors")
    again, _ = to_model(read(tmp_path / "single.safetensors"))
    assert again.network.config == model.network.config
    assert (again.process, again.parameterization) == (model.process, model.parameterization)
    export_folder(again, tmp_path / "again")
    assert identical(tmp_path / "again", first)
    export_single(to_model(read(tmp_path / "again"))[0], tmp_path / "second.safetensors")
    one, two = (tmp_path / f"{n}.safetensors" for n in ("single", "second"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_through_a_folder_of_our_own(tmp_path: Path, dtype: torch.dtype) -> None:
    first = original(tmp_path / "first", "sd15", dtype, dtype)
    to_model(read(first))[0].save(tmp_path / "own")
    stored = load_file(tmp_path / "own" / "network.safetensors")
    assert {value.dtype for value in stored.values()} == {dtype}
    loaded = Model.load(tmp_path / "own", dtype=dtype)
    export_folder(loaded, tmp_path / "back")
    assert identical(tmp_path / "back", first)


def test_sizes_that_differ_stay(tmp_path: Path) -> None:
    first = original(tmp_path / "first", "sd15", torch.float16, torch.float16)
    checkpoints.edit(first / "unet" / "config.json", sample_size=[8, 12])
    model, _ = to_model(read(first))
    assert model.spec.shape == (3, 64, 96)
    export_folder(model, tmp_path / "folder")
    assert to_model(read(tmp_path / "folder"))[0].spec.shape == (3, 64, 96)


@pytest.mark.parametrize("name", NAMES)
def test_diffusers_opens_what_is_exported(tmp_path: Path, name: str) -> None:
    first = original(tmp_path / "first", name, torch.float32, torch.float32)
    export_folder(to_model(read(first))[0], tmp_path / "out")
    for part, cls in (("unet", diffusers.UNet2DConditionModel), ("vae", diffusers.AutoencoderKL)):
        theirs, ours = (cls.from_pretrained(path / part) for path in (first, tmp_path / "out"))
        said = {k: v for k, v in theirs.config.items() if not k.startswith("_")}
        kept = {k: ours.config[k] for k in said}
        loose = ("upcast_attention", "down_block_types", "up_block_types", "block_out_channels")
        for key in said:
            value, other = (list(v) if isinstance(v, tuple) else v for v in (said[key], kept[key]))
            assert value == other or key in loose or _alike(value, other), key
        expected = theirs.state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in ours.state_dict().items())
    scheduler = diffusers.DDIMScheduler.from_pretrained(tmp_path / "out" / "scheduler")
    told = checkpoints.scheduler(name)
    assert scheduler.config.prediction_type == told.get("prediction_type", "epsilon")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == checkpoints.PIPELINES[name]


def _alike(value: Any, other: Any) -> bool:
    """True for one number for all levels and the same number for each."""
    return isinstance(value, list) and set(value) == {other}


def test_a_tiny_autoencoder(tmp_path: Path) -> None:
    theirs = checkpoints.random(diffusers.AutoencoderTiny(latent_channels=4))
    save(tmp_path / "first", "sd15", unet=checkpoints.unet("sd15"), vae=theirs)
    model, _ = to_model(read(tmp_path / "first"))
    export_folder(model, tmp_path / "out")
    assert identical(tmp_path / "out", tmp_path / "first")
    diffusers.AutoencoderTiny.from_pretrained(tmp_path / "out" / "vae")
    with pytest.raises(ValueError, match="no place for a tiny autoencoder; export a folder"):
        single_weights(model)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: Any) -> Model:
    folder = tmp_path_factory.mktemp("sd15")
    return to_model(read(original(folder, "sd15", torch.float32, torch.float32)))[0]


@pytest.mark.parametrize(
    ("process", "parameterization", "marks"),
    [
        (Discrete("scaled_linear"), Eps(), set()),
        (Discrete("scaled_linear"), V(), {"v_pred"}),
        (Discrete("scaled_linear", zero_terminal_snr=True), V(), {"v_pred", "ztsnr"}),
    ],
)
def test_schedules_survive(
    sd15: Model, tmp_path: Path, process: Discrete, parameterization: Any, marks: set[str]
) -> None:
    model = dataclasses.replace(sd15, process=process, parameterization=parameterization)
    export_single(model, tmp_path / "a.safetensors", text={"cond_stage_model.a": torch.ones(1)})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert {n for n in file.keys() if "." not in n} == marks  # noqa: SIM118
        assert "cond_stage_model.a" in file.keys()  # noqa: SIM118
    export_single(model, tmp_path / "a.safetensors")
    export_folder(model, tmp_path / "b")
    for path in (tmp_path / "a.safetensors", tmp_path / "b"):
        again, _ = to_model(read(path))
        assert (again.process, again.parameterization) == (process, parameterization)


def test_schedules_that_only_a_folder_can_say(sd15: Model, tmp_path: Path) -> None:
    model = dataclasses.replace(sd15, process=Discrete("linear", ends=(0.001, 0.01)))
    with pytest.raises(ValueError, match="is not what a single file implies; export a folder"):
        single_weights(model)
    export_folder(model, tmp_path / "a")
    assert to_model(read(tmp_path / "a"))[0].process == model.process
    with pytest.raises(ValueError, match=r"X0.* is not what a single file implies"):
        single_weights(dataclasses.replace(sd15, parameterization=X0()))


def test_what_has_no_place_in_a_layout(sd15: Model, tmp_path: Path) -> None:
    assert isinstance(sd15.network, UNet) and isinstance(sd15.codec, Latent)
    wide = dataclasses.replace(sd15.codec.config, scale=(0.5,) * 4)
    with pytest.raises(ValueError, match=r"scaled by 0.5, but a .* file of sd1 implies 0.18215"):
        single_weights(dataclasses.replace(sd15, codec=Latent(wide, sd15.codec.autoencoder)))
    heads = UNet(dataclasses.replace(sd15.network.config, heads=4))
    with pytest.raises(ValueError, match=r"heads of the U-Net is 4, but a single .* implies 8"):
        single_weights(dataclasses.replace(sd15, network=heads))
    patched = UNet(dataclasses.replace(sd15.network.config, odd_sizes="pad"))
    with pytest.raises(ValueError, match="odd_sizes is 'pad', which this format cannot express"):
        export_folder(dataclasses.replace(sd15, network=patched), tmp_path / "a")
    config = sd15.codec.config.autoencoder
    norm = dataclasses.replace(config, norm_eps=1e-5)
    codec = Latent(LatentConfig(norm, (0.0,) * 4, (1.0,) * 4))
    with pytest.raises(ValueError, match="norm_eps of the autoencoder is 1e-05"):
        export_folder(dataclasses.replace(sd15, codec=codec), tmp_path / "a")
    with pytest.raises(ValueError, match="a VP process with a network that predicts Eps cannot"):
        export_folder(dataclasses.replace(sd15, process=VP()), tmp_path / "a")
    assert not (tmp_path / "a").exists()  # nothing half written


def test_channels_that_no_pipeline_takes() -> None:
    with pytest.raises(
        ValueError, match=r"no pipeline of diffusers takes 3 channels beside .* sdxl"
    ):
        pipeline(SDXL, 3)
    assert pipeline(SD2, 1)["depth_estimator"] == [None, None]
    known = {name for version in VERSIONS for name in version.pipelines.values()}
    assert all(hasattr(diffusers, name) for name in known)


@pytest.mark.parametrize("name", pipelines.TEXTS)
def test_diffusers_opens_the_whole_as_what_it_is(tmp_path: Path, name: str) -> None:
    first = pipelines.saved(tmp_path / "first", name)
    convert(tmp_path / "first", tmp_path / "out", "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "out")
    again.set_progress_bar_config(disable=True)
    assert type(again) is type(first)
    again.scheduler = first.scheduler
    made, expected = (painted(pipe) for pipe in (again, first))
    assert expected.std() > 0 and np.allclose(made, expected, atol=1e-4)


def painted(pipe: Any) -> Any:
    """A picture by a pipeline, from words and whatever else it takes."""
    grey = Image.new("RGB", (64, 64), (90, 120, 30))
    given: dict[str, Any] = {"prompt": "a", "num_inference_steps": 4, "output_type": "np"}
    takes = inspect.signature(pipe.__call__).parameters
    given |= {"image": grey} if "image" in takes else {"height": 64, "width": 64}
    given |= {"mask_image": grey.convert("L")} if "mask_image" in takes else {}
    given["generator"] = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipe(**given).images
