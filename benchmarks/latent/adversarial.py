"""The effect of adversarial and perceptual losses on an autoencoder: trained with and without.

    python -m benchmarks.latent.adversarial DATA/emoji64.parquet --judge JUDGE [--from RUN]

Both have the same shape, initial weights, data and number of updates. Measured on the pairs that
recipes/emoji.py holds out of all training: PSNR, SSIM, and the Frechet distance between originals
and reconstructions in the judge's features (rFID). The perceptual loss compares feature maps of a
judge, so evaluation should use a different one: --maps names the judge for the loss.

Writes autoencoder_adversarial.json to benchmarks/results and a .png to docs/pictures, with the rows
originals, without, with. A stopped training resumes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import places
from benchmarks.latent.reconstruction import emoji
from inkdrop.codecs.latent import load_autoencoder
from inkdrop.data.dataset import Dataset
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.evaluate.judge import Judge
from inkdrop.evaluate.reconstruction import psnr, ssim
from inkdrop.files import replacing
from inkdrop.media.sheet import save_image, sheet
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.runs import own_folder
from inkdrop.train.aims.autoencoder import train_autoencoder
from inkdrop.train.aims.judge import load_judge
from inkdrop.train.aims.reconstruction import AutoencoderLoss, FeatureMaps
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Validated
from inkdrop.train.request import TrainRequest

RESULTS = places.RESULTS / "autoencoder_adversarial.json"
PICTURE = places.PICTURES / "autoencoder_adversarial.png"


def trained(
    name: str, data: Dataset, loss: AutoencoderLoss, maps: FeatureMaps, asked: argparse.Namespace
) -> Autoencoder:
    """Trains one of the two autoencoders, or loads it."""
    first = load_autoencoder(own_folder(asked.start)[0]) if asked.start else None
    # a lower learning rate, if training continues from trained weights
    lr, warmup = (3e-4, 50) if first else (1e-3, 200)
    config = TrainConfig(
        updates=asked.updates, batch=asked.batch, lr=lr, warmup=warmup, condition_drop=0.0
    )
    run = asked.out / name
    for event in train_autoencoder(
        data, run, None, loss, TrainRequest(config), maps=maps, weights=first
    ):
        if isinstance(event, Validated):
            print(f"{name}: update {event.update}, held-out loss {event.loss:.4f}", flush=True)
    return load_autoencoder(own_folder(run)[0])


@torch.no_grad()
def measured(autoencoder: Autoencoder, x: Tensor, judge: Judge) -> tuple[dict[str, float], Tensor]:
    """The metrics, and the reconstructions of x."""
    y = torch.cat([autoencoder(part) for part in x.split(64)]).clamp(-1, 1)
    real, made = (
        fit(torch.cat([judge.features(part) for part in pictures.split(64)]).float())
        for pictures in (x, y)
    )
    figures = {
        "psnr": float(psnr(y, x).mean()),
        "ssim": float(ssim(y, x).mean()),
        "rfid": frechet_distance(real, made),
    }
    return {key: float(f"{value:.5g}") for key, value in figures.items()}, y


def main() -> None:
    """Trains and evaluates both, and writes the results and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", type=Path, required=True, help="folder of the one that measures")
    parser.add_argument("--maps", type=Path, help="of the one to learn from; by default the same")
    parser.add_argument("--from", dest="start", type=Path, help="an autoencoder's run or folder")
    parser.add_argument("--out", type=Path, default=Path("runs/autoencoder_adversarial"))
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--adversarial", type=float, default=0.5)
    parser.add_argument("--perceptual", type=float, default=0.5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args()
    judge, teacher = load_judge(asked.judge), load_judge(asked.maps or asked.judge)
    seen, x = emoji(asked.data, seen=True), emoji(asked.data)
    x = x.take(range(len(x)))
    losses = {
        "without": AutoencoderLoss(),
        "with": AutoencoderLoss(
            perceptual=asked.perceptual, adversarial=asked.adversarial, adversarial_from=0.2
        ),
    }
    shown = [x[:: len(x) // 12][:12]]
    whole: dict[str, object] = {
        "updates": asked.updates,
        "batch": asked.batch,
        "adversarial": asked.adversarial,
        "perceptual": asked.perceptual,
        "warm start": asked.start is not None,
        "the measuring judge was learned from": judge.fingerprint == teacher.fingerprint,
        "pictures": len(x),
    }
    for name, loss in losses.items():
        autoencoder = trained(name, seen, loss, teacher.maps, asked)
        figures, y = measured(autoencoder, x, judge)
        whole[name] = figures
        shown.append(y[:: len(x) // 12][:12])
        print(name, figures, flush=True)
    with replacing(asked.results) as beside:
        beside.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    save_image(sheet(torch.cat(shown), columns=12, scale=2), asked.picture)


if __name__ == "__main__":
    main()
