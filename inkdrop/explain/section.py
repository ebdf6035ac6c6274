"""One part of the report: words, a figure, perhaps a film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True)
class Section:
    """What one idea needs.

    name: of its files; words: HTML before the figure; figure: None if the idea does not apply to
    this model, which the words then say; after: HTML below it; alt: the figure in one sentence
    """

    name: str
    title: str
    words: str
    figure: Figure | None = None
    film: tuple[Image, ...] = ()
    after: str = ""
    alt: str = ""


def sub(letter: str, index: str) -> str:
    """A letter with an index, as HTML; digits and words stand upright, variables slant."""
    upright = ' class="up"' if index.isdigit() or (index.isalpha() and len(index) > 1) else ""
    return f"<i>{letter}</i><sub{upright}>{index}</sub>"


def power(value: float, digits: int = 1) -> str:
    """A number in scientific notation, as HTML, such as 7·10⁻¹²."""
    head, tail = f"{value:.{digits - 1}e}".split("e")
    exponent = f"{int(tail)}".replace("-", "−")
    return f"{head.replace('-', '−')}·10<sup>{exponent}</sup>"


def frac(above: str, below: str) -> str:
    """A fraction, as HTML."""
    return f'<span class="frac"><span>{above}</span><span>{below}</span></span>'


def equation(content: str, name: str = "") -> str:
    """A formula on a line of its own, with a name at its right."""
    label = f'<span class="name">({name})</span>' if name else ""
    return f'<div class="eq"><span class="math">{content}</span>{label}</div>'


def p(*sentences: str) -> str:
    """A paragraph."""
    return f"<p>{' '.join(sentences)}</p>"


X0, XT, XS = sub("x", "0"), sub("x", "t"), sub("x", "t−1")
X0_HAT, EPS, EPS_HAT = sub("x̂", "0"), "<i>ε</i>", "<i>ε̂</i>"
BAR, ALPHA, BETA, SIGMA = sub("ᾱ", "t"), sub("α", "t"), sub("β", "t"), sub("σ", "t")
