"""A model made ready: adapters and control networks in a copy of it, and notes on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from inkdrop.convert.control import open_control
from inkdrop.events import Note
from inkdrop.find import open_model
from inkdrop.make.make import Made, make
from inkdrop.model import Model, Prompt
from inkdrop.tasks.added import Added, AddedWord
from inkdrop.tasks.control import controlled, read_hint
from inkdrop.tasks.generate import generate
from inkdrop.tasks.request import Guide, Request
from inkdrop.tasks.sampling import Sampling

SAMPLING = Sampling(sampler="ddim", steps=2, guidance=2.0)
SIZE = (40, 72)


@pytest.fixture(scope="module")
def model(sd1: Path) -> Model:
    return open_model(sd1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA, an embedding, a control network and a hint."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    base = "lora_unet_mid_block_attentions_0_proj_in"
    pair = {"up": torch.randn(128, 2, 1, 1), "down": torch.randn(2, 128, 1, 1)}
    lora = {f"{base}.lora_{name}.weight": value for name, value in pair.items()}
    save_file(lora, folder / "boat.safetensors")
    save_file({"emb_params": 9 * torch.randn(2, 24)}, folder / "glow.safetensors")
    checkpoints.controlnet("sd15").save_pretrained(folder / "control")
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "edges.png")
    return folder


def run(model: Model, **asked: Any) -> tuple[Tensor, list[str]]:
    """The samples that are made, and the notes."""
    request = Request(prompt="a glow", size=SIZE, sampling=SAMPLING, **asked)
    *events, made = make(request, model=model)
    assert isinstance(made, Made)
    return made.samples, [event.text for event in events if isinstance(event, Note)]


def lora(files: Path, weight: float) -> Added:
    return Added.of(f"{files / 'boat.safetensors'}:{weight}", "LoRA", weighed=True)


def test_the_given_model_stays_as_it_is(model: Model, files: Path) -> None:
    before = [
        {name: value.clone() for name, value in part.state_dict().items()}
        for part in model.networks
    ]
    plain, notes = run(model)
    assert notes == [] and plain.shape == (1, 3, *SIZE)
    glow = AddedWord.named(str(files / "glow.safetensors"))
    guide = Guide(*(Added.of(str(files / name), name) for name in ("control", "edges.png")))
    found = [
        run(model, **asked)[0]
        for asked in ({"loras": (lora(files, 1.0),)}, {"embeddings": (glow,)},
                      {"controls": (guide,)})
    ]  # fmt: skip
    assert len({tuple(each.flatten().tolist()) for each in (plain, *found)}) == 4
    assert torch.equal(run(model)[0], plain)
    for part, old in zip(model.networks, before, strict=True):
        now = part.state_dict()
        assert now.keys() == old.keys() and all(torch.equal(now[name], old[name]) for name in old)


def test_the_strength_of_a_lora(model: Model, files: Path) -> None:
    plain, full = run(model)[0], run(model, loras=(lora(files, 1.0),))[0]
    assert torch.equal(run(model, loras=(lora(files, 0.0),))[0], plain)
    twice = run(model, loras=(lora(files, 0.25), lora(files, 0.75)))[0]
    torch.testing.assert_close(twice, full, rtol=0, atol=1e-3)
    assert (full - plain).abs().max() > 0.01


def test_a_control_network_is_the_one_of_its_file_and_stretching_is_said(
    model: Model, files: Path
) -> None:
    paths = [str(files / name) for name in ("control", "edges.png")]
    network, _ = open_control(paths[0], model)
    hint, said = read_hint(paths[1], SIZE)
    along = controlled(model.sized(*SIZE), network, hint, 0.5)
    for step in generate(along, conditions=[Prompt("a glow")], sampling=SAMPLING):
        x = step.x
    guide = Guide(Added(paths[0], Added.of(paths[0], "").sha256, 0.5), Added.of(paths[1], ""))
    samples, notes = run(model, controls=(guide,))
    assert torch.equal(samples, along.codec.decode(x).clamp(-1, 1))
    assert said[0] in notes and "edges.png is 80x80 and was stretched to 40x72" in said[0]


def test_a_control_network_for_another_family(model: Model, files: Path, tmp_path: Path) -> None:
    checkpoints.controlnet("sd21").save_pretrained(tmp_path / "other")
    other, hint = str(tmp_path / "other"), str(files / "edges.png")
    guide = Guide(Added.of(other, ""), Added.of(hint, ""))
    with pytest.raises(ValueError, match=r"other is a control network for sd2.* sd1"):
        run(model, controls=(guide,))
