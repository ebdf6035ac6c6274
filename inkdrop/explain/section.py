"""One part of the report: text, a figure and perhaps a film; and HTML for its formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True)
class Section:
    """One idea of the lecture.

    name: of its files and its anchor; words: HTML above the figure; figure: None if the idea does
    not apply to this model (then `words` explain why); after: HTML below the figure; alt: the
    figure in one sentence, for screen readers
    """

    name: str
    title: str
    words: str
    figure: Figure | None = None
    film: tuple[Image, ...] = ()
    after: str = ""
    alt: str = ""


def sub(letter: str, index: str) -> str:
    """A letter with an index, as HTML; digits and words are upright, variables italic."""
    upright = ' class="up"' if index.isdigit() or (index.isalpha() and len(index) > 1) else ""
    return f"<i>{letter}</i><sub{upright}>{index}</sub>"


def power(value: float, digits: int = 1) -> str:
    """A number in scientific notation as HTML, such as 7·10⁻¹²; digits: significant ones."""
    head, tail = f"{value:.{digits - 1}e}".split("e")
    exponent = f"{int(tail)}".replace("-", "−")
    return f"{head.replace('-', '−')}·10<sup>{exponent}</sup>"


def frac(above: str, below: str) -> str:
    """A fraction, as HTML."""
    return f'<span class="frac"><span>{above}</span><span>{below}</span></span>'


def equation(content: str, name: str = "") -> str:
    """A displayed formula as HTML, with its number or name at the right."""
    label = f'<span class="name">({name})</span>' if name else ""
    return f'<div class="eq"><span class="math">{content}</span>{label}</div>'


def p(*sentences: str) -> str:
    """A paragraph, as HTML."""
    return f"<p>{' '.join(sentences)}</p>"


X0, XT, XS = sub("x", "0"), sub("x", "t"), sub("x", "t−1")
X0_HAT, EPS, EPS_HAT = sub("x̂", "0"), "<i>ε</i>", "<i>ε̂</i>"
BAR, ALPHA, BETA, SIGMA = sub("ᾱ", "t"), sub("α", "t"), sub("β", "t"), sub("σ", "t")
