"""Checkpoints of the Stable Diffusion family as diffusers makes them: real shapes, scaled down."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"
VECTOR = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}

# The settings of the published models that are not defaults; widths are scaled by `small`.
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {
        "attends": (True, True, True, False), "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64,
    },
    "sd21": {
        "attends": (True, True, True, False), "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024, "sample_size": 96,
        "use_linear_projection": True, "upcast_attention": True,
    },
    "sdxl": {
        "attends": (False, True, True), "block_out_channels": (320, 640, 1280),
        "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048, "sample_size": 128,
        "use_linear_projection": True, "transformer_layers_per_block": (1, 2, 10), **VECTOR,
        "projection_class_embeddings_input_dim": 1280 + 6 * 256,
    },
    "refiner": {
        "attends": (False, True, True, False), "block_out_channels": (384, 768, 1536, 1536),
        "attention_head_dim": (6, 12, 24, 24), "cross_attention_dim": 1280, "sample_size": 128,
        "use_linear_projection": True, "transformer_layers_per_block": 4, **VECTOR,
        "projection_class_embeddings_input_dim": 1280 + 5 * 256,
    },
}  # fmt: skip
UNETS["inpainting"] = {**UNETS["sd15"], "in_channels": 9}
UNETS["pix2pix"] = {**UNETS["sd15"], "in_channels": 8}
UNETS["sd21 inpainting"] = {**UNETS["sd21"], "in_channels": 9, "sample_size": 64}
UNETS["sdxl inpainting"] = {**UNETS["sdxl"], "in_channels": 9}

VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512}
SCALES = {"sdxl": 0.13025, "refiner": 0.13025, "sdxl inpainting": 0.13025}

PIPELINES = {
    "sd15": "StableDiffusionPipeline",
    "sd21": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "pix2pix": "StableDiffusionInstructPix2PixPipeline",
    "sd21 inpainting": "StableDiffusionInpaintPipeline",
    "sdxl inpainting": "StableDiffusionXLInpaintPipeline",
}
FAMILIES = tuple(UNETS)
POOLED = 16


def settings(name: str) -> dict[str, Any]:
    """The arguments of a published U-Net."""
    told = dict(UNETS[name])
    attends = told.pop("attends")
    kinds = [CROSS if has else PLAIN for has in attends]
    return {
        "down_block_types": tuple(kind.format("Down") for kind in kinds),
        "up_block_types": tuple(kind.format("Up") for kind in reversed(kinds)),
        **told,
    }


def small(name: str) -> dict[str, Any]:
    """The same scaled down; heads of 64 channels stay so, and all the structure does."""
    told = settings(name)
    wide = told["block_out_channels"]
    width = 64 if told.get("use_linear_projection") else 32
    told["block_out_channels"] = tuple(width * c // wide[0] for c in wide)
    if isinstance(told["attention_head_dim"], tuple):
        told["attention_head_dim"] = tuple(c // 64 for c in told["block_out_channels"])
    told |= {"cross_attention_dim": 24, "sample_size": 8}
    if "transformer_layers_per_block" in told:
        deep = isinstance(told["transformer_layers_per_block"], tuple)
        told["transformer_layers_per_block"] = (1, 1, 2) if deep else 2
    if "projection_class_embeddings_input_dim" in told:
        told["projection_class_embeddings_input_dim"] += POOLED - 1280
    return told


def unet(name: str) -> Any:
    return random(diffusers.UNet2DConditionModel(**small(name)))


def vae(name: str = "sd15", **more: Any) -> Any:
    widths = tuple(c // 4 for c in VAE["block_out_channels"])
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4,
             "up_block_types": ("UpDecoderBlock2D",) * 4}  # fmt: skip
    told = {**VAE, **kinds, "block_out_channels": widths, "sample_size": 64}
    told |= {"scaling_factor": SCALES.get(name, 0.18215), **more}
    return random(diffusers.AutoencoderKL(**told))


def random(network: Any) -> Any:
    """The network with no weight at zero, in evaluation mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


def scheduler(name: str) -> dict[str, Any]:
    stable = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
              "num_train_timesteps": 1000, "steps_offset": 1, "set_alpha_to_one": False,
              "clip_sample": False, "trained_betas": None}  # fmt: skip
    if name == "sd21":
        return {**stable, "_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    if "xl" in name or name == "refiner":
        more = {"timestep_spacing": "leading", "interpolation_type": "linear"}
        return {**stable, **more, "_class_name": "EulerDiscreteScheduler"}
    return {**stable, "_class_name": "PNDMScheduler", "skip_prk_steps": True}


def save(folder: Path, name: str, *, unet: Any = None, vae: Any = None, **how: Any) -> Path:
    """A folder as diffusers saves a pipeline, with the networks that are given; how: they save."""
    index: dict[str, Any] = {
        "_class_name": PIPELINES[name],
        "_diffusers_version": "0.42.0",
        "scheduler": ["diffusers", scheduler(name)["_class_name"]],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for part, network in (("unet", unet), ("vae", vae)):
        if network is not None:
            network.save_pretrained(folder / part, **how)
            index[part] = ["diffusers", type(network).__name__]
    write(folder / "scheduler" / "scheduler_config.json", scheduler(name))
    write(folder / "model_index.json", index)
    return folder


def stored(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """A single file of weights, contiguous ones."""
    save_file(weights, path, metadata)
    return path


def write(file: Path, data: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(data))


def edit(file: Path, **changes: Any) -> None:
    """Changes keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def asked(name: str, size: tuple[int, int], batch: int = 3) -> dict[str, Tensor]:
    """What a U-Net is asked, with one name for each thing: x, beside, t, tokens, pooled, sizes."""
    torch.manual_seed(1)
    told = small(name)
    extra = told.get("in_channels", 4) - 4
    found = {
        "x": torch.randn(batch, 4, *size),
        "t": torch.tensor([1.0, 501.0, 981.0])[:batch],
        "tokens": torch.randn(batch, 77, told["cross_attention_dim"]),
    }
    if extra:
        found["beside"] = torch.randn(batch, extra, *size)
    if "projection_class_embeddings_input_dim" in told:
        count = (told["projection_class_embeddings_input_dim"] - POOLED) // 256
        found["pooled"] = torch.randn(batch, POOLED)
        found["sizes"] = torch.tensor([[64.0, 96, 0, 8, 64, 96][:count]] * batch)
    return found


def answer(theirs: Any, given: dict[str, Tensor]) -> Tensor:
    """What diffusers' U-Net says."""
    x = torch.cat([given[k] for k in ("x", "beside") if k in given], dim=1)
    added = None
    if "pooled" in given:
        added = {"text_embeds": given["pooled"], "time_ids": given["sizes"]}
    said: Tensor = theirs(x, given["t"], given["tokens"], added_cond_kwargs=added).sample
    return said


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def controlnet(name: str, **more: Any) -> Any:
    """A control network for a U-Net of this name, none of whose weights is zero."""
    told = {k: v for k, v in small(name).items() if k not in ("up_block_types", "sample_size")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return random(diffusers.ControlNetModel(**{**told, **more}))
