"""`Aim`: what a run trains and minimises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.model.folder import build_model
from inkdrop.train import defaults
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import Feed, HeldOut, held_out
from inkdrop.train.objective import Batches, Objective, Trained, losses
from inkdrop.train.preview import sampled
from inkdrop.train.request import TrainRequest

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Aim:
    """What a run trains and minimises; by default a diffusion model and the config's loss.

    objective: the loss
    describe: (data, request) -> the content of model.json
    build: (that content, a name for error messages) -> the model with newly initialised weights
    weights: a state dict to start from instead
    picture: (the model with averaged weights, held-out data) -> a preview image, or None
    feed, held: the training batches and the validation batches
    record: everything else that affects the result, for run.json; resuming with another is an error
    """

    objective: Objective = losses
    describe: Callable[[Dataset, TrainRequest], dict[str, Any]] = defaults.description
    build: Callable[[Mapping[str, Any], str], Trained] = build_model
    weights: Mapping[str, Tensor] | None = None
    picture: Callable[[Any, HeldOut | None], Image | None] = sampled
    feed: Callable[[Dataset, TrainConfig, torch.device], Batches] = Feed
    held: Callable[[Dataset, TrainConfig, torch.device], HeldOut] = held_out
    record: Mapping[str, Any] | None = None

    def first(self, description: Mapping[str, Any]) -> Trained:
        """The model before the first update, on the CPU."""
        model = self.build(description, "the model's description")
        if self.weights is not None:
            model.network.load_state_dict(dict(self.weights))
        return model


DIFFUSION = Aim()
