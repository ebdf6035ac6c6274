"""Latent consistency models: networks that are told the guidance, against diffusers' pipeline."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import pipelines
import pytest
import torch
from checkpoints import difference, edit, random, small
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.convert import convert
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.export import single_weights
from inkdrop.diffusion.samplers import consistency
from inkdrop.model import Model, Prompt
from inkdrop.tasks.generate import generate
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import Sampling

WORDS = ["a photo of a red fox", "two green hills"]
SIZE = (72, 40)
TOLD = 32  # numbers that say the guidance


@pytest.fixture(scope="module")
def pipe() -> Any:
    """diffusers' pipeline with random weights."""
    parts = pipelines.pipeline("sd15").components
    told = {**checkpoints.scheduler("sd15"), "_class_name": "LCMScheduler"}
    network = diffusers.UNet2DConditionModel(**small("sd15"), time_cond_proj_dim=TOLD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts |= {"unet": random(network), "scheduler": diffusers.LCMScheduler.from_config(told)}
        made = diffusers.LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def folder(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lcm") / "lcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return open_checkpoint(folder)[0].sized(*SIZE)


def drawn(seed: int) -> Any:
    """Noises one after the other, as diffusers draws them."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *_: torch.randn(2, 4, SIZE[0] // 8, SIZE[1] // 8, generator=generator)


@pytest.mark.parametrize("guidance", [1.0, 8.5])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_the_last_latents_of_their_pipeline(
    pipe: Any, model: Model, steps: int, guidance: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pipe(
            WORDS, height=SIZE[0], width=SIZE[1], num_inference_steps=steps, output_type="latent",
            guidance_scale=guidance, generator=torch.Generator().manual_seed(5),
        ).images  # fmt: skip
    asked = Sampling(steps=steps, guidance=guidance)
    plan, noise = chosen(model, asked), drawn(5)
    assert plan.sampler == "consistency"
    denoise = denoiser(model, [Prompt(w) for w in WORDS], 2, asked)
    with torch.no_grad():
        *_, last = consistency(model.process, denoise, noise(), plan.times, noise=noise)
    assert 0.1 < expected.std() < 100
    assert difference(last.x, expected) < 1e-3


def test_the_strength_is_embedded_as_theirs(pipe: Any, model: Model) -> None:
    x, t, tokens = torch.randn(3, 4, 9, 5), torch.tensor([1.0, 500.0, 999.0]), torch.randn(3, 7, 24)
    strengths = torch.tensor([1.0, 4.5, 14.0])
    told = pipe.get_guidance_scale_embedding(strengths - 1, embedding_dim=TOLD)
    expected = pipe.unet(x, t, tokens, timestep_cond=told).sample
    said = model.network(x, t, Cond(tokens=tokens, guidance=strengths))
    assert difference(said, expected) < 1e-4
    assert difference(model.network(x, t, Cond(tokens=tokens, guidance=strengths + 1)), said) > 1e-3
    with pytest.raises(ValueError, match=r"needs cond\.guidance, a guidance scale for each sample"):
        model.network(x, t, Cond(tokens=tokens))


def test_a_guided_sample_is_one_call_a_step(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()
    forward = model.network.forward
    monkeypatch.setattr(
        model.network, "forward", lambda x, t, cond: calls.append(len(x)) or forward(x, t, cond)
    )

    def last(**asked: Any) -> Tensor:
        prompts = [Prompt(w) for w in WORDS]
        *_, step = generate(model, samples=(0, 1), conditions=prompts, sampling=Sampling(**asked))
        return step.x

    usual = last()
    assert calls == [2] * 4
    assert torch.equal(usual, last(guidance=8.5)) and not torch.equal(usual, last(guidance=2.0))
    assert torch.equal(usual, last(reuse=1)) and last(reuse=2).isfinite().all()


@pytest.mark.parametrize(
    "asked", [{"negative": Prompt("fog")}, {"rule": "apg"}, {"rescale": 0.7}, {"interval": (1, 2)}]
)
def test_what_only_a_computed_guidance_can_do(model: Model, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="but this model takes the .* as an input"):
        denoiser(model, [Prompt("a")], 1, Sampling(**asked))


def test_there_and_back(folder: Path, pipe: Any, model: Model, tmp_path: Path) -> None:
    convert(folder, tmp_path / "own")
    convert(tmp_path / "own", tmp_path / "out", "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "out")
    assert type(again) is type(pipe) and type(again.scheduler) is type(pipe.scheduler)
    assert again.unet.config.time_cond_proj_dim == TOLD
    for name, value in again.unet.state_dict().items():
        assert torch.equal(value, pipe.unet.state_dict()[name])
    spec = open_checkpoint(tmp_path / "out")[0].sized(*SIZE).spec
    assert spec == model.spec and spec.notes["trained timesteps"] == "50"
    with pytest.raises(ValueError, match="guidance_dim of the U-Net is 32, but a single file"):
        single_weights(model)


def test_a_student_that_computes_its_guidance(folder: Path, tmp_path: Path) -> None:
    pipelines.saved(tmp_path / "a", "sd15")
    edit(tmp_path / "a" / "model_index.json", scheduler=["diffusers", "LCMScheduler"])
    told = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    edit(tmp_path / "a" / "scheduler" / "scheduler_config.json", **told)
    model, _ = open_checkpoint(tmp_path / "a")
    assert not model.spec.told_guidance and model.spec.guidance == 1.0
    assert chosen(model).sampler == "consistency" and len(chosen(model).times) == 5
    convert(tmp_path / "a", tmp_path / "out", "folder")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["scheduler"] == ["diffusers", "LCMScheduler"]
    assert open_checkpoint(tmp_path / "out")[0].spec == model.spec
