"""Latent diffusion on your own pictures, from scratch (Rombach et al. 2022).

OUT/autoencoder/      the autoencoder's run, unless one is reused
OUT/latents/          the pictures' codes, with their measured shift and scale
OUT/tokenizer.json    fitted to the captions, if a text encoder is trained on them
OUT/                  the denoiser's run, like any other

`train_latent` runs all stages; it skips finished ones and resumes a stopped one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inkdrop.codecs.codec import Codec
from inkdrop.codecs.latent import load_autoencoder
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer import FILE, Tokenizer, train_tokenizer
from inkdrop.config import dump
from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import Encoding, codec, encode, open_latents
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Model, Prompt
from inkdrop.model.folder import build_model
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.registry import describe_codec
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import defaults
from inkdrop.train.aim import Aim
from inkdrop.train.aims.autoencoder import shape_for, train_autoencoder
from inkdrop.train.aims.captions import Captioner
from inkdrop.train.aims.frozen import Remembered, frozen_aim
from inkdrop.train.aims.latent_config import CODE_CHANNELS, Latents
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
from inkdrop.train.events import Event
from inkdrop.train.feed import HeldOut, split
from inkdrop.train.parallel import World
from inkdrop.train.preview import sampled
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train

if TYPE_CHECKING:
    from PIL.Image import Image

TEXT = TextEncoderConfig(vocabulary=4096, width=192, layers=2, heads=3, context=32)


def train_latent(
    data: Dataset,
    out: str | Path,
    request: TrainRequest,
    plan: Latents,
    *,
    world: World | None = None,
) -> Iterator[Event | Encoding]:
    """Runs all stages on `data` in the run folder `out`; yields their events, with `Note`s between.

    ValueError if text is to be read but there are no captions, if `plan.text_encoder` is not a text
    encoder's folder, if the autoencoder does not fit the pictures, if its codes have collapsed or
    are not finite, and wherever `run.train` raises it.
    """
    out, world = Path(out), world or World()
    reads, asked = plan.reads(data), plan.denoised(request)
    _check(data, reads)
    frozen = None if plan.text_encoder is None else _pretrained(plan.text_encoder, world.device)
    coded = plan.autoencoder
    if coded is None:
        coded = out / "autoencoder"
        yield Note(f"autoencoder: {coded}")
        shape = shape_for(data, plan.factor, plan.code_channels or CODE_CHANNELS)
        coding = plan.coded(request)
        yield from train_autoencoder(data, coded, shape, request=coding, world=world)
        if world.agree(world.stop.is_set()):
            return
    autoencoder = load_autoencoder(own_folder(coded)[0]).to(world.device)
    if world.main:
        yield from encode(data, autoencoder, out / "latents")
    world.wait()
    shown = codec(out / "latents", autoencoder).to(world.device)
    latents = open_latents(out / "latents", data, autoencoder)
    if frozen is not None and plan.text_encoder is not None:
        aim = latent_aim(data.shape, shown, plan.network, frozen.encoder.width, sketched=False)
        aim = reading(aim, Remembered(frozen), plan.captioner)
        aim = frozen_aim(aim, frozen, plan.text_encoder)
    elif not reads:
        aim = latent_aim(data.shape, shown, plan.network)
    else:
        text, seed = plan.encoder or TEXT, request.config.seed
        words = _tokenizer(data, out, text, world)
        encoder = sketched(split(latents, seed)[0], words, text, plan.captioner, seed)
        aim = latent_aim(data.shape, shown, plan.network, text.width)
        aim = text_aim(aim, words, encoder, plan.captioner)
    yield Note(f"denoiser: {out}")
    yield from train(latents, out, asked, aim=aim, world=world)


def _check(data: Dataset, reads: bool) -> None:
    """ValueError for missing captions, and for extra conditions that cannot be used."""
    if reads and data.captions is None:
        raise ValueError(
            f"{data.name} has no captions, which a model that reads text needs: put a .txt beside"
            " each picture, or a metadata.jsonl into the folder"
        )
    if "concat" in data.beside:
        raise ValueError(
            f"{data.name} has a concat of pictures beside it, but a latent model joins codes; leave"
            " it out, or use it as a hint"
        )
    taken = [name for name in ("tokens", "mask", "vector") if name in data.beside]
    if reads and taken:
        raise ValueError(
            f"{data.name} has a {taken[0]} beside it, which a model that reads text makes of its"
            " words; leave one of them out"
        )


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
        usual = {"network": defaults.latent_network(data.shape, classes, tokens, network, sketched)}
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


def text_aim(aim: Aim, words: Tokenizer, encoder: TextEncoder, captioner: Captioner) -> Aim:
    """The same aim, for a model that is trained jointly with the text encoder of its captions.

    encoder: the text encoder to start from; it is copied
    """

    def build(description: Mapping[str, Any], where: str) -> Prompted:
        model = aim.build(description, where)
        assert isinstance(model, Model)
        return Prompted(Joined(model.network, copy.deepcopy(encoder)), model, words)

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
    asked = [Prompt(captions[i], labels[i]) for i in range(count)]
    x = generate_many(model, count=count, conditions=list(asked), sampling=Sampling()).cpu()
    with torch.no_grad():
        real = model.codec.decode(data.take(range(count)).to(model.device)).clamp(-1, 1).cpu()
    return model.medium.sheet(torch.cat([real, x.float()]), Look(columns=count))


def _pretrained(folder: Path, device: torch.device) -> Text:
    """The frozen encoder in a folder, on the training device."""
    text = open_pretrained(folder)
    for network in text.networks:
        network.to(device)
    return text


def _tokenizer(data: Dataset, out: Path, text: TextEncoderConfig, world: World) -> Tokenizer:
    """The tokenizer of the captions: trained by the first call, read from `out` by later ones."""
    if world.main and not (out / FILE).is_file():
        captions = (text for i in range(len(data)) for text in data.texts(i))
        train_tokenizer(captions, text.vocabulary).write(out)
    world.wait()
    return Tokenizer.read(out, vocabulary=text.vocabulary)
