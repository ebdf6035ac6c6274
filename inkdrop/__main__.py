"""python -m inkdrop, which is also what torchrun starts."""

from inkdrop.cli import main

main()
