"""The overhead of a sampling loop per step, without the network, compared with diffusers.

    python -m benchmarks.speed.overhead

Both sides alternately sample 50 steps, many times, with a network that returns a fixed tensor. The
result is the median over all rounds, in microseconds per step. Our side is the full path of a user:
Model.denoise (eps to x_0), clipping of pixels, and the sampler with its check for non-finite
values. Theirs is the loop from the documentation of diffusers. Import times are those of whole
processes, run alternately.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import bind
from inkdrop.diffusion.parameterization import Eps
from inkdrop.diffusion.samplers import sampler
from inkdrop.diffusion.times import grid
from inkdrop.model import Model, Spec

STEPS, ROUNDS = 50, 60


class Told(nn.Module):
    """A network that immediately returns a fixed tensor."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer, requires_grad=False)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return self.answer


def ours(name: str, shape: tuple[int, ...], pixels: bool) -> Callable[[], Tensor]:
    """Our loop with one sampler and a network that costs nothing."""
    x = torch.randn(shape)
    model = Model(Told(torch.randn(shape)), Discrete("linear"), Eps(), Spec(shape=shape[1:]))
    denoise = bind(model.denoise, Cond())
    if pixels:
        denoise = clip(denoise)
    run = sampler(name)
    times = grid(model.process, "leading", STEPS)

    @torch.no_grad()
    def loop() -> Tensor:
        for step in run(model.process, denoise, x, times):
            last = step.x
        return last

    return loop


def theirs(name: str, shape: tuple[int, ...], pixels: bool) -> Callable[[], Tensor]:
    """The loop from the documentation of diffusers, with the same network."""
    import diffusers

    x, network = torch.randn(shape), Told(torch.randn(shape))
    if name == "ddim":
        scheduler = diffusers.DDIMScheduler(clip_sample=pixels, timestep_spacing="leading")
    else:
        scheduler = diffusers.DPMSolverMultistepScheduler(timestep_spacing="leading")

    @torch.no_grad()
    def loop() -> Tensor:
        scheduler.set_timesteps(STEPS)
        state = x
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(state, t)
            state = scheduler.step(network(seen, t, Cond()), t, state).prev_sample
        return state

    return loop


def microseconds(loop: Callable[[], Tensor]) -> float:
    """The time of one run of a loop, per step."""
    began = time.perf_counter()
    loop()
    return (time.perf_counter() - began) / STEPS * 1e6


def loops() -> None:
    """Prints the table of loops."""
    print("| loop | shape | inkdrop us | diffusers us | ratio |\n|---|---|---|---|---|")
    for shape, pixels in (((1, 3, 32, 32), True), ((1, 4, 64, 64), False)):
        for name in ("ddim", "dpmpp_2m"):
            a, b = ours(name, shape, pixels), theirs(name, shape, pixels)
            microseconds(a), microseconds(b)
            pairs = [(microseconds(a), microseconds(b)) for _ in range(ROUNDS)]
            mine = statistics.median(p[0] for p in pairs)
            other = statistics.median(p[1] for p in pairs)
            ratio = statistics.median(p[0] / p[1] for p in pairs)
            size = "x".join(map(str, shape))
            print(f"| {name} | {size} | {mine:.0f} | {other:.0f} | {ratio:.2f} |")


def imports() -> None:
    """Prints the import times, as CPU seconds of whole processes run alternately."""
    codes = {
        "import torch": "import torch",
        "import inkdrop": "import inkdrop",
        "all public names": "import inkdrop; [getattr(inkdrop, n) for n in inkdrop.__all__]",
        "inkdrop --help": "import sys; sys.argv = ['inkdrop', '--help'];"
        "from inkdrop.cli import main; main()",
    }
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(7):
        for name, code in codes.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    base = seconds["import torch"]
    print("\n| import | median s | ratio to torch |\n|---|---|---|")
    for name, values in seconds.items():
        ratio = statistics.median(v / b for v, b in zip(values, base, strict=True))
        print(f"| {name} | {statistics.median(values):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loops()
    imports()
