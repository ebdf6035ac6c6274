"""Control networks of others: what diffusers' says, every layout, round trips, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from checkpoints import answer, asked, controlnet, difference, edit, save
from safetensors.torch import load_file, save_file
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.control import open_control, read_control
from inkdrop.convert.families import family_at
from inkdrop.convert.inspect.summary import summary
from inkdrop.convert.sd import control_keys
from inkdrop.convert.sd.control import export_control_folder, export_control_single
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.networks.control import Control, Controlled, ControlNet
from inkdrop.networks.layers import sinusoidal

FAMILIES = ("sd15", "sd21", "sdxl")
SIZES = ((8, 8), (9, 6))  # of the code; the second is no multiple of anything
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Case:
    """diffusers' U-Net and control network of a family, and ours read from all layouts."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.place = name, folder
        self.unet, self.control = checkpoints.unet(name), controlnet(name)
        save(folder / "model", name, unet=self.unet, vae=checkpoints.vae(name))
        self.control.save_pretrained(folder / "control")
        self.model, _ = to_model(read(folder / "model"))
        self.ours, self.report = open_control(folder / "control", self.model)
        export_control_single(self.ours, folder / "ldm.safetensors")
        bare = load_file(folder / "ldm.safetensors")
        bare = {name.removeprefix("control_model."): value for name, value in bare.items()}
        save_file(bare, folder / "bare.safetensors")
        (folder / "named.safetensors").write_bytes((folder / "control" / WEIGHTS).read_bytes())


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: Any, tmp_path_factory: Any) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


def cond_of(given: dict[str, Tensor], hint: Tensor | None = None) -> Cond:
    vector = None
    if "pooled" in given:
        waves = sinusoidal(given["sizes"].flatten(), 256).view(len(given["sizes"]), -1)
        vector = torch.cat([given["pooled"], waves], dim=1)
    return Cond(tokens=given["tokens"], vector=vector, hint=hint)


def residuals(theirs: Any, given: dict[str, Tensor], hint: Tensor, scale: float = 1.0) -> Any:
    added = None
    if "pooled" in given:
        added = {"text_embeds": given["pooled"], "time_ids": given["sizes"]}
    return theirs(
        given["x"], given["t"], given["tokens"], controlnet_cond=hint, conditioning_scale=scale,
        added_cond_kwargs=added, return_dict=False,
    )  # fmt: skip


def controlled_answer(theirs: Any, given: dict[str, Tensor], parts: list[Any]) -> Tensor:
    """What diffusers' U-Net says with the residuals of several control networks, summed."""

    class With:
        def __call__(self, *words: Any, **more: Any) -> Any:
            skips = [sum(each) for each in zip(*(p[0] for p in parts), strict=True)]
            middle = sum(p[1] for p in parts)
            return theirs(
                *words, **more, down_block_additional_residuals=skips,
                mid_block_additional_residual=middle,
            )  # fmt: skip

    return answer(With(), given)


@pytest.mark.parametrize("size", SIZES)
def test_it_says_what_theirs_says(case: Case, size: tuple[int, int]) -> None:
    given = asked(case.name, size)
    hint = torch.rand(3, 3, 8 * size[0], 8 * size[1])
    skips, middle = residuals(case.control, given, hint)
    found = case.ours(given["x"], given["t"], cond_of(given, hint))
    assert len(skips) == len(found.skips)
    for ours, theirs in zip((*found.skips, found.middle), (*skips, middle), strict=True):
        assert theirs.std() > 1e-3
        assert difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_what_it_makes_of_a_unet(case: Case, size: tuple[int, int]) -> None:
    given = asked(case.name, size)
    hints = torch.rand(2, 1, 3, 8 * size[0], 8 * size[1])
    plain = answer(case.unet, given)
    parts = [residuals(case.control, given, hint.expand(3, -1, -1, -1), scale)
             for hint, scale in zip(hints, (0.7, 1.2), strict=True)]  # fmt: skip
    network = case.model.network
    first, second = (Control(case.ours, s, h) for h, s in zip(hints, (0.7, 1.2), strict=True))
    for used, controls in ((parts[:1], [first]), (parts, [first, second])):
        expected = controlled_answer(case.unet, given, used)
        assert difference(expected, plain) > 1e-2  # or it would prove nothing
        found = Controlled(network, controls)(given["x"], given["t"], cond_of(given))
        assert difference(found, expected) < 1e-4
    # A hint that comes with the condition says the same.
    hint = hints[0].expand(3, -1, -1, -1)
    found = Controlled(network, [Control(case.ours, 0.7)])(
        given["x"], given["t"], cond_of(given, hint)
    )
    assert difference(found, controlled_answer(case.unet, given, parts[:1])) < 1e-4


def test_every_layout_is_one_network(case: Case) -> None:
    for name in ("ldm", "bare", "named"):
        again, report = open_control(case.place / f"{name}.safetensors", case.model)
        assert again.control == case.ours.control
        assert report.parts[0].used == len(case.control.state_dict())
        for mine, other in zip(again.parameters(), case.ours.parameters(), strict=True):
            assert torch.equal(mine, other)


def test_the_way_back_is_the_same_to_the_bit(case: Case, tmp_path: Path) -> None:
    half = controlnet(case.name).half()
    half.save_pretrained(tmp_path / "first")
    ours, _ = open_control(tmp_path / "first", dtype=None)
    export_control_folder(ours, tmp_path / "folder")
    export_control_single(ours, tmp_path / "single.safetensors")
    again, _ = open_control(tmp_path / "single.safetensors", dtype=None)
    export_control_folder(again, tmp_path / "again")
    first = load_file(tmp_path / "first" / WEIGHTS)
    for name in ("folder", "again"):
        found = load_file(tmp_path / name / WEIGHTS)
        assert found.keys() == first.keys()
        assert all(torch.equal(found[key], value) for key, value in first.items())
        assert all(value.dtype == torch.float16 for value in found.values())
        assert read_control(tmp_path / name).config == read_control(tmp_path / "first").config
        # Theirs makes the network of our settings, and finds a place for every weight.
        theirs = checkpoints.diffusers.ControlNetModel.from_pretrained(tmp_path / name)
        assert {k: v.shape for k, v in theirs.state_dict().items()} == {
            k: v.shape for k, v in first.items()
        }


def test_names_of_ldm(case: Case) -> None:
    # Facts of the first published file: layers of the hint, one convolution of zeros for each map.
    table = control_keys.ldm_naming(case.ours.control).table(case.ours.state_dict())
    names = {name.rsplit(".", 1)[0] for name in table.values()}
    assert {f"input_hint_block.{n}" for n in range(0, 16, 2)} <= names
    maps = {"sd15": 12, "sd21": 12, "sdxl": 9}[case.name]
    assert {f"zero_convs.{n}.0" for n in range(maps)} <= names
    assert "middle_block_out.0" in names and f"zero_convs.{maps}.0" not in names


def test_what_it_is(case: Case) -> None:
    family = {"sd15": "sd1", "sd21": "sd2"}.get(case.name, case.name)
    for name, what in (("control", "a diffusers folder"), ("ldm.safetensors", "a single file")):
        lines = summary(case.place / name)
        assert lines[0] == f"layout: {what} of a control network"
        assert lines[1] == f"family: {family}"
        assert "hint: 3 channels, rgb, 8 times the size of the code" in lines
    assert case.report.parts[0].name == "control"


def test_a_model_beside_it_is_left_out(case: Case, tmp_path: Path) -> None:
    weights = load_file(case.place / "ldm.safetensors")
    both = {**weights, "model.diffusion_model.a": torch.ones(2), "betas": torch.ones(2)}
    save_file(both, tmp_path / "both.safetensors")
    _, report = open_control(tmp_path / "both.safetensors", case.model)
    assert list(report.unused.values()) == ["of the model beside it"]


def test_order_of_colours(tmp_path: Path) -> None:
    theirs = controlnet("sd15", controlnet_conditioning_channel_order="bgr")
    theirs.save_pretrained(tmp_path / "control")
    ours, _ = open_control(tmp_path / "control")
    given, hint = asked("sd15", (8, 8)), torch.rand(3, 3, 64, 64)
    expected = residuals(theirs, given, hint)[1]
    assert difference(ours(given["x"], given["t"], cond_of(given, hint)).middle, expected) < 1e-4
    other = residuals(theirs, given, hint.flip(1))[1]
    assert difference(other, expected) > 1e-4
    with pytest.raises(ValueError, match="hint_order of the control network is 'bgr'"):
        export_control_single(ours, tmp_path / "single.safetensors")


def test_a_control_network_of_another_family(case: Case, tmp_path: Path) -> None:
    other = {"sd15": "sd21", "sd21": "sdxl", "sdxl": "sd15"}[case.name]
    names = {"sd15": "sd1", "sd21": "sd2", "sdxl": "sdxl"}
    controlnet(other).save_pretrained(tmp_path / "other")
    said = f"control network for {names[other]}, but the model is of {names[case.name]}"
    with pytest.raises(ValueError, match=said):
        open_control(tmp_path / "other", case.model)
    strange, _ = open_control(tmp_path / "other")
    with pytest.raises(ValueError, match="the control branch is for a U-Net with"):
        Controlled(case.model.network, [Control(strange)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    controlnet("sd15").save_pretrained(tmp_path / "control")
    return tmp_path / "control"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"global_pool_conditions": True}, "'global_pool_conditions' is True"),
        ({"conditioning_chanels": 3}, "Did you mean 'conditioning_channels'"),
        ({"controlnet_conditioning_channel_order": "rbg"}, "is 'rbg'"),
        ({"down_block_types": ["X"] * 4}, "a block of type 'X'"),
        ({"conditioning_embedding_out_channels": []}, "must be at least 1"),
        ({"conditioning_channels": 10**9}, "0 to 65536 is sane"),
        ({"_class_name": "os.system"}, "is of class 'os.system'"),
        ({"auto_map": {}}, "auto_map"),
    ],
)
def test_settings_that_are_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=said):
        read_control(folder)


def test_weights_that_do_not_fit(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    lost = dict(weights)
    del lost["controlnet_down_blocks.11.weight"]
    save_file(lost, folder / WEIGHTS)
    with pytest.raises(
        ValueError, match=r"lacks 1 weights: controlnet_down_blocks.11.weight \[128"
    ):
        open_control(folder)
    more = {f"more.{n}": torch.ones(2, n + 1) for n in range(12)}
    save_file({**weights, **more}, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"does not use 12 weights: more.0 \[2, 1\].* and 2 more"):
        open_control(folder)


def test_what_is_no_control_network(folder: Path, tmp_path: Path) -> None:
    save_file({"model.diffusion_model.a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a model or a part of one"):
        read_control(tmp_path / "a.safetensors")
    save_file({"lora_unet_a.lora_down.weight": torch.ones(2)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="is a LoRA"):
        read_control(tmp_path / "b.safetensors")
    save_file({"controlnet_mid_block.weight": torch.ones(2)}, tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="has no weight 'down_blocks"):
        read_control(tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match=r"no config\.json"):
        read_control(tmp_path)
    with pytest.raises(ValueError, match="--control takes it"):
        family_at(folder)
    with pytest.raises(ValueError, match="--control takes it"):
        family_at(folder / WEIGHTS)


def test_a_new_branch_changes_nothing_and_learns(case: Case) -> None:
    unet = case.model.network
    branch = ControlNet.beside(unet)
    given, hint = asked(case.name, (8, 8)), torch.rand(3, 3, 64, 64)
    cond = cond_of(given, hint)
    assert torch.equal(branch.down[0].stages[0].block.conv1.weight,
                       unet.down[0].stages[0].block.conv1.weight)  # fmt: skip
    network = Controlled(unet, [Control(branch)])
    said = network(given["x"], given["t"], cond)
    assert torch.equal(said, unet(given["x"], given["t"], cond))
    branch.requires_grad_(True)
    network(given["x"], given["t"], cond).square().mean().backward()
    assert all(zero.weight.grad.abs().max() > 0 for zero in branch.zero)
    assert all(p.grad is None for p in unet.parameters())


def test_a_whole_pipeline_is_its_model_and_its_control_network(case: Case, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline"
    save(pipeline, case.name, unet=case.unet, vae=checkpoints.vae(case.name))
    case.control.save_pretrained(pipeline / "controlnet")
    kind = "StableDiffusionXL" if case.name == "sdxl" else "StableDiffusion"
    edit(pipeline / "model_index.json", _class_name=f"{kind}ControlNetPipeline",
         controlnet=["diffusers", "ControlNetModel"])  # fmt: skip
    network, _ = open_control(pipeline, case.model)
    assert all(map(torch.equal, network.parameters(), case.ours.parameters()))
    assert read_control(pipeline).path == pipeline / "controlnet"
    model, report = to_model(read(pipeline))
    assert model.network.config == case.model.network.config
    assert "controlnet: unused, guides the model where --control names it" in report.lines()
    case.control.save_pretrained(pipeline / "controlnet_1")
    with pytest.raises(ValueError, match="has 2 control networks; give one of them: "):
        open_control(pipeline)
