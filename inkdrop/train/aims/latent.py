"""Latent diffusion on your own pictures, from scratch (Rombach et al. 2022).

OUT/autoencoder/      the autoencoder's run, unless one is reused
OUT/latents/          the pictures' codes, with their measured shift and scale
OUT/tokenizer.json    fitted to the captions, if a text encoder is trained on them
OUT/                  the denoiser's run, like any other

`train_latent` runs all stages; it skips finished ones and resumes a stopped one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from inkdrop import runs
from inkdrop.codecs.codec import Codec
from inkdrop.codecs.latent import Latent, LatentConfig, load_autoencoder
from inkdrop.conditioning.known import Known
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer import FILE, Tokenizer, train_tokenizer
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.latents import Encoding, check_coding, codec, encode, open_latents
from inkdrop.events import Note
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.runs import own_folder
from inkdrop.train.aim import Aim
from inkdrop.train.aims.autoencoder import shape_for, train_autoencoder
from inkdrop.train.aims.captions import written
from inkdrop.train.aims.frozen import Remembered, frozen_aim
from inkdrop.train.aims.latent_aim import latent_aim, reading, sketched, text_aim
from inkdrop.train.aims.latent_config import CODE_CHANNELS, Latents
from inkdrop.train.aims.prompted import read_of
from inkdrop.train.events import Event
from inkdrop.train.feed import split
from inkdrop.train.parallel import World
from inkdrop.train.plan import NAME, asked_of, difference, trial
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train_in, writing
from inkdrop.train.source import recorded
from inkdrop.train.stop import Stopped
from inkdrop.weights import on_meta, read_json

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
    with writing(out, world) as said:
        yield from map(Note, said)
        yield from _stages(data, out, request, plan, world)


def _stages(
    data: Dataset, out: Path, request: TrainRequest, plan: Latents, world: World
) -> Iterator[Event | Encoding]:
    """The stages, in a folder that is locked."""
    reads, asked = plan.reads(data), plan.denoised(request)
    _check(data, reads)
    _fits(out, data, asked)
    frozen = None if plan.text_encoder is None else _pretrained(plan.text_encoder, world.device)
    text = plan.encoder or TEXT
    words = _tokenizer(data, out, text) if reads and frozen is None else None
    coded = plan.autoencoder
    if coded is None:
        shape = shape_for(data, plan.factor, plan.code_channels or CODE_CHANNELS)
    else:
        shape = load_autoencoder(own_folder(coded)[0]).config
    check_coding(data, shape)
    if not (out / NAME).is_file():  # otherwise its first update is done
        try:
            _try(data, shape, asked, plan, frozen, words, world)
        except Stopped:
            yield Note("stopped before the first update")
            return
    if coded is None:
        coded = out / "autoencoder"
        yield Note(f"autoencoder: {coded}")
        coding = plan.coded(request)
        yield from train_autoencoder(data, coded, shape, request=coding, world=world)
        if world.agree(world.stop.is_set()):
            return
    autoencoder = load_autoencoder(own_folder(coded)[0]).to(world.device)
    if world.main:
        for event in encode(data, autoencoder, out / "latents"):
            yield event
            if world.stop.is_set():
                break
    world.wait()
    if world.agree(world.stop.is_set()):
        yield Note("stopped; the same command goes on from here")
        return
    shown = codec(out / "latents", autoencoder).to(world.device)
    latents = open_latents(out / "latents", data, autoencoder)
    encoder = known = None
    if words is not None:
        if world.main and not (out / FILE).is_file():
            words.write(out)
        world.wait()
        words = Tokenizer.read(out, vocabulary=text.vocabulary)
        seed = request.config.seed
        training = split(latents, seed)[0]
        encoder = sketched(training, words, text, plan.captioner, seed)
        if plan.captioner is written:
            known = read_of(training, words, text.context)
    aim = _denoising(data, shown, plan, frozen, words, encoder, known)
    yield Note(f"denoiser: {out}")
    yield from train_in(out, latents, asked, aim, world)


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


def _fits(out: Path, data: Dataset, asked: TrainRequest) -> None:
    """ValueError if `out` holds another run; its codes are compared later, when they are known."""
    if not runs.checkpoints(out) or not (out / NAME).is_file():
        return
    stored, codes = recorded(out / NAME, "model"), out / "latents" / "latents.json"
    if codes.is_file():
        same = read_json(codes).get("data") == data.fingerprint
    else:
        same = stored["model"].get("codec", {}).get("kind") == "latent"
    before = {**stored.get("asked", {}), "data": same, "aim": None}
    other = difference(out, before, {**asked_of(asked), "data": True, "aim": None})
    if other is not None:
        raise ValueError(other)


def _try(
    data: Dataset,
    shape: AutoencoderConfig,
    asked: TrainRequest,
    plan: Latents,
    frozen: Text | None,
    words: Tokenizer | None,
    world: World,
) -> None:
    """One update of the denoiser on blank codes, so that what prevents it is said at once.

    Otherwise it would be said after the autoencoder's training.
    """
    channels = shape.latent_channels
    with on_meta():
        autoencoder = Autoencoder(shape)
    blank = Latent(LatentConfig(shape, (0.0,) * channels, (1.0,) * channels), autoencoder)
    sizes = blank.shape(data.shape)
    zeros = np.broadcast_to(np.zeros((), np.float32), (len(data), *sizes))
    codes = dataclasses.replace(data, shape=sizes, store=ArrayStore(zeros, 1.0, 0.0))
    encoder = None
    if words is not None:
        encoder = TextEncoder(dataclasses.replace(plan.encoder or TEXT, sketch=sizes))
    aim = _denoising(data, blank, plan, frozen, words, encoder)
    config, description = asked.config, aim.describe(codes, asked)
    trial(config, description, split(codes, config.seed)[0], aim, world, count=1)


def _denoising(
    data: Dataset,
    shown: Codec,
    plan: Latents,
    frozen: Text | None,
    words: Tokenizer | None,
    encoder: TextEncoder | None,
    known: Known | None = None,
) -> Aim:
    """The denoiser's aim: without text, with a frozen encoder, or with one that is trained."""
    if frozen is not None and plan.text_encoder is not None:
        aim = latent_aim(data.shape, shown, plan.network, frozen.encoder.width, sketched=False)
        aim = reading(aim, Remembered(frozen), plan.captioner)
        return frozen_aim(aim, frozen, plan.text_encoder)
    if words is None or encoder is None:
        return latent_aim(data.shape, shown, plan.network)
    aim = latent_aim(data.shape, shown, plan.network, encoder.config.width)
    return text_aim(aim, words, encoder, plan.captioner, known)


def _pretrained(folder: Path, device: torch.device) -> Text:
    """The frozen encoder in a folder, on the training device."""
    text = open_pretrained(folder)
    for network in text.networks:
        network.to(device)
    return text


def _tokenizer(data: Dataset, out: Path, text: TextEncoderConfig) -> Tokenizer:
    """The tokenizer of the captions: the one in `out`, or a new one that is written there later."""
    if (out / FILE).is_file():
        return Tokenizer.read(out, vocabulary=text.vocabulary)
    captions = (caption for i in range(len(data)) for caption in data.texts(i))
    return train_tokenizer(captions, text.vocabulary)
