"""PSNR and SSIM of an autoencoder on held-out pictures, and a picture with some of them.

    python -m benchmarks.latent.reconstruction RUN --emoji DATA/emoji64.parquet
    python -m benchmarks.latent.reconstruction RUN --data DATA/flowers --split val

--emoji takes the (name, style) pairs that recipes/emoji.py holds out of all training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import places
from inkdrop.codecs.latent import load_autoencoder
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.evaluate.reconstruction import psnr, ssim
from inkdrop.media.sheet import save_image, sheet
from inkdrop.runs import own_folder

LEFT_OUT = places.ROOT / "recipes" / "emoji_left_out.json"


def emoji(path: Path, *, seen: bool = False) -> Dataset:
    """The emoji in the styles that ship: the held-out pairs or, if seen, all others."""
    pairs = {(name, style) for name, style in json.loads(LEFT_OUT.read_text())}
    styles = {style for _, style in pairs}
    rows = [row for row in pq.read_table(path).to_pylist() if row["style"] in styles]
    rows = [row for row in rows if ((row["caption"], row["style"]) in pairs) != seen]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "emoji.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file)
        return open_data(file, size=64, channels=3)


@torch.no_grad()
def main() -> None:
    """Prints the metrics and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split")
    parser.add_argument("-o", "--out", type=Path, default=Path("reconstruction.png"))
    asked = parser.parse_args()
    if asked.emoji:
        data = emoji(asked.emoji)
    else:
        data = open_data(asked.data, split=asked.split, size=64, channels=3)
    autoencoder = load_autoencoder(own_folder(asked.run)[0])
    x = data.take(range(len(data)))
    y = torch.cat([autoencoder(part) for part in x.split(64)]).clamp(-1, 1)
    for name, values in (("PSNR", psnr(y, x)), ("SSIM", ssim(y, x))):
        low = np.quantile(values.numpy(), 0.05)
        print(f"{name}: mean {float(values.mean()):.3f}, 5 % of pictures below {low:.3f}")
    print(f"{len(data)} pictures, {autoencoder.config.latent_channels} channels")
    shown = torch.cat([x[:12], y[:12]])
    save_image(sheet(shown, columns=12, scale=2), asked.out)


if __name__ == "__main__":
    main()
