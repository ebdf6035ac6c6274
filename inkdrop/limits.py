"""The numbers and lengths that requests, trainings and the settings in files may have.

They are far beyond every use, and well within what floats, generators and memory take, so that a
typing error or a hostile file ends in one sentence.
"""

from __future__ import annotations

SEEDS = (-(2**63), 2**64 - 1)  # what torch's generators take, which includes other programs' seeds
SCALE = 1000.0  # strengths: of guidance, of a LoRA, of a control network
STEPS = 10_000
ROWS = 1 << 20  # of a batch
UPDATES = 99_999_999  # checkpoints are sorted by names of eight digits
MINUTES = 10**7
SAMPLES = 10**7  # that are measured
NOISES = 10_000  # that a sampler is tuned or compared on, which are solved together
CHARACTERS = 100_000  # of a text
FILES = 64  # of one kind in a request


def check_within(name: str, value: float | None, low: float, high: float) -> None:
    """ValueError unless a number is from low to high; None is no number and passes."""
    # NaN is in no range. Whether it is a number at all is for `config.parse` to say.
    if isinstance(value, int | float) and not low <= value <= high:
        raise ValueError(f"{name} is {value}: it must be from {_said(low)} to {_said(high)}")


def _said(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def check_seed(seed: int, name: str = "seed") -> None:
    """ValueError for a seed that torch's generators do not take."""
    if isinstance(seed, int) and not SEEDS[0] <= seed <= SEEDS[1]:
        shown = str(seed) if seed.bit_length() <= 80 else f"a number of {seed.bit_length()} bits"
        raise ValueError(f"{name} is {shown}: it must be from -2^63 to 2^64 - 1")


def check_text(name: str, text: object) -> None:
    """ValueError for a text that is too long."""
    if isinstance(text, str) and len(text) > CHARACTERS:
        raise ValueError(
            f"{name} has {len(text):,} characters: it must have at most {CHARACTERS:,}"
        )


def check_files(name: str, files: tuple[object, ...]) -> None:
    """ValueError for too many files of one kind."""
    if len(files) > FILES:
        raise ValueError(f"there are {len(files)} {name}: give at most {FILES}")
