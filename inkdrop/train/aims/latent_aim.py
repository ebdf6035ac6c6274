"""The aim of a denoiser of codes, alone or with a text encoder of its captions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from inkdrop.codecs.codec import Codec
from inkdrop.conditioning.known import Known
from inkdrop.conditioning.prompt import escape
from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.config import dump
from inkdrop.data.dataset import Dataset
from inkdrop.media.medium import Look
from inkdrop.model import Model, Prompt
from inkdrop.model.folder import build_model
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.registry import describe_codec
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import defaults
from inkdrop.train.aim import Aim
from inkdrop.train.aims.captions import Captioner
from inkdrop.train.aims.prompted import (
    Drops,
    Ids,
    Joined,
    Prompted,
    Reader,
    TextFeed,
    prompted_losses,
)
from inkdrop.train.aims.sketch import fit_sketch
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import HeldOut
from inkdrop.train.preview import sampled
from inkdrop.train.request import TrainRequest

if TYPE_CHECKING:
    from PIL.Image import Image


def latent_aim(
    shape: tuple[int, ...],
    shown: Codec,
    network: str = "dit",
    tokens: int | None = None,
    sketched: bool = True,
) -> Aim:
    """The aim for a denoiser of codes.

    shape: of the decoded data; shown: the codec between data and codes
    tokens: width of the text tokens that the network reads, if any
    sketched: whether it also receives a sketch computed from the text
    """

    def describe(data: Dataset, request: TrainRequest) -> dict[str, Any]:
        classes = 0 if data.labels is None else len(data.label_names)
        variance = request.config.loss == "hybrid"
        wanted = defaults.latent_network(data.shape, classes, tokens, network, sketched, variance)
        usual = {"network": wanted}
        vector = defaults.channels_beside(data, "vector")
        if vector and tokens is None:
            usual["network"]["vector_dim"] = vector
        whole = defaults.model_description(data, request.config, {**usual, **request.model})
        whole["codec"] = describe_codec(shown)
        whole["spec"] |= {"shape": tuple(shape), "clip": False}
        return whole

    def build(description: Mapping[str, Any], where: str) -> Model:
        return dataclasses.replace(build_model(description, where), codec=shown)

    return Aim(describe=describe, build=build)


def sketched(
    training: Dataset, words: Tokenizer, text: TextEncoderConfig, captioner: Captioner, seed: int
) -> TextEncoder:
    """A new text encoder with a sketch fitted to these codes; see `train.aims.sketch`."""
    torch.manual_seed(seed)
    encoder = TextEncoder(dataclasses.replace(text, sketch=training.shape))
    assert encoder.sketch is not None
    fit_sketch(encoder.sketch, training, words, text.context, captioner, seed)
    return encoder


def text_aim(
    aim: Aim,
    words: Tokenizer,
    encoder: TextEncoder,
    captioner: Captioner,
    known: Known | None = None,
) -> Aim:
    """The same aim, for a model that is trained jointly with the text encoder of its captions.

    encoder: the text encoder to start from; it is copied. known: what its captions teach
    """

    def build(description: Mapping[str, Any], where: str) -> Prompted:
        model = aim.build(description, where)
        assert isinstance(model, Model)
        return Prompted(Joined(model.network, copy.deepcopy(encoder)), model, words, known)

    told = reading(aim, Ids(words, encoder.context), captioner)
    return dataclasses.replace(told, build=build, record={"text": dump(encoder.config)})


def reading(aim: Aim, read: Reader, captioner: Captioner) -> Aim:
    """The same aim, for a model that reads captions: with its own feed, drop rates and previews.

    read: turns captions into the network's condition
    """

    def describe(data: Dataset, request: TrainRequest) -> dict[str, Any]:
        whole, drops = aim.describe(data, request), Drops.of(request.config.condition_drop)
        null = drops.both if data.labels is not None else drops.text + drops.both
        whole["spec"] |= {"condition_drop": null, "guidance": 3.0 if null else 1.0}
        return whole

    def feed(data: Dataset, config: TrainConfig, device: torch.device) -> TextFeed:
        return TextFeed(data, config, device, read, captioner, Drops.of(config.condition_drop))

    return dataclasses.replace(
        aim,
        objective=prompted_losses,
        describe=describe,
        picture=answered,
        feed=feed,
        held=lambda data, config, device: feed(data, config, device).held(),
    )


def answered(trained: Prompted | Model, held: HeldOut | None) -> Image | None:
    """Held-out pictures above samples for the same captions and labels."""
    model = trained.whole if isinstance(trained, Prompted) else trained
    if held is None or held.data.captions is None:
        return sampled(model, held)
    data, count = held.data, min(8, len(held.data))
    labels = [None] * count if data.labels is None else [int(data.labels[i]) for i in range(count)]
    captions = data.captions or ()
    asked = [Prompt(escape(captions[i]), labels[i]) for i in range(count)]
    x = generate_many(model, count=count, conditions=list(asked), sampling=Sampling()).cpu()
    with torch.no_grad():
        real = model.codec.decode(data.take(range(count)).to(model.device)).clamp(-1, 1).cpu()
    return model.medium.sheet(torch.cat([real, x.float()]), Look(columns=count))
