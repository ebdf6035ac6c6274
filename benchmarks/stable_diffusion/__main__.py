"""Stable Diffusion in its real size, compared with diffusers: same weights, prompt and noise.

    python -m benchmarks.stable_diffusion parity MODELS           networks, text, whole pictures
    python -m benchmarks.stable_diffusion xl MODELS               SDXL's U-Net, one at a time
    python -m benchmarks.stable_diffusion engines MODELS          the U-Net with each engine
    python -m benchmarks.stable_diffusion start MODELS            from the shell to the first step
    python -m benchmarks.stable_diffusion memory MODELS           peak memory of a picture
    python -m benchmarks.stable_diffusion picture MODELS          a 512x512 picture with each

MODELS is a folder for the models. They are created there with random weights in their published
sizes: 4.3 GB, and 10.3 GB for `xl`. OMP_NUM_THREADS sets the number of threads. The contestants
run alternately, and whole processes are measured from outside.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.speed.generate import run
from benchmarks.stable_diffusion import engines, models, parity
from benchmarks.stable_diffusion.figure import draw

WORDS = "a lighthouse at dusk"
MEMORY: dict[str, list[str]] = {
    "inkdrop": [],
    "inkdrop --engine eager": ["--engine", "eager"],
    "inkdrop --half": ["--half"],
}
STARTS = ("", "--engine eager", "--fast")
PICTURES: dict[str, list[str]] = {
    "inkdrop": [],
    "inkdrop --fast": ["--fast"],
    "inkdrop --fast --precision float32": ["--fast", "--precision", "float32"],
}


def theirs(folder: Path, out: Path, size: int, steps: int) -> list[str]:
    """The command of a process in which diffusers makes a picture."""
    asked = [str(folder), WORDS, str(out), "--size", str(size), "--steps", str(steps)]
    return [sys.executable, "-m", "benchmarks.stable_diffusion.theirs", *asked]


def ours(folder: Path, out: Path, size: int, *more: str) -> list[str]:
    """The command of a process in which inkdrop makes a picture."""
    asked = ["--model", str(folder), "--size", str(size), "-o", str(out), "-v", *more]
    return [sys.executable, "-m", "inkdrop", "generate", WORDS, *asked]


def steps(command: list[str], most: int | None = None) -> list[float]:
    """Seconds from the start of a process until each step was done, and then until its end.

    most: stop the process after this many steps, and return only their times
    """
    found, began = list[float](), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("step"):
                found.append(time.perf_counter() - began)
            if len(found) == most:
                child.kill()
                return found
    if child.returncode or not found:
        raise SystemExit(f"no picture was made: {' '.join(command)}")
    return [*found, time.perf_counter() - began]


def start(folder: Path, sizes: list[int], rounds: int) -> None:
    """Prints the time until the end of the first step, and the part of it before that step.

    The second step shows how long a step takes.
    """
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "x.png"
            commands = {"diffusers": theirs(folder, out, size, 20)} | {
                f"inkdrop {way}".strip(): ours(folder, out, size, *way.split()) for way in STARTS
            }
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
            for _ in range(rounds):
                for name, command in commands.items():
                    first, second = steps(command, most=2)
                    found[name].append((first, 2 * first - second))
        base = [statistics.median(each) for each in zip(*found["diffusers"], strict=True)]
        for name, values in found.items():
            medians = [statistics.median(each) for each in zip(*values, strict=True)]
            shares = [mine / other for mine, other in zip(medians, base, strict=True)]
            print(
                f"{size}x{size}, {name}: first step after {medians[0]:.2f} s ({shares[0]:.2f}), of"
                f" which before it {medians[1]:.2f} s ({shares[1]:.2f})", flush=True,
            )  # fmt: skip


def memory(folder: Path, size: int, ways: dict[str, list[str]]) -> None:
    """Prints the peak memory of whole processes, including the weights."""
    weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    print(f"weights: {weights / 1e9:.2f} GB in float32", flush=True)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "x.png"
        commands = {"diffusers": theirs(folder, out, size, 2)}
        commands |= {
            name: ours(folder, out, size, "--steps", "2", *way) for name, way in ways.items()
        }
        for name, command in commands.items():
            seconds, peak = run(command, cold=False)
            beyond = peak * 2**20 - 1.1 * weights
            print(
                f"{name}: {peak * 2**20 / 1e9:.2f} GB, 1.1 x weights {beyond / 1e9:+.2f} GB,"
                f" {seconds:.0f} s", flush=True,
            )  # fmt: skip


def picture(folder: Path, size: int, rounds: int, figure: Path | None) -> None:
    """Prints and plots the seconds that each takes for a picture, from the shell to the file."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "x.png"
        commands = {"diffusers": theirs(folder, out, size, 50)}
        commands |= {name: ours(folder, out, size, *way) for name, way in PICTURES.items()}
        found: dict[str, list[list[float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                found[name].append(steps(command))
                print(f"  {name}: {found[name][-1][-1]:.1f} s", flush=True)
    middle = {
        name: sorted(values, key=lambda times: times[-1])[len(values) // 2]
        for name, values in found.items()
    }
    for name, times in middle.items():
        print(
            f"{name}: {times[-1]:.1f} s, {middle['diffusers'][-1] / times[-1]:.2f} times as fast;"
            f" the first of {len(times) - 1} steps after {times[0]:.1f} s, the last after"
            f" {times[-2]:.1f} s", flush=True,
        )  # fmt: skip
    if figure is not None:
        draw(middle, size, figure)


def main() -> None:
    """Runs one of the parts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stable_diffusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=("parity", "xl", "engines", "start", "memory", "picture"))
    parser.add_argument("models", type=Path)
    parser.add_argument("--size", type=int, help="Pixels a side [256 for parity, else 512].")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="Of parity, xl and engines.")
    parser.add_argument("--engines", default="eager,packed,packed:bfloat16", help="Of engines.")
    parser.add_argument("--figure", type=Path, help="A PNG to draw the times of `picture` into.")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if asked.part == "xl":
        for line in parity.of_xl(asked.models / "sdxl"):
            print(line, flush=True)
        return
    folder = models.sd15(asked.models / "sd15")
    if asked.part == "parity":
        for line in parity.of_sd15(folder, asked.size or 256):
            print(line, flush=True)
    elif asked.part == "engines":
        for batch, size in ((1, 32), (2, 64)):
            if asked.size in (None, 8 * size):
                ways = asked.engines.split(",")
                for line in engines.measured(folder, ways, batch, size, asked.rounds):
                    print(line, flush=True)
    elif asked.part == "start":
        start(folder, [asked.size] if asked.size else [256, 512], asked.rounds)
    elif asked.part == "memory":
        memory(folder, asked.size or 512, MEMORY)
    else:
        picture(folder, asked.size or 512, asked.rounds, asked.figure)


if __name__ == "__main__":
    main()
