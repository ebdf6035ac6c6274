"""How good the model of recipes/emoji.py is: does it draw what was asked, and are they copies?

python benchmarks/emoji_quality.py judge DATA/emoji64.parquet --judge runs/emoji_judge
python benchmarks/emoji_quality.py measure runs/emoji/denoiser DATA/emoji64.parquet
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import emoji_judge

from inkdrop.files import replacing

RESULTS = Path(__file__).parent / "results" / "emoji_quality.json"


def keep(part: str, found: Any) -> None:
    """Puts a part of the results into the file."""
    whole = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    whole[part] = found
    with replacing(RESULTS) as beside:
        beside.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    """One stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    judge = stages.add_parser("judge")
    judge.add_argument("data", type=Path)
    judge.add_argument("--judge", type=Path, default=Path("runs/emoji_judge"))
    judge.add_argument("--updates", type=int, default=12_000)
    asked = parser.parse_args()
    real = emoji_judge.open_real(asked.data, asked.judge)
    emoji_judge.train(real, asked.judge, asked.updates)
    keep("judge", emoji_judge.right(real, asked.judge))


if __name__ == "__main__":
    main()
