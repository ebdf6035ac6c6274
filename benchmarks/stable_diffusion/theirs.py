"""A picture made by diffusers in its own process, which prints every step like `inkdrop -v`.

python -m benchmarks.stable_diffusion.theirs MODEL WORDS OUT --size 512 --steps 50
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from benchmarks.stable_diffusion import models


def stepped(pipe: Any, step: int, t: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Prints the number of the step."""
    print("step", step + 1, flush=True)
    return more


def main() -> None:
    """Makes the picture."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("words")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=512, help="Pixels a side.")
    parser.add_argument("--steps", type=int, default=50)
    asked = parser.parse_args()
    pipe = models.opened(asked.model)
    made = pipe(
        asked.words,
        num_inference_steps=asked.steps,
        height=asked.size,
        width=asked.size,
        callback_on_step_end=stepped,
    )
    made.images[0].save(asked.out)


if __name__ == "__main__":
    main()
