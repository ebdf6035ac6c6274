"""The bundled model: emoji from text, in four styles.

    python recipes/emoji.py DATA/emoji64.parquet --out runs/emoji

Each stage resumes where it stopped; finished stages are skipped.

    pictures      the training rows, as a table; see `rows`
    autoencoder   64x64x3 <-> 16x16x8
    latents       the rows that the model should learn, encoded once
    tokenizer     trained on names and keywords, English and Korean, and the emoji themselves
    denoiser      a diffusion transformer, trained jointly with its text encoder
    model         the newest checkpoint of the denoiser, in half precision: what ships

To train further, start from an earlier model; its autoencoder is reused:

    python recipes/emoji.py DATA/emoji64.parquet --out runs/emoji_2 --start inkdrop/box/emoji
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL.Image import Image

from inkdrop.codecs.latent import Latent, load_autoencoder, write_autoencoder
from inkdrop.conditioning.known import Known, words_of
from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer import Tokenizer, train_tokenizer
from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import codec, encode, open_latents
from inkdrop.data.open import open_data
from inkdrop.digest import digest_of_weights
from inkdrop.files import commit_folder, replacing
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model, Prompt
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.train.aim import Aim
from inkdrop.train.aims.autoencoder import train_autoencoder
from inkdrop.train.aims.latent import latent_aim, sketched, text_aim
from inkdrop.train.aims.prompted import Joined, Prompted
from inkdrop.train.config import LATENT_TRAINING, TrainConfig
from inkdrop.train.events import Event, Validated
from inkdrop.train.feed import HeldOut, split
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train

# OpenMoji's licence is share-alike, so its pictures are not used for the model that ships.
STYLES = ("noto", "twemoji", "fluent-3d", "fluent-flat")
# The groups that the model learns to draw. The autoencoder is trained on all groups.
GROUPS = (
    "smileys-emotion", "animals-nature", "food-drink", "travel-places", "activities",
)  # fmt: skip
STYLE_WORDS = {
    "noto": ("noto style", "노토 스타일"),
    "twemoji": ("twemoji style", "트위모지 스타일"),
    "fluent-3d": ("3d", "입체"),
    "fluent-flat": ("flat", "평면"),
}
TEXT = TextEncoderConfig(vocabulary=4096, width=192, layers=2, heads=3, context=32)
NETWORK = {
    "kind": "dit", "in_channels": 8, "patch": 2, "width": 224, "depth": 6, "heads": 4,
    "text": "cross", "tokens_dim": TEXT.width, "vector_dim": TEXT.width, "concat_channels": 8,
}  # fmt: skip
PREVIEW = (
    "cat face", "red heart", "pizza", "dog face", "rocket", "smiling face with sunglasses",
    "sunflower", "lion", "basketball", "딸기",
)  # fmt: skip
STEPS, GUIDANCE = 16, 2.0  # defaults of the model that ships
CARD = Path(__file__).parents[1] / "inkdrop" / "box" / "emoji"
LEFT_OUT = Path(__file__).with_name("emoji_left_out.json")
LEFT_OUT_PAIRS = 200


def rows(data: Path) -> list[dict[str, Any]]:
    """All rows in the styles that ship."""
    return [row for row in pq.read_table(data).to_pylist() if row["style"] in STYLES]


def covered(row: dict[str, Any]) -> bool:
    """Whether the model should learn a row's name."""
    return row["group"] in GROUPS and row["skin_tone"] == "none"


def left_out(all_rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """The (name, style) pairs held out of all training; their names exist in all four styles."""
    if not LEFT_OUT.is_file():
        styles = defaultdict(set)
        for row in all_rows:
            if covered(row):
                styles[row["caption"]].add(row["style"])
        names = sorted(name for name, found in styles.items() if len(found) == len(STYLES))
        rng = np.random.Generator(np.random.Philox(0))
        chosen = [names[int(i)] for i in np.argsort(rng.random(len(names)))[:LEFT_OUT_PAIRS]]
        pairs = sorted((name, STYLES[i % len(STYLES)]) for i, name in enumerate(chosen))
        with replacing(LEFT_OUT) as beside:
            beside.write_text(json.dumps(pairs, indent=0, ensure_ascii=False) + "\n")
    return {(name, style) for name, style in json.loads(LEFT_OUT.read_text())}


def pictures(data: Path, out: Path) -> Path:
    """The training table: every row in a style that ships, except the held-out pairs."""
    path = out / "pictures.parquet"
    if not path.is_file():
        everything = rows(data)
        hidden = left_out(everything)
        kept = [row for row in everything if (row["caption"], row["style"]) not in hidden]
        with replacing(path) as beside:
            pq.write_table(pa.Table.from_pylist(kept), beside)
    return path


def autoencoder(table: Path, out: Path, updates: int) -> Path:
    """Trains the autoencoder on all pictures and returns its run folder."""
    data = open_data(table, size=64, channels=3, label="style")
    run = out / "autoencoder"
    ask = TrainRequest(TrainConfig(updates=updates, batch=32, condition_drop=0.0))
    for event in train_autoencoder(data, run, request=ask):
        show("autoencoder", event)
    return run


def reused(start: Path, out: Path) -> Path:
    """Writes the autoencoder of an earlier model to a folder and returns it."""
    run = out / "autoencoder"
    if not run.is_dir():
        codec = Model.load(start).codec
        assert isinstance(codec, Latent)
        with commit_folder(run) as beside:
            write_autoencoder(codec.autoencoder, beside)
    return run


def latents(table: Path, run: Path, out: Path) -> tuple[Dataset, Latent]:
    """The rows that the model should learn, as codes, and the codec that decodes them."""
    path = out / "covered.parquet"
    if not path.is_file():
        kept = [row for row in pq.read_table(table).to_pylist() if covered(row)]
        with replacing(path) as beside:
            pq.write_table(pa.Table.from_pylist(kept), beside)
    data = open_data(path, size=64, channels=3, label="style")
    coder = load_autoencoder(own_folder(run)[0])
    for _ in encode(data, coder, out / "latents"):
        pass
    return open_latents(out / "latents", data, coder), codec(out / "latents", coder)


def tokenizer(table: Path, out: Path) -> Tokenizer:
    """The tokenizer, trained on every text that can appear in a caption."""
    if not (out / "tokenizer.json").is_file():
        columns = ["caption", "keywords", "caption_ko", "keywords_ko", "emoji"]
        found = pq.read_table(table).to_pylist()
        texts = [row[column] for row in found for column in columns]
        texts += [word for both in STYLE_WORDS.values() for word in both] * 50
        # Repeated often enough that each emoji becomes a single token instead of four bytes.
        texts += [row["emoji"] for row in found if covered(row)] * 10
        train_tokenizer(texts, TEXT.vocabulary).write(out)
    return Tokenizer.read(out, vocabulary=TEXT.vocabulary)


@dataclass(frozen=True)
class Captions:
    """Random captions: name, keywords and style in one of two languages, or the emoji itself."""

    told: Mapping[tuple[str, str], Mapping[str, Any]]

    def __call__(self, data: Dataset, index: int, draw: np.random.Generator) -> str:
        assert data.captions is not None and data.labels is not None
        style = data.label_names[data.labels[index]]
        row = self.told[data.captions[index], style]
        korean = draw.random() < 0.25
        name, keywords = ("caption_ko", "keywords_ko") if korean else ("caption", "keywords")
        words = [word.strip() for word in row[keywords].split(",")]
        draw.shuffle(words)
        u, some = draw.random(), int(draw.integers(1, 4))
        if u < 0.08:
            said = [row["emoji"]]
        elif u < 0.55:
            said = [row[name]]
        elif u < 0.85:
            said = [row[name], *words[:some]]
        else:
            said = words[: some + 1]
        if draw.random() < 0.25:
            said.append(STYLE_WORDS[style][korean])
        return ", ".join(said)


def known(rows: list[dict[str, Any]]) -> Known:
    """All that these captions teach: names with keywords, in two languages, and emoji."""
    names = dict[str, set[str]]()
    for name, keywords in (("caption", "keywords"), ("caption_ko", "keywords_ko")):
        for row in sorted(rows, key=lambda row: row["caption"]):
            told = names.setdefault(row[name], set())
            told.update(words_of(f"{row[name]} {row[keywords]} {row['emoji']}"))
    styles = {word for both in STYLE_WORDS.values() for text in both for word in words_of(text)}
    return Known({name: frozenset(words) for name, words in names.items()}, frozenset(styles), True)


def denoiser(
    data: Dataset, shown: Latent, table: Path, out: Path, updates: int, start: Path | None
) -> Path:
    """Trains denoiser and text encoder, from scratch or from `start`; returns the run folder."""
    earlier = None if start is None else Model.load(start)
    words = tokenizer(table, out) if earlier is None else read_by(earlier).tokenizer
    columns = ["caption", "keywords", "caption_ko", "keywords_ko", "emoji", "style"]
    found = pq.read_table(out / "covered.parquet", columns=columns).to_pylist()
    captions = Captions({(row["caption"], row["style"]): row for row in found})
    config = replace(
        LATENT_TRAINING, updates=updates, batch=64, warmup=300, ema=0.9995, compile="on"
    )
    if earlier is None:
        training, _ = split(data, config.seed)
        encoder = sketched(training, words, TEXT, captions, config.seed)
    else:  # its weights come from the earlier model too
        encoder = TextEncoder(replace(TEXT, sketch=data.shape))
    aim = text_aim(latent_aim((3, 64, 64), shown), words, encoder, captions, known(found))
    if earlier is not None:
        aim = going_on(aim, earlier)
    ask = TrainRequest(config, model={"network": {**NETWORK, "num_classes": len(STYLES)}})
    run = out / "denoiser"
    for event in train(data, run, ask, aim=replace(aim, picture=preview)):
        show("denoiser", event)
    return run


def read_by(model: Model) -> Text:
    """The text part of a model made by this recipe."""
    if model.text is None:
        raise SystemExit("the model to go on from reads no text; name one of this recipe")
    return model.text


def going_on(aim: Aim, earlier: Model) -> Aim:
    """The same aim, starting from the weights of an earlier model."""
    weights = Joined(earlier.network, cast(TextEncoder, read_by(earlier).encoder)).state_dict()
    record = {**(aim.record or {}), "start": digest_of_weights(weights)}
    return replace(aim, weights=weights, record=record)


def preview(trained: Prompted, held: HeldOut | None) -> Image:
    """A preview of the training so far."""
    return drawn(trained.whole)


def drawn(model: Model) -> Image:
    """Samples for some prompts, one row per style."""
    asked = [Prompt(text, style) for style in STYLES for text in PREVIEW]
    x = generate_many(model, count=len(asked), conditions=asked)
    return sheet(x, columns=len(PREVIEW), scale=2)


def ship(run: Path, out: Path) -> Path:
    """Writes the newest checkpoint in half precision, with model card and credits: what ships.

    Samples from it go to OUT/emoji.png.
    """
    model = Model.load(own_folder(run)[0]).to("cpu", torch.float16)
    whole = replace(model, spec=replace(model.spec, steps=STEPS, guidance=GUIDANCE))
    with commit_folder(out / "model") as beside:
        whole.write(beside)
        for name in ("README.md", "NOTICE"):
            shutil.copyfile(CARD / name, beside / name)
    save_image(drawn(Model.load(out / "model")), out / "emoji.png")
    return out / "model"


def show(stage: str, event: Event) -> None:
    """Prints the validation losses."""
    if isinstance(event, Validated):
        print(f"{stage}: update {event.update}, held-out loss {event.loss:.4f}", flush=True)


def main() -> None:
    """Runs all stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/emoji"))
    parser.add_argument("--autoencoder-updates", type=int, default=1400)
    parser.add_argument("--updates", type=int, default=8_000)
    parser.add_argument("--start", type=Path, help="A model of this recipe to go on from.")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    table = pictures(asked.data, asked.out)
    if asked.start is None:
        run = autoencoder(table, asked.out, asked.autoencoder_updates)
    else:
        run = reused(asked.start, asked.out)
    data, shown = latents(table, run, asked.out)
    run = denoiser(data, shown, table, asked.out, asked.updates, asked.start)
    print(ship(run, asked.out))


if __name__ == "__main__":
    main()
