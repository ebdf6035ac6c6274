"""inkdrop: the whole diffusion stack in one small library."""

from __future__ import annotations

import importlib
from functools import cache
from types import FunctionType

__version__ = "0.1.0"

# The public names and where they live; nothing is loaded before its first use.
_HOME = {
    "Batch": "inkdrop.train.objective",
    "Cond": "inkdrop.cond",
    "Dataset": "inkdrop.data.dataset",
    "Denoiser": "inkdrop.diffusion.guidance",
    "DiT": "inkdrop.networks.dit",
    "DiTConfig": "inkdrop.networks.dit",
    "Discrete": "inkdrop.diffusion.discrete",
    "DistillConfig": "inkdrop.train.aims.distill_config",
    "EDM": "inkdrop.diffusion.parameterization",
    "Eps": "inkdrop.diffusion.parameterization",
    "Flow": "inkdrop.diffusion.process",
    "Likelihood": "inkdrop.diffusion.ode_likelihood",
    "Made": "inkdrop.make.make",
    "Mean": "inkdrop.diffusion.parameterization",
    "Model": "inkdrop.model",
    "Noise": "inkdrop.diffusion.noise",
    "Parameterization": "inkdrop.diffusion.parameterization",
    "Predictor": "inkdrop.diffusion.guidance",
    "Request": "inkdrop.tasks.request",
    "Process": "inkdrop.diffusion.process",
    "Prompt": "inkdrop.conditions",
    "Sampling": "inkdrop.tasks.sampling",
    "Score": "inkdrop.diffusion.parameterization",
    "SeededNoise": "inkdrop.diffusion.noise",
    "Spec": "inkdrop.model",
    "Step": "inkdrop.diffusion.samplers.step",
    "TrainConfig": "inkdrop.train.config",
    "Tuned": "inkdrop.model",
    "UNet": "inkdrop.networks.unet",
    "UNetConfig": "inkdrop.networks.unet",
    "Update": "inkdrop.train.updates",
    "V": "inkdrop.diffusion.parameterization",
    "VE": "inkdrop.diffusion.process",
    "VP": "inkdrop.diffusion.process",
    "Velocity": "inkdrop.diffusion.parameterization",
    "X0": "inkdrop.diffusion.parameterization",
    "bits_per_dimension": "inkdrop.diffusion.likelihood",
    "cfg": "inkdrop.diffusion.guidance",
    "clip": "inkdrop.diffusion.constraints",
    "compare": "inkdrop.tune.compare",
    "controlled": "inkdrop.tasks.control",
    "ddim": "inkdrop.diffusion.samplers.ddim",
    "ddpm": "inkdrop.diffusion.samplers.ddpm",
    "ddpm_beta": "inkdrop.diffusion.samplers.ddpm",
    "distill": "inkdrop.train.aims.distill",
    "dpmpp_2m": "inkdrop.diffusion.samplers.dpmpp_2m",
    "edit": "inkdrop.tasks.edit",
    "euler": "inkdrop.diffusion.samplers.ddim",
    "fit": "inkdrop.tune.fit",
    "generate": "inkdrop.tasks.generate",
    "grid": "inkdrop.diffusion.times",
    "heun": "inkdrop.diffusion.samplers.heun",
    "inpaint": "inkdrop.tasks.inpaint",
    "interpolate_pictures": "inkdrop.tasks.interpolate",
    "interpolate_seeds": "inkdrop.tasks.interpolate",
    "invert": "inkdrop.tasks.invert",
    "make": "inkdrop.make.make",
    "likelihood": "inkdrop.tasks.likelihood",
    "ode_likelihood": "inkdrop.diffusion.ode_likelihood",
    "open_data": "inkdrop.data.open",
    "open_model": "inkdrop.find",
    "open_checkpoint": "inkdrop.convert.open",
    "reconstruct": "inkdrop.tasks.invert",
    "sampler": "inkdrop.diffusion.samplers",
    "save": "inkdrop.make.save",
    "train": "inkdrop.train.run",
    "unipc": "inkdrop.diffusion.samplers.corrected",
    "updates": "inkdrop.train.updates",
    "with_autoencoder": "inkdrop.convert.autoencoder",
    "with_embedding": "inkdrop.convert.adapters.embedding",
    "with_lora": "inkdrop.convert.adapters.merge",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'inkdrop' has no attribute {name!r}")
    value = public(name)
    return globals().setdefault(name, value)  # `train` and `make` are packages too: see Door


@cache
def public(name: str) -> object:
    """What a public name stands for; functions check the kinds of their arguments."""
    value = getattr(importlib.import_module(_HOME[name]), name)
    if not isinstance(value, FunctionType):
        return value
    return importlib.import_module("inkdrop.arguments").checked(value)


def __dir__() -> list[str]:
    return sorted(__all__)
