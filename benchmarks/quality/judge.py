"""The judge: a small classifier of Fashion-MNIST whose features measure generated pictures.

    python -m benchmarks.quality.judge train    on the real training set; minutes on two cores
    python -m benchmarks.quality.judge floor    the distance of real test pictures to real ones

Its weights are in benchmarks/models/judge.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks import fashion_mnist, places
from inkdrop.evaluate.frechet import Gaussian, fit, frechet_distance

FOLDER = places.MODELS / "judge"
FEATURES = 64


def _block(inside: int, outside: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


class Judge(nn.Module):
    """Pictures [B, 1, 28, 28] in [-1, 1] -> 64 features and ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(1, 32), nn.MaxPool2d(2),
            _block(32, 48), _block(48, 64), nn.MaxPool2d(2),
            _block(64, 96), _block(96, 128),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, FEATURES),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of pictures [B, 1, 28, 28]."""
        logits: Tensor = self.head(F.relu(self.trunk(x)))
        return logits

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Features [B, 64] of pictures [B, 1, 28, 28]."""
        return torch.cat([self.trunk(part) for part in x.split(500)])

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """The likeliest class [B] int64 of pictures [B, 1, 28, 28]."""
        return torch.cat([self(part).argmax(1) for part in x.split(500)])


def load_judge(folder: Path = FOLDER) -> Judge:
    """The trained judge, in evaluation mode and float32."""
    judge = Judge()
    judge.load_state_dict(load_file(folder / "judge.safetensors"))  # copies into float32
    return judge.eval().requires_grad_(False)


def save_judge(judge: Judge, folder: Path = FOLDER) -> None:
    """Writes the weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_file(weights, folder / "judge.safetensors")


def reference(
    split: str, n: int | None = None, *, judge: Judge | None = None, data: Path | None = None
) -> Gaussian:
    """The Gaussian fitted to the real pictures of a split: all, or n with balanced classes."""
    x, y = fashion_mnist.load(split, data)
    chosen = x if n is None else x[fashion_mnist.balanced(y, n)]
    return fit((judge or load_judge()).features(chosen))


def floor(n: int, *, judge: Judge | None = None, data: Path | None = None) -> float:
    """Frechet distance of n real test pictures to the real training set."""
    judge = judge or load_judge()
    ours = reference("test", n, judge=judge, data=data)
    return frechet_distance(ours, reference("train", judge=judge, data=data))


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Flips each picture at random, and shifts the whole batch by at most one pixel."""
    flip = torch.rand(len(x), 1, 1, 1, generator=rng) < 0.5
    down, right = torch.randint(0, 3, (2,), generator=rng).tolist()
    padded = F.pad(torch.where(flip, x.flip(3), x), (1, 1, 1, 1), value=-1.0)
    return padded[:, :, down : down + 28, right : right + 28]


def train(data: Path, *, epochs: int, batch: int, seed: int) -> Judge:
    """Trains a new judge on the real training set, with a one-cycle learning rate."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    x, y = fashion_mnist.load("train", data)
    judge = Judge()
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(epochs):
        started, order = time.time(), torch.randperm(len(x), generator=rng)
        for index in order[: len(x) // batch * batch].view(-1, batch):
            logits = judge(augment(x[index], rng))
            loss = F.cross_entropy(logits, y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}  {time.time() - started:.0f} s",
              flush=True)  # fmt: skip
    return judge.eval()


def accuracy(judge: Judge, data: Path) -> float:
    """The judge's accuracy on the real test pictures."""
    x, y = fashion_mnist.load("test", data)
    return float((judge.classify(x) == y).float().mean())


def main() -> None:
    """Trains the judge, or prints the floor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["train", "floor"])
    fashion_mnist.add_data_option(parser)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "train":
        save_judge(train(args.data, epochs=args.epochs, batch=args.batch, seed=args.seed))
        card = {
            "accuracy": accuracy(load_judge(), args.data),
            "of": "10,000 real test pictures of Fashion-MNIST, after rounding to half precision",
            "command": f"python -m benchmarks.quality.judge train --epochs {args.epochs} "
            f"--batch {args.batch} --seed {args.seed}",
            "seed": args.seed,
        }
        (FOLDER / "judge.json").write_text(json.dumps(card, indent=2) + "\n")
        print(json.dumps(card, indent=2))
    for n in (500, 1000):
        print(f"real against real, n = {n}: {floor(n, data=args.data):.4f}")


if __name__ == "__main__":
    main()
