"""Folders of diffusers: variants, shards, hostile settings, missing and foreign files."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from bomb import Bomb
from checkpoints import edit, save, write
from safetensors.torch import load_file, save_file

from inkdrop.convert.families import family_at
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.model import Model


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return {"unet": checkpoints.unet("sd15"), "vae": checkpoints.vae()}


@pytest.fixture(scope="module")
def original(networks: dict[str, Any], tmp_path_factory: Any) -> Path:
    return save(tmp_path_factory.mktemp("original") / "sd", "sd15", **networks)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(original, tmp_path / "sd")
    return tmp_path / "sd"


def refused(path: Path, said: str, options: ReadOptions | None = None) -> None:
    """Reading and building fails in one line that says this."""
    with pytest.raises(ValueError, match=said) as error:
        to_model(family_at(path, options or ReadOptions()).read(path, options or ReadOptions()))
    assert "\n" not in str(error.value)


def equal(model: Model, other: Model) -> bool:
    ours, theirs = model.network.state_dict(), other.network.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_shards_are_read_as_one(networks: dict[str, Any], original: Path, tmp_path: Path) -> None:
    save(tmp_path / "sd", "sd15", **networks, max_shard_size="3MB")
    shards = list((tmp_path / "sd" / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 2
    sharded, whole = (to_model(read(path))[0] for path in (tmp_path / "sd", original))
    assert equal(sharded, whole)


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "2MB"}])
def test_variants(networks: dict[str, Any], tmp_path: Path, shards: dict[str, str]) -> None:
    half = {part: type(net).from_config(net.config) for part, net in networks.items()}
    for part, net in half.items():
        net.load_state_dict(networks[part].state_dict())
        net.half()
    path = save(tmp_path / "sd", "sd15", **half, variant="fp16", **shards)
    model, report = to_model(read(path))  # the only variant there is
    assert {p.dtype for p in model.network.parameters()} == {torch.float16}
    assert report.parts[0].dtypes == ("float16",)
    assert "unet: the variant fp16 of its weights" in report.notes
    refused(path, "has no variant 'bf16' of its weights; it has fp16", ReadOptions(variant="bf16"))
    if shards:
        return
    save(tmp_path / "sd", "sd15", **networks)  # beside the plain ones
    assert next(to_model(read(path))[0].network.parameters()).dtype == torch.float32
    asked = to_model(read(path, ReadOptions(variant="fp16")))[0]
    assert equal(asked, model)
    for part in ("unet", "vae"):
        plain = path / part / "diffusion_pytorch_model.safetensors"
        plain.rename(plain.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    refused(path, r"several variants of its weights \(fp16, non_ema\)")


def test_a_variant_of_one_part_alone(networks: dict[str, Any], folder: Path) -> None:
    half = type(networks["vae"]).from_config(networks["vae"].config)
    half.load_state_dict(networks["vae"].state_dict())
    half.half().save_pretrained(folder / "vae", variant="fp16")
    _, report = to_model(read(folder, ReadOptions(variant="fp16")))
    assert [part.dtypes for part in report.parts] == [("float32",), ("float16",)]
    assert "vae: the variant fp16 of its weights" in report.notes
    refused(
        folder, "has no variant 'bf16' of its weights; it has fp16", ReadOptions(variant="bf16")
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"is_cosxl_edit": True}, "has is_cosxl_edit True; it must be false here"),
        ({"force_zeros_for_empty_prompt": "no"}, "'no'; it must be true or false"),
        ({"unheard_of": ["diffusers", "X"]}, "has a part 'unheard_of'"),
    ],
)
def test_flags_and_parts(folder: Path, change: dict[str, Any], said: str) -> None:
    edit(folder / "model_index.json", **change)
    refused(folder, said)


def test_unknown_keys_that_are_null_ask_for_nothing(folder: Path) -> None:
    for file in ("model_index.json", "unet/config.json", "vae/config.json",
                 "scheduler/scheduler_config.json"):  # fmt: skip
        edit(folder / file, unheard_of=None)
    edit(folder / "model_index.json", other=[None, None])
    assert read(folder).unet is not None


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read from /proc")
def test_weights_stay_in_the_file(original: Path) -> None:
    model, _ = to_model(read(original))
    file = original / "unet" / "diffusion_pytorch_model.safetensors"
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(file.resolve()))]
    whole = [range(*(int(end, 16) for end in span)) for span in spans]
    for weight in model.network.parameters():
        assert any(weight.data_ptr() in span for span in whole)
    wide, _ = to_model(read(original), dtype=torch.float64)
    assert next(wide.network.parameters()).dtype == torch.float64


def test_one_part_by_itself(original: Path) -> None:
    assert read(original / "unet").unet is not None
    assert read(original / "vae").autoencoder is not None
    refused(original / "unet", "a denoiser alone, without the schedule")
    refused(original / "vae", "has no denoiser")


def test_an_autoencoder_from_elsewhere(original: Path, tmp_path: Path) -> None:
    other = checkpoints.vae(scaling_factor=0.5, shift_factor=0.25)
    other.save_pretrained(tmp_path / "vae")
    model, _ = to_model(read(original), autoencoder=read(tmp_path / "vae"))
    assert model.codec.config.scale == (0.5,) * 4 and model.codec.config.shift == (0.25,) * 4
    wide = checkpoints.vae(latent_channels=16)
    wide.save_pretrained(tmp_path / "wide")
    with pytest.raises(ValueError, match="code has 16 channels, but the denoiser takes 4"):
        to_model(read(original), autoencoder=read(tmp_path / "wide"))


def test_text_is_handed_over(folder: Path) -> None:
    weights = {"text_model.embeddings.position_embedding.weight": torch.randn(77, 8)}
    write(folder / "text_encoder" / "config.json", {"architectures": ["CLIPTextModel"]})
    save_file(weights, folder / "text_encoder" / "model.safetensors", {"format": "pt"})
    write(folder / "tokenizer" / "vocab.json", {})
    edit(
        folder / "model_index.json",
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
    )
    foreign = read(folder)
    part = foreign.text["text_encoder"]
    assert part.kind == "CLIPTextModel" and part.folder == folder / "text_encoder"
    assert torch.equal(next(iter(part.weights.values())).read(), next(iter(weights.values())))
    assert foreign.text["tokenizer"].folder == folder / "tokenizer"
    _, report = to_model(foreign)
    assert report.text == ("text_encoder", "tokenizer")
    assert "safety_checker: unused, checks finished pictures" in "\n".join(report.lines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "os.system"}, "of class 'os.system', which is not read here"),
        ({"_class_name": "FluxPipeline"}, "of class 'FluxPipeline'"),
        ({"_class_name": ["x", "StableDiffusionPipeline"]}, "which is not read here"),
        ({"unet": ["my_module", "UNet2DConditionModel"]}, "says that unet is .'my_module'"),
        ({"unet": ["diffusers", "Evil"]}, "unet is of class 'Evil'"),
        ({"unet": "diffusers"}, "says that unet is 'diffusers'"),
        ({"vae": ["diffusers", "AutoencoderKLWan"]}, "vae is of class 'AutoencoderKLWan'"),
        ({"../../evil": ["diffusers", "UNet2DConditionModel"]}, "has a part '../../evil'"),
        ({"text_encodr": ["transformers", "CLIPTextModel"]}, r"Did you mean 'text_encoder'"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "has an auto_map, which asks for code"),
        ({"tokenizer": ["transformers", "CLIPTokenizer"]}, "tokenizer is missing"),
        ({"unet": [None, None]}, "has no denoiser"),
        ({"vae": [None, None]}, "has no autoencoder; give one of its family"),
        ({"scheduler": [None, None]}, "without the schedule it was trained with"),
    ],
)
def test_hostile_or_broken_index(folder: Path, change: dict[str, Any], said: str) -> None:
    edit(folder / "model_index.json", **change)
    refused(folder, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "UNet3DConditionModel"}, "of class 'UNet3DConditionModel'"),
        ({"auto_map": {}}, "has an auto_map"),
        ({"block_out_chanels": [1]}, r"unknown key 'block_out_chanels'. Did you mean"),
        ({"only_cross_attention": True}, "'only_cross_attention' is True"),
        ({"mid_block_type": None}, "'mid_block_type' is None"),
        ({"time_cond_proj_dim": 64}, r"lacks 1 weights: \S+.cond_proj.weight \[32, 64\]"),
        ({"norm_eps": float("nan")}, "has norm_eps nan: 0 to 1 is sane"),
        ({"sample_size": 10**9}, "has sample_size 1000000000: 0 to 65536 is sane"),
        ({"time_cond_proj_dim": 2}, "guidance_dim is 2 but must be at least 4"),
        ({"freq_shift": 16}, "time_shift is 16.0 but must be from 0 up to, not including, 16"),
        ({"class_embed_type": "projection"}, "'class_embed_type' is 'projection'"),
        ({"down_block_types": ["KDownBlock2D"] * 4}, "of type 'KDownBlock2D', which is not read"),
        ({"up_block_types": ["UpBlock2D"] * 4}, "do not mirror down_block_types"),
        ({"block_out_channels": [32, 64]}, "4 block types and 2 block_out_channels"),
        ({"block_out_channels": [32, 65, 128, 128]}, "each must be a multiple of the first"),
        ({"in_channels": 2}, "in_channels 2 below out_channels 4"),
        ({"attention_head_dim": [1, 2]}, "has 2 attention_head_dim for 4 levels"),
        ({"attention_head_dim": 7}, "cannot be split into 7 heads"),
        ({"addition_embed_type": "text_time"}, "but lacks projection_class_embeddings"),
        ({"layers_per_block": "many"}, "layers_per_block"),
        ({"layers_per_block": 10**9}, r"has layers_per_block 1000000000: 0 to 64 is sane"),
        ({"block_out_channels": [32] * 100_000}, "has 100000 block_out_channels: more than 64"),
        ({"cross_attention_dim": 10**12}, "0 to 65536 is sane"),
        ({"transformer_layers_per_block": -1}, "0 to 64 is sane"),
        ({"transformer_layers_per_block": 64, "layers_per_block": 64},
         "unet/config.json: .* give 12352 layers in all"),
        ({"norm_num_groups": 0}, "unet/config.json: norm_groups is 0 but must be at least 1"),
        ({"sample_size": 0}, r"shape is \(3, 0, 0\)"),
        ({"layers_per_block": 3}, r"unet: lacks \d+ weights: down_blocks.0.attentions.2.norm.bias"),
        ({"layers_per_block": 1}, r"does not use \d+ weights: down_blocks.0.attentions.1"),
        ({"cross_attention_dim": 25},
         r"has other shapes for 32 weights: .*attn2.to_k.weight \[32, 24\].* and 22 more"),
    ],
)  # fmt: skip
def test_hostile_or_broken_unet(folder: Path, change: dict[str, Any], said: str) -> None:
    edit(folder / "unet" / "config.json", **change)
    refused(folder, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "VQModel"}, "of class 'VQModel'"),
        ({"out_channels": 4}, "in_channels 3 and out_channels 4; only equal values are read"),
        ({"use_quant_conv": False}, "use_quant_conv False and use_post_quant_conv True"),
        ({"latents_mean": [0.0]}, "1 latents_mean for 4 latent_channels"),
        ({"latents_std": [1, 1, 0, 1]}, "every spread must be above 0"),
        ({"scaling_factor": -1}, "above 0"),
        ({"shift_factor": float("nan")}, "every number must be finite"),
        ({"act_fn": "mish"}, "'act_fn' is 'mish'"),
        ({"layers_per_block": 10**9}, "0 to 64 is sane"),
        ({"latent_channels": 10**12}, "0 to 65536 is sane"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 4}, "down_block_types"),
        ({"block_out_channels": []}, "each must be a multiple of the first"),
        ({"latent_channels": 3}, "autoencoder: has other shapes"),
    ],
)
def test_hostile_or_broken_autoencoder(folder: Path, change: dict[str, Any], said: str) -> None:
    edit(folder / "vae" / "config.json", **change)
    refused(folder, said)


def test_lost_and_broken_files(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for content, said in (
        (whole[:-100], "is cut short: 100 of its"),
        (whole + b"more", "4 bytes after its last weight"),
        (b"PK\x03\x04", "is a pickle"),
    ):
        weights.write_bytes(content)
        refused(folder, said)
    weights.unlink()
    refused(folder, "has no weights")
    (folder / "unet" / "config.json").write_text("{")
    refused(folder, "config.json is not valid JSON")
    (folder / "unet" / "config.json").write_text("[" * 100_000)
    refused(folder, "config.json is not valid JSON")
    shutil.rmtree(folder / "unet")
    refused(folder, "there is no config.json")


@pytest.fixture
def sharded(networks: dict[str, Any], tmp_path: Path) -> Path:
    return save(tmp_path / "shards", "sd15", **networks, max_shard_size="5MB")


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/etc/passwd", "a/b.safetensors", "..", "x.py", 3, None]
)
def test_shards_elsewhere(sharded: Path, name: Any) -> None:
    index = sharded / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    data = json.loads(index.read_text())
    data["weight_map"]["conv_in.weight"] = name
    index.write_text(json.dumps(data))
    refused(sharded, "only a safetensors file in the same folder")


def test_shards_that_are_not_whole(sharded: Path) -> None:
    index = sharded / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    data = json.loads(index.read_text())
    first = data["weight_map"].pop("conv_in.weight")
    index.write_text(json.dumps(data))
    refused(sharded, f"does not list 'conv_in.weight', which is in {first}")
    data["weight_map"] |= {"conv_in.weight": first, "more": first}
    index.write_text(json.dumps(data))
    refused(sharded, f"lists 'more' in {first}, but it is not there")
    index.write_text(json.dumps({"weight_map": {}}))
    refused(sharded, "has no weight_map")
    data["weight_map"].pop("more")
    index.write_text(json.dumps(data))
    (sharded / "unet" / first).unlink()
    refused(sharded, f"lists the shard {first}, which is missing")


def test_shards_may_be_links_as_in_the_cache_of_the_hub(sharded: Path, tmp_path: Path) -> None:
    shard = sorted((sharded / "unet").glob("*-of-*.safetensors"))[0]
    before = to_model(read(sharded))[0]
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    assert equal(to_model(read(sharded))[0], before)
    mark = tmp_path / "mark"
    (tmp_path / "blob").write_bytes(pickle.dumps({"a": Bomb(mark)}, protocol=2))
    refused(sharded, "is a pickle, which can run code")
    (tmp_path / "blob").unlink()
    refused(sharded, "which is missing")
    assert not mark.exists()


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json"])
def test_a_key_that_stands_twice(folder: Path, file: str) -> None:
    text = (folder / file).read_text().strip()
    (folder / file).write_text('{"_class_name": "os.system", ' + text[1:])
    refused(folder, "is not valid JSON .the key '_class_name' appears twice")


def test_pickles_only_where_they_are_trusted(original: Path, folder: Path) -> None:
    for part in ("unet", "vae"):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    refused(folder, r"is a pickle.*inkdrop convert --i-trust-this-pickle")
    trusted, _ = to_model(read(folder, ReadOptions(trust_pickle=True)))
    assert equal(trusted, to_model(read(original))[0])


def test_shards_that_are_pickles(networks: dict[str, Any], tmp_path: Path) -> None:
    how = {"max_shard_size": "5MB", "safe_serialization": False}
    path = save(tmp_path / "sd", "sd15", **networks, **how)
    assert len(list((path / "unet").glob("*.bin"))) > 1
    refused(path, "is a pickle")
    model, _ = to_model(read(path, ReadOptions(trust_pickle=True)))
    first = networks["unet"].conv_in.weight
    assert torch.equal(model.network.input.weight, first)


def test_nothing_of_others_is_imported(original: Path) -> None:
    code = f"""
import sys
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.families import family_at
from inkdrop.convert.sd.read import read
to_model(read({str(original)!r}))
print(*sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & {"diffusers", "transformers", "safetensors"}


def test_what_is_no_model(tmp_path: Path, original: Path) -> None:
    refused(tmp_path / "nothing", "there is no model")
    refused(tmp_path, "it has no model.json, model_index.json or config.json")
    refused(original / "vae" / "config.json", "not a safetensors file")
    file = original / "unet" / "diffusion_pytorch_model.safetensors"
    refused(file, "is one part of a diffusers folder; give the folder")
    to_model(read(original))[0].save(tmp_path / "own")
    refused(tmp_path / "own", "is a model of inkdrop's own and needs no conversion")


def test_quantized_weights(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] = weights["conv_in.weight"].to(torch.int8)
    save_file(weights, file)
    refused(folder, "conv_in.weight holds whole numbers")


def test_weights_of_several_types_become_the_widest(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {n: v.half() if "norm" not in n else v for n, v in load_file(file).items()}
    save_file(weights, file)
    model, report = to_model(read(folder))
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}
    assert "unet: weights of float16 and float32 were all made the widest" in report.notes
