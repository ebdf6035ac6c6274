"""Single files: marks of the schedule, parts told apart, strays, averages, adapters, TAESD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from checkpoints import save, stored
from torch import Tensor

from inkdrop.convert.families import family_at
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.sd.export import single_weights
from inkdrop.convert.sd.model import to_codec, to_model
from inkdrop.convert.sd.read import read
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import Eps, V

Weights = dict[str, Tensor]


def weights_of(name: str, folder: Path) -> Weights:
    save(folder, name, unet=checkpoints.unet(name), vae=checkpoints.vae(name))
    found = single_weights(to_model(read(folder))[0])
    found.pop("v_pred", None)
    return found


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: Any) -> Weights:
    return weights_of("sd15", tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def sd2(tmp_path_factory: Any) -> Weights:
    return weights_of("sd21", tmp_path_factory.mktemp("sd2"))


def refused(path: Path, said: str, options: ReadOptions | None = None) -> None:
    with pytest.raises(ValueError, match=said) as error:
        to_model(family_at(path, options or ReadOptions()).read(path, options or ReadOptions()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "metadata", "options", "prediction", "zero"),
    [
        ({}, {}, {}, Eps(), False),
        ({"v_pred": torch.zeros(0)}, {}, {}, V(), False),
        ({"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {}, {}, V(), True),
        ({"ztsnr": torch.zeros(0)}, {}, {}, V(), True),
        ({}, {"modelspec.prediction_type": "v"}, {}, V(), False),
        ({}, {"modelspec.prediction_type": "epsilon"}, {}, Eps(), False),
        ({}, {}, {"prediction": "v", "zero_terminal_snr": True}, V(), True),
        ({"v_pred": torch.zeros(0)}, {}, {"prediction": "eps"}, Eps(), False),
        ({"alphas_cumprod": torch.tensor([0.99, 0.0])}, {}, {}, V(), True),
        ({"alphas_cumprod": torch.tensor([0.99, 0.0047])}, {}, {}, Eps(), False),
        ({"alphas_cumprod": torch.zeros(0, 3), "global_step": torch.ones(2)}, {}, {}, Eps(), False),
        ({"global_step": torch.tensor(float("nan"))}, {}, {}, Eps(), False),
    ],
)
def test_marks_of_the_schedule(
    sd1: Weights, tmp_path: Path, more: Weights, metadata: dict[str, str],
    options: dict[str, Any], prediction: object, zero: bool,
) -> None:  # fmt: skip
    path = stored(tmp_path / "a.safetensors", {**sd1, **more}, metadata)
    model, _ = to_model(read(path, ReadOptions(**options)))
    assert model.process == Discrete("scaled_linear", 1000, zero)
    assert model.parameterization == prediction


def test_sd2_says_too_little(sd2: Weights, tmp_path: Path) -> None:
    plain = stored(tmp_path / "a.safetensors", sd2)
    model, report = to_model(read(plain))
    assert model.parameterization == V() and model.spec.shape == (3, 768, 768)
    assert any("the file does not say which" in note for note in report.notes)
    model, report = to_model(read(plain, ReadOptions(prediction="eps")))
    assert model.parameterization == Eps() and model.spec.shape == (3, 512, 512)
    assert not report.notes
    step = {"global_step": torch.tensor(875000)}
    model, report = to_model(read(stored(tmp_path / "b.safetensors", {**sd2, **step})))
    assert model.parameterization == Eps() and not report.notes


def test_what_else_is_in_such_files(sd1: Weights, tmp_path: Path) -> None:
    text = {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.ones(8),
    }
    more = {
        "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(3),
        "cond_stage_model.logit_scale": torch.tensor(4.6),
        "cond_stage_model.text_projection": torch.ones(8, 8),
        "betas": torch.zeros(3), "sqrt_one_minus_alphas_cumprod": torch.zeros(3),
        "posterior_mean_coef1": torch.zeros(3), "logvar": torch.zeros(3),
        "global_step": torch.tensor(470000), "first_stage_model.loss.logvar": torch.zeros(1),
        **text,
    }  # fmt: skip
    path = stored(tmp_path / "a.safetensors", {**sd1, **more})
    foreign = read(path)
    model, report = to_model(foreign)
    assert sum(part.used for part in report.parts) == len(sd1)
    part = foreign.text["cond_stage_model.transformer"]
    assert set(part.weights) == {
        "text_model.embeddings.position_ids", "text_model.final_layer_norm.weight",
    }  # fmt: skip
    assert "cond_stage_model.transformer: for the text" in report.lines()
    assert "betas and 3 more: unused, the schedule" in report.lines()
    assert "model_ema.decay and 1 more: unused, averaged weights" in report.lines()
    assert model.spec.shape == (3, 512, 512)


def test_xl_has_two_text_encoders(tmp_path: Path, sd1: Weights) -> None:
    prefixes = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
    text = {prefix + "text_model.a": torch.ones(2) for prefix in prefixes}
    foreign = read(stored(tmp_path / "a.safetensors", {**sd1, **text}))
    assert list(foreign.text) == [prefix.removesuffix(".") for prefix in prefixes]


def test_averaged_weights(sd1: Weights, tmp_path: Path) -> None:
    inner = {n: v for n, v in sd1.items() if n.startswith("model.diffusion_model.")}
    ema = {
        f"model_ema.{n.removeprefix('model.').replace('.', '')}": v + 1 for n, v in inner.items()
    }
    path = stored(tmp_path / "a.safetensors", {**sd1, **ema})
    (plain, told), (averaged, other) = (
        to_model(read(path, ReadOptions(averaged=a))) for a in (False, True)
    )
    assert [(next(iter(r.unused)).split(".")[0], *r.unused.values()) for r in (told, other)] == [
        ("model_ema", "averaged weights"), ("model", "the averaged weights were read"),
    ]  # fmt: skip
    first = plain.network.input.weight  # type: ignore[union-attr]
    assert torch.equal(averaged.network.input.weight, first + 1)  # type: ignore[union-attr, operator]
    refused(stored(tmp_path / "b.safetensors", sd1), "has no averaged", ReadOptions(averaged=True))


def test_strange_weights_are_refused_or_left_out(sd1: Weights, tmp_path: Path) -> None:
    more = {f"embedding_manager.{n}": torch.ones(n + 1, 2) for n in range(12)}
    path = stored(tmp_path / "a.safetensors", {**sd1, **more})
    refused(
        path,
        r"12 weights that belong to no part.*: embedding_manager.0 \[1, 2\].* and 2 more; if they"
        r" are.*--ignore",
    )
    _, report = to_model(read(path, ReadOptions(ignore=("embedding_manager.",))))
    assert "embedding_manager.0 and 11 more: unused, left out as asked" in report.lines()


@pytest.mark.parametrize(
    ("lost", "more", "said"),
    [
        ("model.diffusion_model.out.0.bias", {}, r"unet: lacks 1 weights: out.0.bias \[32\]"),
        ("model.diffusion_model.out.2.weight", {}, "has no weight 'out.2.weight' of 1 or more"),
        ("first_stage_model.quant_conv.bias", {}, r"lacks 1 weights: quant_conv.bias \[8\]"),
        ("", {"model.diffusion_model.more": torch.ones(2)}, r"does not use 1 weights: more \[2\]"),
        ("", {"edm_mean": torch.ones(4)}, "has edm_mean, which marks a schedule"),
        ("", {"model.diffusion_model.out.0.bias": torch.ones(31)},
         r"has other shapes for 1 weights: out.0.bias \[31\]"),
        ("", {"model.diffusion_model.label_emb.0.0.weight": torch.ones(3, 4)},
         "a U-Net of 4 sizes that is not SD 1, SD 2, SDXL or its refiner"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(
    sd1: Weights, tmp_path: Path, lost: str, more: Weights, said: str
) -> None:
    weights = {name: value for name, value in sd1.items() if name != lost}
    refused(stored(tmp_path / "a.safetensors", {**weights, **more}), said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "is a LoRA"),
        ("unet.down_blocks.0.attentions.0.proj_in.lora_A.weight", "is a LoRA"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", "is a LoRA"),
        ("emb_params", "is an embedding"),
        ("clip_l", "is an embedding"),
        ("control_model.input_blocks.0.0.weight", "is a control network"),
        ("double_blocks.0.img_attn.qkv.weight", "is not a model that is read here; its weights"),
        ("text_model.embeddings.position_ids", "is one part of a diffusers folder"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, said: str) -> None:
    refused(stored(tmp_path / "a.safetensors", {name: torch.ones(2, 2)}), said)


def test_a_model_without_its_autoencoder(sd1: Weights, tmp_path: Path) -> None:
    groups: dict[bool, Weights] = {True: {}, False: {}}
    for name, value in sd1.items():
        groups[name.startswith("first_stage_model.")][name] = value
    unet = stored(tmp_path / "a.safetensors", groups[False])
    refused(unet, "has no autoencoder; give one of its family")
    inner = {n.removeprefix("first_stage_model."): v for n, v in groups[True].items()}
    inner["loss.logvar"] = torch.zeros(())  # as published autoencoders have it
    alone = read(stored(tmp_path / "vae.safetensors", inner))
    with pytest.raises(ValueError, match="does not give the scale of its code"):
        to_codec(alone)
    model, _ = to_model(read(unet), autoencoder=alone)
    assert model.codec.config.scale == (0.18215,) * 4  # type: ignore[union-attr]
    assert torch.equal(
        model.codec.state_dict()["autoencoder.to_code.bias"],  # type: ignore[union-attr]
        sd1["first_stage_model.quant_conv.bias"],
    )


def test_a_trusted_checkpoint(sd1: Weights, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": sd1, "global_step": 470000, "epoch": 6}, path)
    refused(path, r"is a pickle.*inkdrop convert --i-trust-this-pickle")
    model, _ = to_model(read(path, ReadOptions(trust_pickle=True)))
    again = single_weights(model)
    assert again.keys() == sd1.keys()
    assert all(torch.equal(again[name], value) for name, value in sd1.items())
