"""Training on captions that a frozen encoder reads: it stays as it came, runs resume exactly."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from encoders import clip, encoder
from safetensors.torch import load_file

from inkdrop.conditioning.clip import longer, theirs
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.data.dataset import Dataset
from inkdrop.model import Model, Prompt
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.frozen import Remembered, fingerprint
from inkdrop.train.aims.latent import train_latent
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import LATENT_TRAINING, TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
CONFIG = TrainConfig(updates=4, batch=8, warmup=2, precision="float32")
SMALL = {**tiny.DIT, "in_channels": 2, "tokens_dim": 16, "vector_dim": 16}


def ask(**changes: Any) -> TrainRequest:
    return TrainRequest(CONFIG, model={"network": SMALL}, save_every=99, **changes)


def plan(folder: Path, **changes: Any) -> Latents:
    coding = TrainRequest(CONFIG, save_every=99)
    return Latents(factor=2, code_channels=2, coding=coding, text_encoder=folder, **changes)


def run(data: Dataset, out: Path, folder: Path, stop_after: int | None = None) -> int:
    """Trains, or a part of it; the number of updates."""
    stop, seen = threading.Event(), 0
    for event in train_latent(data, out, ask(), plan(folder), world=World(device=CPU, stop=stop)):
        seen += isinstance(event, Update)
        if seen == stop_after:
            stop.set()
    return seen


def weights(folder: Path, name: str = "network") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / f"{name}.safetensors")
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("kind", ["clip", "T5EncoderModel"])
def test_it_resumes_to_the_bit_and_the_encoder_stays_as_it_came(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    source = tmp_path / "encoder"
    clip(source) if kind == "clip" else encoder(source, kind)
    data = tiny.captioned(tmp_path)
    assert run(data, tmp_path / "whole", source) == 8
    assert run(data, tmp_path / "parts", source, stop_after=6) == 6  # 4 are the autoencoder's
    assert run(data, tmp_path / "parts", source) == 2
    whole, parts = (own_folder(tmp_path / name)[0] for name in ("whole", "parts"))
    for name in ("network", "codec", "text"):
        assert same(weights(whole, name), weights(parts, name))
    came, kept = load_file(source / "model.safetensors"), weights(whole, "text")
    if kind == "clip":
        came, kept = longer(came), {theirs(name): value for name, value in kept.items()}
    assert same(kept, came)
    training = whole.parent / "training"
    for name in ("network", "average", "optimizer"):  # the denoiser's alone
        keys = {key.split(":")[0] for key in load_file(training / f"{name}.safetensors")}
        assert keys == weights(whole).keys()


def test_its_folder_stands_alone_and_makes_pictures(tmp_path: Path) -> None:
    source = tmp_path / "encoder"
    clip(source)
    data = tiny.captioned(tmp_path)
    run(data, tmp_path / "run", source)
    shutil.rmtree(source)
    model = Model.load(own_folder(tmp_path / "run")[0])
    assert model.spec.condition_drop == pytest.approx(0.1)
    asked = [Prompt("bright above"), Prompt("(bright:1.4) below " * 9, "1"), "?"]
    x = generate_many(model, count=3, conditions=list(asked), sampling=Sampling(steps=2))
    assert x.shape == (3, *data.shape) and bool(x.isfinite().all())


def test_it_draws_what_the_text_says(tmp_path: Path) -> None:
    """What a denoiser learns of a frozen encoder's tokens is what its folder is told."""
    torch.manual_seed(0)
    source = tmp_path / "encoder"
    encoder(source, "T5EncoderModel")
    data = dataclasses.replace(tiny.captioned(tmp_path), labels=None, label_names=())
    network = {**SMALL, "num_classes": None}
    config = dataclasses.replace(
        LATENT_TRAINING, updates=300, batch=16, lr=5e-3, warmup=5, ema=0.9, precision="float32"
    )
    coding = TrainRequest(dataclasses.replace(CONFIG, updates=20), save_every=99)
    wanted = Latents(factor=2, code_channels=2, coding=coding, text_encoder=source)
    asked = TrainRequest(config, model={"network": network})
    list(train_latent(data, tmp_path / "run", asked, wanted, world=World(device=CPU)))
    model = Model.load(own_folder(tmp_path / "run")[0])
    prompts = ["bright above", "bright below"] * 4
    x = generate_many(model, count=8, conditions=[Prompt(text) for text in prompts])
    above = x[:, :, :4].mean((1, 2, 3)) - x[:, :, 4:].mean((1, 2, 3))
    assert above[::2].min() > 0.5 and above[1::2].max() < -0.5


def test_another_encoder_or_tokenizer_is_refused(tmp_path: Path) -> None:
    source, other = tmp_path / "encoder", tmp_path / "other"
    torch.manual_seed(0)
    encoder(source, "BertModel")
    data = tiny.captioned(tmp_path)
    run(data, tmp_path / "run", source, stop_after=6)
    encoder(other, "BertModel")  # other random weights
    with pytest.raises(ValueError, match="was started with encoder"):
        run(data, tmp_path / "run", other)
    shutil.copyfile(source / "model.safetensors", other / "model.safetensors")
    words = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(words.replace('"Lowercase"', '"NFC"'), encoding="utf-8")
    with pytest.raises(ValueError, match="was started with encoder"):
        run(data, tmp_path / "run", other)
    assert run(data, tmp_path / "run", source) == 2


def test_words_of_a_tokenizer_count_in_its_fingerprint(tmp_path: Path) -> None:
    clip(tmp_path)
    text = open_pretrained(tmp_path)
    plain = hashlib.sha256(text.tokenizer.backend.to_str().encode())
    plain.update(hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).digest())
    assert fingerprint(tmp_path, text) == plain.hexdigest()

    def told(**words: tuple[int, ...]) -> str:
        tokenizer = dataclasses.replace(text.tokenizer, words=words)
        return fingerprint(tmp_path, dataclasses.replace(text, tokenizer=tokenizer))

    assert told() == plain.hexdigest()
    assert told(glow=(9,), sea=(8,)) == told(sea=(8,), glow=(9,))
    assert len({told(), told(glow=(9,)), told(glow=(8, 9)), told(glow=(8,)), told(sea=(9,))}) == 5


def test_bad_input_before_any_work(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"there is no config\.json in"):
        run(data, tmp_path / "run", tmp_path / "empty")
    clip(tmp_path / "encoder")
    with pytest.raises(ValueError, match="has no captions"):
        run(tiny.data(tmp_path), tmp_path / "run", tmp_path / "encoder")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="is either trained here"):
        plan(tmp_path / "encoder", encoder=tiny.TEXT)


def test_a_caption_is_read_once_and_by_itself(tmp_path: Path) -> None:
    clip(tmp_path)
    text = open_pretrained(tmp_path)
    read = Remembered(text)
    together = read(["a dog (red)", "the sea " * 20, ""])
    assert together.tokens is not None and together.mask is not None
    for row, caption in enumerate((r"a dog \(red\)", "the sea " * 20, "")):
        alone = text.encode([caption])
        said = alone.tokens[0][alone.mask[0]]  # type: ignore[index]
        assert torch.equal(together.tokens[row][together.mask[row]], said)
        assert torch.equal(together.vector[row], alone.vector[0])  # type: ignore[index]
    reads = 0

    def counted(*_: Any) -> None:
        nonlocal reads
        reads += 1

    text.networks[0].get_submodule("embedding").register_forward_hook(counted)
    again = read(["", "a dog (red)"])
    assert reads == 0 and again.tokens is not None
    assert torch.equal(again.tokens[1], together.tokens[0, : again.tokens.shape[1]])


def test_what_is_remembered_has_bounds(tmp_path: Path) -> None:
    clip(tmp_path)
    read = Remembered(open_pretrained(tmp_path), room=1000)
    first = read(["a dog"])
    for word in ("red", "sea", "hill", "cat"):
        read([f"a {word}"])
    assert read.used <= 1000 and len(read.known) < 5 and "a dog" not in read.known
    again = read(["a dog"])
    assert torch.equal(again.tokens, first.tokens)  # type: ignore[arg-type]
