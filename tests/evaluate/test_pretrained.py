"""Vision models of `transformers` with random weights: prepared as their own processors do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
)

from inkdrop.evaluate.features import extract
from inkdrop.evaluate.pretrained import Preparation, open_pretrained

PREPARED = {
    "do_center_crop": True, "crop_size": {"height": 28, "width": 28}, "size": {"shortest_edge": 32},
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3],
}  # fmt: skip


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def dinov2(folder: Path) -> Dinov2Model:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    model = Dinov2Model(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    return model


@torch.no_grad()
def test_the_pooled_output_of_dinov2(tmp_path: Path) -> None:
    theirs, ours = dinov2(tmp_path), open_pretrained(tmp_path)
    x = torch.rand(3, 3, 28, 28) * 2 - 1
    mean, std = (torch.tensor(PREPARED[f"image_{n}"]).view(3, 1, 1) for n in ("mean", "std"))
    want = theirs(pixel_values=((x + 1) / 2 - mean) / std).pooler_output
    torch.testing.assert_close(extract(ours, [x[:2], x[2:]]), want)
    assert not any(p.requires_grad for p in ours.parameters()) and not ours.training
    again = open_pretrained(tmp_path)
    assert again.fingerprint == ours.fingerprint
    again.network.layernorm.bias[0] += 1e-6
    assert again.fingerprint != ours.fingerprint


@torch.no_grad()
def test_the_embedding_of_clip(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = {**small, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    text = {**small, "num_attention_heads": 2, "vocab_size": 50}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    ours, x = open_pretrained(tmp_path), torch.rand(2, 3, 28, 28) * 2 - 1
    pooled = theirs.vision_model(pixel_values=ours.prepare(x)).pooler_output
    torch.testing.assert_close(ours.features(x), theirs.visual_projection(pooled))


def test_pictures_are_prepared_as_by_their_own_processor() -> None:
    bytes_ = np.random.default_rng(0).integers(80, 176, (8, 8, 3)).astype(np.uint8)
    smooth = np.kron(bytes_, np.ones((7, 7, 1), np.uint8))  # 56 x 56, made half as large
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28},
        image_mean=PREPARED["image_mean"], image_std=PREPARED["image_std"],
    )  # fmt: skip
    want = processor(smooth, return_tensors="pt")["pixel_values"]
    prepare = Preparation((28, 28), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    x = torch.from_numpy(smooth).permute(2, 0, 1)[None] / 127.5 - 1
    # Theirs is rounded to bytes after each of two passes.
    assert (prepare(x) - want).abs().max() < 1.3 / 255 / 0.2


def test_grey_and_transparent_pictures() -> None:
    plain = Preparation((4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    grey = torch.rand(2, 1, 4, 4) * 2 - 1
    assert torch.equal(plain(grey), ((grey + 1) / 2).expand(-1, 3, -1, -1))
    clear = torch.cat([torch.rand(1, 3, 4, 4), torch.full((1, 1, 4, 4), -1.0)], 1)
    assert torch.equal(plain(clear), torch.ones(1, 3, 4, 4))
    with pytest.raises(ValueError, match="with 1, 3 or 4 channels"):
        plain(torch.zeros(1, 2, 4, 4))


def test_faults_of_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        open_pretrained(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"there is no preprocessor_config\.json"):
        open_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 28}))
    with pytest.raises(ValueError, match="must have size, image_mean and image_std"):
        open_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    with pytest.raises(ValueError, match="has no model that transformers can load"):
        open_pretrained(tmp_path)
