"""The diffusion transformer against diffusers' DiT and Stable Diffusion 3, with their weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.networks.dit import DiT, DiTConfig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

Weights = Mapping[str, Tensor]
WIDTH, HEADS, DEPTH, CHANNELS, SIZE, TOKENS = 24, 2, 3, 4, 8, 5
CONFIG = DiTConfig(
    in_channels=CHANNELS, width=WIDTH, depth=DEPTH, heads=HEADS, activation="gelu_tanh"
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def layer(ours: str, theirs: str, weights: Weights) -> dict[str, Tensor]:
    return {f"{ours}.{kind}": weights[f"{theirs}.{kind}"] for kind in ("weight", "bias")}


def stacked(ours: str, theirs: list[str], weights: Weights) -> dict[str, Tensor]:
    """One layer here that is several there."""
    return {
        f"{ours}.{kind}": torch.cat([weights[f"{name}.{kind}"] for name in theirs])
        for kind in ("weight", "bias")
    }


def halves_swapped(weights: Weights) -> dict[str, Tensor]:
    """Scale and shift in the other order."""
    return {key: torch.cat(value.chunk(2)[::-1]) for key, value in weights.items()}


def pixels_last(weights: Weights) -> dict[str, Tensor]:
    """The last layer's rows: theirs run over pixels and then channels, ours the other way."""
    return {
        key: value.unflatten(0, (4, CHANNELS)).transpose(0, 1).flatten(0, 1)
        for key, value in weights.items()
    }


def feed_forward(ours: str, theirs: str, weights: Weights) -> dict[str, Tensor]:
    first = layer(f"{ours}.first", f"{theirs}.net.0.proj", weights)
    return first | layer(f"{ours}.second", f"{theirs}.net.2", weights)


def embed(ours: str, theirs: str, weights: Weights) -> dict[str, Tensor]:
    first = layer(f"{ours}.first", f"{theirs}.linear_1", weights)
    return first | layer(f"{ours}.second", f"{theirs}.linear_2", weights)


def patches(weights: Weights) -> dict[str, Tensor]:
    kernel = weights["pos_embed.proj.weight"]
    return {"input.weight": kernel.flatten(1), "input.bias": weights["pos_embed.proj.bias"]}


def from_dit(weights: Weights) -> dict[str, Tensor]:
    """DiTTransformer2DModel's weights under our names."""
    first = "transformer_blocks.0.norm1.emb"
    ours = patches(weights) | embed("time", f"{first}.timestep_embedder", weights)
    ours["label.weight"] = weights[f"{first}.class_embedder.embedding_table.weight"]
    for n in range(DEPTH):
        there, here = f"transformer_blocks.{n}", f"blocks.{n}.picture"
        qkv = [f"{there}.attn1.to_{name}" for name in "qkv"]
        ours |= layer(f"{here}.modulate", f"{there}.norm1.linear", weights)
        ours |= stacked(f"{here}.project", qkv, weights)
        ours |= layer(f"{here}.out", f"{there}.attn1.to_out.0", weights)
        ours |= feed_forward(here, f"{there}.ff", weights)
    ours |= layer("modulate", "proj_out_1", weights)
    return ours | pixels_last(layer("output", "proj_out_2", weights))


def from_sd3(weights: Weights, *, norms: bool) -> dict[str, Tensor]:
    """SD3Transformer2DModel's weights under our names; its last block's text queries are dead."""
    time = "time_text_embed"
    ours = patches(weights) | embed("time", f"{time}.timestep_embedder", weights)
    ours |= embed("vector", f"{time}.text_embedder", weights)
    ours |= layer("tokens", "context_embedder", weights)
    for n in range(DEPTH):
        there, here, last = f"transformer_blocks.{n}", f"blocks.{n}", n == DEPTH - 1
        text = layer(f"{here}.text.modulate", f"{there}.norm1_context.linear", weights)
        ours |= layer(f"{here}.picture.modulate", f"{there}.norm1.linear", weights)
        ours |= halves_swapped(text) if last else text
        for stream, names in (("picture", "to_{}"), ("text", "add_{}_proj")):
            used = "kv" if last and stream == "text" else "qkv"
            parts = [f"{there}.attn.{names.format(name)}" for name in used]
            ours |= stacked(f"{here}.{stream}.project", parts, weights)
            added = "added_" if stream == "text" else ""
            for name in used[:-1] if norms else "":
                norm = weights[f"{there}.attn.norm_{added}{name}.weight"]
                ours[f"{here}.{stream}.norm_{name}.weight"] = norm
        ours |= layer(f"{here}.picture.out", f"{there}.attn.to_out.0", weights)
        ours |= feed_forward(f"{here}.picture", f"{there}.ff", weights)
        if not last:
            ours |= layer(f"{here}.text.out", f"{there}.attn.to_add_out", weights)
            ours |= feed_forward(f"{here}.text", f"{there}.ff_context", weights)
    ours |= halves_swapped(layer("modulate", "norm_out.linear", weights))
    return ours | pixels_last(layer("output", "proj_out", weights))


def random(theirs: Any) -> Any:
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return theirs.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_dit() -> None:
    theirs = random(
        diffusers.DiTTransformer2DModel(
            num_attention_heads=HEADS, attention_head_dim=WIDTH // HEADS, in_channels=CHANNELS,
            num_layers=DEPTH, sample_size=SIZE, patch_size=2, num_embeds_ada_norm=10,
            norm_eps=1e-6,
        )
    )  # fmt: skip
    embedding = theirs.transformer_blocks[0].norm1.emb
    # The paper's code has these frequencies; diffusers shifts them for this network.
    embedding.time_proj.downscale_freq_shift = 0
    for block in theirs.transformer_blocks:
        block.norm1.emb = embedding
    ours = DiT(DiTConfig(**{**vars(CONFIG), "num_classes": 10}))
    ours.load_state_dict(from_dit(theirs.state_dict()))
    x, t = torch.randn(2, CHANNELS, SIZE, SIZE), torch.tensor([3.5, 981.0])
    label = torch.tensor([4, 10])
    with torch.no_grad():
        expected = theirs(x, t, label).sample
        assert difference(ours(x, t, Cond(label=label)), expected) < 1e-5


@pytest.mark.parametrize("norm", [None, "rms_norm"])
def test_stable_diffusion_3(norm: str | None) -> None:
    theirs = random(
        diffusers.SD3Transformer2DModel(
            sample_size=SIZE, patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS,
            num_layers=DEPTH, attention_head_dim=WIDTH // HEADS, num_attention_heads=HEADS,
            joint_attention_dim=10, caption_projection_dim=WIDTH, pooled_projection_dim=7,
            pos_embed_max_size=SIZE // 2, qk_norm=norm,
        )
    )  # fmt: skip
    ours = DiT(DiTConfig(**{
        **vars(CONFIG), "text": "joint", "tokens_dim": 10, "vector_dim": 7,
        "qk_norm": norm is not None,
    }))  # fmt: skip
    ours.load_state_dict(from_sd3(theirs.state_dict(), norms=norm is not None))
    x, t = torch.randn(2, CHANNELS, SIZE, SIZE), torch.tensor([3.5, 981.0])
    tokens, pooled = torch.randn(2, TOKENS, 10), torch.randn(2, 7)
    with torch.no_grad():
        expected = theirs(x, tokens, pooled, t).sample
        assert difference(ours(x, t, Cond(tokens=tokens, vector=pooled)), expected) < 1e-5
