"""The U-Net against diffusers' with the same random weights, at the real topologies."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from diffusers_keys import translated
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.sd.unet_keys import diffusers_naming
from inkdrop.networks.unet import UNet, UNetConfig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

BATCH, TOKENS = 2, 7
DDPM = UNetConfig(
    width=8,
    multipliers=(1, 2, 2, 2),
    attention=(1,),
    heads=1,
    modulation="add",
    time_order="sin_cos",
    time_shift=1.0,
    down_padding="asymmetric",
    norm_groups=4,
    norm_eps=1e-6,
)
ADM = UNetConfig(
    out_channels=6,
    width=8,
    multipliers=(1, 2, 3, 4),
    blocks=3,
    attention=(2, 3),
    head_channels=8,
    num_classes=10,
    resample="resblock",
    norm_groups=4,
)
SD15 = UNetConfig(
    in_channels=4,
    width=16,
    multipliers=(1, 2, 4, 4),
    attention=(0, 1, 2),
    heads=4,
    cross_attention_dim=12,
    projection="conv",
    modulation="add",
    norm_groups=4,
    odd_sizes="resize",
)
SD21 = UNetConfig(
    in_channels=4,
    width=16,
    multipliers=(1, 2, 4, 4),
    attention=(0, 1, 2),
    head_channels=8,
    cross_attention_dim=20,
    modulation="add",
    norm_groups=4,
    odd_sizes="resize",
)
SDXL = UNetConfig(
    in_channels=4,
    width=16,
    multipliers=(1, 2, 4),
    attention=(1, 2),
    head_channels=8,
    cross_attention_dim=24,
    transformer_depth=(1, 2, 3),
    vector_dim=16 + 6 * 8,
    modulation="add",
    norm_groups=4,
    odd_sizes="resize",
)
REFINER = UNetConfig(
    in_channels=4,
    width=16,
    multipliers=(1, 2, 4, 4),
    attention=(1, 2),
    heads=(2, 4, 8, 8),
    cross_attention_dim=24,
    transformer_depth=2,
    vector_dim=16 + 5 * 8,
    modulation="add",
    norm_groups=4,
    odd_sizes="resize",
)


def widths(config: UNetConfig) -> tuple[int, ...]:
    return tuple(config.channels_at(level) for level in range(config.levels))


def paired(theirs: Any, config: UNetConfig) -> tuple[Any, UNet]:
    """Their network with random weights (none at zero) and ours with the same."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = UNet(config)
    ours.load_state_dict(translated(theirs.state_dict(), ours, diffusers_naming(config)))
    return theirs.eval(), ours.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def names(config: UNetConfig, kind: str, plain: str) -> tuple[str, ...]:
    return tuple(kind if config.attends(level) else plain for level in range(config.levels))


def unet2d(config: UNetConfig, **more: Any) -> Any:
    return diffusers.UNet2DModel(
        block_out_channels=widths(config),
        layers_per_block=config.blocks,
        norm_num_groups=config.norm_groups,
        norm_eps=config.norm_eps,
        **more,
    )


def unet2d_condition(config: UNetConfig, **more: Any) -> Any:
    down = names(config, "CrossAttnDownBlock2D", "DownBlock2D")
    up = names(config, "CrossAttnUpBlock2D", "UpBlock2D")[::-1]
    return diffusers.UNet2DConditionModel(
        in_channels=config.in_channels + config.concat_channels,
        block_out_channels=widths(config),
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=config.norm_groups,
        cross_attention_dim=config.cross_attention_dim,
        use_linear_projection=config.projection == "linear",
        **more,
    )


def test_ddpm() -> None:
    theirs, ours = paired(
        unet2d(
            DDPM,
            down_block_types=names(DDPM, "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=names(DDPM, "AttnUpBlock2D", "UpBlock2D")[::-1],
            attention_head_dim=None,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
        ),
        DDPM,
    )
    x, t = torch.randn(BATCH, 3, 16, 24), torch.tensor([3.0, 981.0])
    with torch.no_grad():
        assert difference(ours(x, t, Cond()), theirs(x, t).sample) < 1e-5


def test_adm() -> None:
    theirs, ours = paired(
        unet2d(
            ADM,
            out_channels=ADM.out_channels,
            down_block_types=("ResnetDownsampleBlock2D",) * 2 + ("AttnDownBlock2D",) * 2,
            up_block_types=("AttnUpBlock2D",) * 2 + ("ResnetUpsampleBlock2D",) * 2,
            attention_head_dim=ADM.head_channels,
            attn_norm_num_groups=ADM.norm_groups,
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=ADM.num_classes,
        ),
        ADM,
    )
    x, t, label = torch.randn(BATCH, 3, 16, 24), torch.tensor([3.5, 981.0]), torch.tensor([0, 9])
    with torch.no_grad():
        expected = theirs(x, t, class_labels=label).sample
        assert difference(ours(x, t, Cond(label=label)), expected) < 1e-5


@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
@pytest.mark.parametrize(
    ("config", "heads"),
    [(SD15, 4), (SD21, (2, 4, 8, 8))],
    ids=["sd15", "sd21"],
)
def test_stable_diffusion(config: UNetConfig, heads: Any, size: tuple[int, int]) -> None:
    theirs, ours = paired(unet2d_condition(config, attention_head_dim=heads), config)
    x, t = torch.randn(BATCH, 4, *size), torch.tensor([3.0, 981.0])
    tokens = torch.randn(BATCH, TOKENS, config.cross_attention_dim or 0)
    mask = torch.tensor([[True] * TOKENS, [True] * 3 + [False] * (TOKENS - 3)])
    with torch.no_grad():
        plain = theirs(x, t, tokens).sample
        masked = theirs(x, t, tokens, encoder_attention_mask=mask).sample
        assert difference(ours(x, t, Cond(tokens=tokens)), plain) < 1e-5
        assert difference(ours(x, t, Cond(tokens=tokens, mask=mask)), masked) < 1e-5


def test_inpainting_takes_nine_channels() -> None:
    config = UNetConfig(**{**vars(SD15), "concat_channels": 5, "out_channels": 4})
    theirs, ours = paired(unet2d_condition(config, attention_head_dim=4), config)
    x, t, extra = torch.randn(BATCH, 4, 8, 8), torch.tensor([3.0, 9.0]), torch.randn(BATCH, 5, 8, 8)
    tokens = torch.randn(BATCH, TOKENS, config.cross_attention_dim or 0)
    with torch.no_grad():
        expected = theirs(torch.cat([x, extra], dim=1), t, tokens).sample
        assert difference(ours(x, t, Cond(tokens=tokens, concat=extra)), expected) < 1e-5


@pytest.mark.parametrize(
    ("config", "heads", "depth", "ids"),
    [(SDXL, (2, 4, 8), (1, 2, 3), 6), (REFINER, (2, 4, 8, 8), 2, 5)],
    ids=["base", "refiner"],
)
def test_stable_diffusion_xl(config: UNetConfig, heads: Any, depth: Any, ids: int) -> None:
    theirs, ours = paired(
        unet2d_condition(
            config,
            attention_head_dim=heads,
            transformer_layers_per_block=depth,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=config.vector_dim,
        ),
        config,
    )
    x, t = torch.randn(BATCH, 4, 16, 12), torch.tensor([3.0, 981.0])
    tokens = torch.randn(BATCH, TOKENS, config.cross_attention_dim or 0)
    pooled, sizes = torch.randn(BATCH, 16), torch.tensor([[16.0, 12, 0, 0, 16, 12]] * 2)[:, :ids]
    waves = theirs.add_time_proj(sizes.flatten()).view(BATCH, -1)
    cond = Cond(tokens=tokens, vector=torch.cat([pooled, waves], dim=1))
    with torch.no_grad():
        added = {"text_embeds": pooled, "time_ids": sizes}
        expected = theirs(x, t, tokens, added_cond_kwargs=added).sample
        assert difference(ours(x, t, cond), expected) < 1e-5
