"""Every argument of diffusers' networks is followed to the same numbers, or refused by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import difference, edit, random
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.control import open_control
from inkdrop.convert.files.fill import filled
from inkdrop.convert.sd.model import to_codec
from inkdrop.convert.sd.read import read
from inkdrop.networks.layers import sinusoidal
from inkdrop.networks.unet import UNet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

WIDTH, CROSS, POOLED = 32, 24, 16
ATTENDS = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
UNET: dict[str, Any] = {
    "block_out_channels": (WIDTH, 2 * WIDTH), "layers_per_block": 1, "norm_num_groups": 8,
    "attention_head_dim": 4, "cross_attention_dim": CROSS,
    "down_block_types": ATTENDS[0], "up_block_types": ATTENDS[1],
}  # fmt: skip
CONTROL = {name: value for name, value in UNET.items() if name != "up_block_types"} | {
    "conditioning_embedding_out_channels": (4, 8)
}
VAE: dict[str, Any] = {
    "block_out_channels": (8, 16), "norm_num_groups": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
TINY: dict[str, Any] = {
    "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 2), "num_decoder_blocks": (2, 1),
}  # fmt: skip
BASES = {
    "UNet2DConditionModel": UNET, "ControlNetModel": CONTROL, "AutoencoderKL": VAE,
    "AutoencoderTiny": TINY,
}  # fmt: skip

# Other values of every argument; None where None means something else than the default.
VALUES: dict[str, tuple[Any, ...]] = {
    "act_fn": ("gelu", "relu", "mish", "swish", None),
    "addition_embed_type": ("text", "text_image", "image", "image_hint"),
    "addition_embed_type_num_heads": (8,),
    "addition_time_embed_dim": (8,),
    "attention_head_dim": (8, (4, 8), (8, 4), (2, 4, 8)),
    "attention_type": ("gated", "gated-text-image"),
    "block_out_channels": ((WIDTH, WIDTH), (2 * WIDTH, WIDTH), (24, 40), (WIDTH,)),
    "center_input_sample": (True,),
    "class_embed_type": ("timestep", "identity", "simple_projection"),
    "class_embeddings_concat": (True,),
    "conditioning_channels": (1,),
    "conditioning_embedding_out_channels": ((4,), (4, 8, 8)),
    "controlnet_conditioning_channel_order": ("bgr", "gbr"),
    "conv_in_kernel": (1, 5),
    "conv_out_kernel": (1, 5),
    "cross_attention_dim": (16, (16, 24), None),
    "cross_attention_norm": ("layer_norm", "group_norm"),
    "decoder_block_out_channels": ((8, 16), (16, 16)),
    "down_block_types": (
        ("DownBlock2D", "CrossAttnDownBlock2D"), ("AttnDownBlock2D", "DownBlock2D"),
        ("SimpleCrossAttnDownBlock2D", "DownBlock2D"), ("ResnetDownsampleBlock2D", "DownBlock2D"),
        ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"), ("DownBlock2D", "DownBlock2D"),
    ),
    "downsample_padding": (0, 2),
    "dropout": (0.5,),
    "dual_cross_attention": (True,),
    "encoder_block_out_channels": ((8, 16), (16, 16)),
    "encoder_hid_dim": (16,),
    "encoder_hid_dim_type": ("text_proj", "image_proj"),
    "flip_sin_to_cos": (False, "false"),
    "force_upcast": (True, False, None),
    "freq_shift": (1, 2),
    "global_pool_conditions": (True,),
    "in_channels": (3, 5, 9),
    "latent_channels": (2, 8),
    "latent_magnitude": (5,),
    "latent_shift": (0.0,),
    "latents_mean": ((0.1, 0.2, 0.3, 0.4), (0.1,)),
    "latents_std": ((1.0, 2.0, 3.0, 4.0), (1.0, 0.0, 1.0, 1.0)),
    "layers_per_block": (2, (1, 2), (2, 1)),
    "mid_block_add_attention": (False, "no"),
    "mid_block_only_cross_attention": (True, False),
    "mid_block_scale_factor": (2, 0.5),
    "mid_block_type": ("UNetMidBlock2D", "UNetMidBlock2DSimpleCrossAttn", None),
    "norm_eps": (1e-2, "1e-2"),
    "norm_num_groups": (4, None),
    "num_attention_heads": (2, 4),
    "num_class_embeds": (10,),
    "num_decoder_blocks": ((1, 1), (1, 2)),
    "num_encoder_blocks": ((2, 1), (3, 3)),
    "only_cross_attention": (True, (True, False), (False, False)),
    "out_channels": (3, 5, 8),
    "projection_class_embeddings_input_dim": (64,),
    "resnet_out_scale_factor": (2.0,),
    "resnet_skip_time_act": (True,),
    "resnet_time_scale_shift": ("scale_shift", "ada_group"),
    "reverse_transformer_layers_per_block": ((2, 1), (1, 1)),
    "sample_size": (16, (8, 16)),
    "scaling_factor": (0.5, 1.0),
    "shift_factor": (0.25,),
    "time_cond_proj_dim": (16,),
    "time_embedding_act_fn": ("silu", "gelu"),
    "time_embedding_dim": (96,),
    "time_embedding_type": ("fourier",),
    "timestep_post_act": ("silu", "gelu"),
    "transformer_layers_per_block": (2, (2, 1), (1, 2), ((1,), (2,))),
    "up_block_types": (
        ("UpBlock2D", "AttnUpBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D"),
        ("UpBlock2D", "SimpleCrossAttnUpBlock2D"), ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
    ),
    "upcast_attention": (True, None),
    "upsample_fn": ("bilinear", "bicubic"),
    "upsampling_scaling_factor": (4,),
    "use_linear_projection": (True, "false"),
    "use_post_quant_conv": (False,),
    "use_quant_conv": (False,),
}  # fmt: skip
# Values that need others beside them.
TOGETHER: dict[str, tuple[dict[str, Any], ...]] = {
    "UNet2DConditionModel": (
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 256,
         "projection_class_embeddings_input_dim": POOLED + 6 * 256},
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 128,
         "projection_class_embeddings_input_dim": POOLED + 6 * 128},
        {"act_fn": "gelu", "use_linear_projection": True},
        {"down_block_types": ATTENDS[0][::-1], "up_block_types": ATTENDS[1][::-1]},
        {"in_channels": 3, "out_channels": 3},
    ),
    "ControlNetModel": (
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 256,
         "projection_class_embeddings_input_dim": POOLED + 6 * 256},
    ),
    "AutoencoderKL": (
        {"use_quant_conv": False, "use_post_quant_conv": False},
        {"in_channels": 4, "out_channels": 4},
        {"latents_mean": (0.1, 0.2, 0.3, 0.4), "latents_std": (1.0, 2.0, 3.0, 4.0)},
    ),
    "AutoencoderTiny": (
        {"encoder_block_out_channels": (16, 16), "decoder_block_out_channels": (16, 16)},
        {"in_channels": 4, "out_channels": 4},
        {"latent_shift": 0.1, "latent_magnitude": 1},
    ),
}  # fmt: skip


def arguments(cls: str) -> list[str]:
    found = inspect.signature(getattr(diffusers, cls).__init__).parameters
    return [name for name in found if name != "self"]


def cases() -> list[Any]:
    """(class, settings besides the smallest) for every argument and value."""
    found = []
    for cls in BASES:
        each = [{name: value} for name in arguments(cls) for value in VALUES.get(name, ())]
        for change in ({}, *each, *TOGETHER[cls]):
            named = ",".join(f"{name}={value}" for name, value in change.items())
            found.append(pytest.param(cls, change, id=f"{cls}-{named}".replace(" ", "")))
    return found


@pytest.mark.parametrize("cls", BASES)
def test_no_argument_is_forgotten(cls: str) -> None:
    assert not [name for name in arguments(cls) if name not in VALUES]


@pytest.mark.parametrize(("cls", "change"), cases())
def test_followed_or_refused(cls: str, change: dict[str, Any], tmp_path: Path) -> None:
    theirs = made(cls, {**BASES[cls], **change})
    wanted = None if theirs is None else said(THEIRS[cls], theirs)
    saved = theirs or made(cls, BASES[cls])
    saved.save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **change)
    found, refusal = list[Tensor](), ""
    try:
        found = OURS[cls](tmp_path, saved.config)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal and str(tmp_path) in refusal
        assert change and not any(change.items() <= kept.items() for kept in FOLLOWED[cls])
        return
    assert wanted is not None, "it is read, but not by diffusers"
    for ours, right in zip(found, wanted, strict=True):
        assert ours.shape == right.shape and difference(ours, right) < 1e-4


def made(cls: str, told: Mapping[str, Any]) -> Any:
    """Their network; None if these settings are not accepted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return random(getattr(diffusers, cls)(**told))
    except Exception:  # of any type
        return None


def said(answer: Callable[[Any], list[Tensor]], theirs: Any) -> list[Tensor] | None:
    """What their network says; None if its settings only fail when it is called."""
    try:
        return answer(theirs)
    except Exception:
        return None


def given(config: Any) -> dict[str, Tensor]:
    torch.manual_seed(1)
    cross = config.cross_attention_dim
    found = {
        "x": torch.randn(2, config.in_channels, 10, 6),
        "t": torch.tensor([1.0, 981.0]),
        "tokens": torch.randn(2, 7, cross if isinstance(cross, int) else CROSS),
        "guidance": torch.tensor([3.5, 8.5]),
    }
    if config.addition_embed_type == "text_time":
        sizes = torch.tensor([[64.0, 96, 0, 8, 64, 96]]).expand(2, -1)
        waves = sinusoidal(sizes.flatten(), config.addition_time_embed_dim).view(2, -1)
        found |= {"pooled": torch.randn(2, POOLED), "sizes": sizes, "waves": waves}
    return found


def told_of(asked: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments of their call for pooled text and sizes."""
    if "pooled" not in asked:
        return {}
    return {"added_cond_kwargs": {"text_embeds": asked["pooled"], "time_ids": asked["sizes"]}}


def cond_of(asked: dict[str, Tensor], **more: Tensor | None) -> Cond:
    vector = torch.cat([asked["pooled"], asked["waves"]], dim=1) if "pooled" in asked else None
    return Cond(tokens=asked["tokens"], vector=vector, **more)


def their_unet(network: Any) -> list[Tensor]:
    asked, more = given(network.config), {}
    if network.config.time_cond_proj_dim is not None:
        dim = network.config.time_cond_proj_dim
        more["timestep_cond"] = sinusoidal(
            1000 * (asked["guidance"] - 1), dim, order="sin_cos", shift=1
        )
    return [network(asked["x"], asked["t"], asked["tokens"], **told_of(asked), **more).sample]


def our_unet(folder: Path, config: Any) -> list[Tensor]:
    part = read(folder).unet
    assert part is not None
    network, _ = filled(lambda: UNet(part.config), part, "unet", str(folder), None)
    asked = given(config)
    x = asked["x"][:, : part.config.in_channels]
    beside = asked["x"][:, part.config.in_channels :]
    cond = cond_of(
        asked, concat=beside if beside.shape[1] else None,
        guidance=asked["guidance"] if part.config.guidance_dim else None,
    )  # fmt: skip
    return [network(x, asked["t"], cond)]


def hint_of(config: Any) -> Tensor:
    torch.manual_seed(2)
    factor = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
    return torch.rand(2, config.conditioning_channels, 10 * factor, 6 * factor)


def their_control(network: Any) -> list[Tensor]:
    asked = given(network.config)
    skips, middle = network(
        asked["x"], asked["t"], asked["tokens"], controlnet_cond=hint_of(network.config),
        return_dict=False, **told_of(asked),
    )  # fmt: skip
    return [*skips, middle]


def our_control(folder: Path, config: Any) -> list[Tensor]:
    network, _ = open_control(folder, dtype=None)
    asked = given(config)
    found = network(asked["x"], asked["t"], cond_of(asked, hint=hint_of(config)))
    assert found.middle is not None
    return [*found.skips, found.middle]


def coded(config: Any) -> tuple[Tensor, Tensor]:
    """A picture and a code, as diffusion sees it."""
    torch.manual_seed(3)
    factor = 2 ** (len(config.decoder_block_out_channels if "decoder_block_out_channels" in config
                       else config.block_out_channels) - 1)  # fmt: skip
    picture = torch.randn(2, config.in_channels, 10 * factor, 6 * factor)
    return picture, torch.randn(2, config.latent_channels, 10, 6)


def their_autoencoder(network: Any) -> list[Tensor]:
    """With the scaling that every pipeline applies around it."""
    config = network.config
    picture, z = coded(config)
    code = network.encode(picture)
    code = code.latents if hasattr(code, "latents") else code.latent_dist.mean
    row = (1, -1, 1, 1)
    mean = torch.tensor(config.get("latents_mean") or [0.0]).view(row) + (config.shift_factor or 0)
    scale = config.scaling_factor / torch.tensor(config.get("latents_std") or [1.0]).view(row)
    return [(code - mean) * scale, network.decode(z / scale + mean).sample]


def our_autoencoder(folder: Path, config: Any) -> list[Tensor]:
    codec, _ = to_codec(read(folder))
    picture, z = coded(config)
    return [codec.encode(picture), codec.decode(z)]


THEIRS = {
    "UNet2DConditionModel": their_unet, "ControlNetModel": their_control,
    "AutoencoderKL": their_autoencoder, "AutoencoderTiny": their_autoencoder,
}  # fmt: skip
OURS = {
    "UNet2DConditionModel": our_unet, "ControlNetModel": our_control,
    "AutoencoderKL": our_autoencoder, "AutoencoderTiny": our_autoencoder,
}  # fmt: skip
# What published models use, which must not be refused.
_NETWORKS: tuple[dict[str, Any], ...] = (
    {"act_fn": "swish"}, {"flip_sin_to_cos": False}, {"freq_shift": 1}, {"layers_per_block": 2},
    {"use_linear_projection": True}, {"transformer_layers_per_block": (1, 2)},
    {"attention_head_dim": (4, 8)}, {"upcast_attention": True}, {"upcast_attention": None},
    {"only_cross_attention": (False, False)}, {"mid_block_only_cross_attention": False},
    {"controlnet_conditioning_channel_order": "bgr"}, {"time_cond_proj_dim": 16},
    {"in_channels": 9},
)  # fmt: skip
FOLLOWED: dict[str, tuple[dict[str, Any], ...]] = {
    "UNet2DConditionModel": _NETWORKS,
    "ControlNetModel": _NETWORKS,
    "AutoencoderKL": (
        {"act_fn": "swish"}, {"mid_block_add_attention": False}, {"shift_factor": 0.25},
        {"force_upcast": False}, {"layers_per_block": 2},
    ),
    "AutoencoderTiny": ({"scaling_factor": 0.5}, {"shift_factor": 0.25}, {"latent_magnitude": 5}),
}  # fmt: skip
