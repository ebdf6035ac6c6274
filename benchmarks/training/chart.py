"""A small line chart with a logarithmic y axis, drawn with Pillow alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Curves = dict[str, list[tuple[float, float]]]
INK, GREY, PALE = (40, 40, 48), (120, 120, 128), (230, 230, 234)
COLOURS = ((38, 84, 160), (200, 92, 40), (60, 140, 90), (140, 70, 150))
LEFT, TOP, RIGHT, BOTTOM = 90, 60, 40, 70


@dataclass(frozen=True)
class Frame:
    """Maps values to pixels; x is linear from 0, y is logarithmic."""

    width: int
    height: int
    x_most: float
    y_least: float
    y_most: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel position of a value."""
        up = math.log(y / self.y_least) / math.log(self.y_most / self.y_least)
        across = x / self.x_most * (self.width - LEFT - RIGHT)
        return LEFT + across, self.height - BOTTOM - up * (self.height - TOP - BOTTOM)


def draw(curves: Curves, *, floor: float, path: Path, size: tuple[int, int] = (900, 560)) -> None:
    """Draws named curves of (minutes, Frechet distance) and a dashed floor into a PNG."""
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    frame = _frame(curves, floor, size)
    _axes(pen, frame)
    _floor(pen, frame, floor)
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        _curve(pen, frame, name, points, colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _frame(curves: Curves, floor: float, size: tuple[int, int]) -> Frame:
    points = [point for curve in curves.values() for point in curve]
    highest = max(y for _, y in points)
    lowest = min([floor, *(y for _, y in points)])
    x_most = 5 * math.ceil(max(x for x, _ in points) / 5 - 0.01)
    return Frame(*size, x_most=x_most, y_least=lowest / 1.3, y_most=highest * 1.3)


def _axes(pen: ImageDraw.ImageDraw, frame: Frame) -> None:
    bottom = frame.height - BOTTOM
    for y in _ticks(frame.y_least, frame.y_most):
        height = frame.at(0, y)[1]
        pen.line([(LEFT, height), (frame.width - RIGHT, height)], fill=PALE)
        pen.text((LEFT - 10, height), f"{y:g}", fill=GREY, font=_font(16), anchor="rm")
    step = 5 if frame.x_most > 10 else 1
    for x in range(0, int(frame.x_most) + 1, step):
        across = frame.at(x, frame.y_least)[0]
        pen.line([(across, bottom), (across, bottom + 6)], fill=GREY)
        pen.text((across, bottom + 10), str(x), fill=GREY, font=_font(16), anchor="mt")
    pen.line([(LEFT, bottom), (frame.width - RIGHT, bottom)], fill=GREY, width=2)
    middle = (LEFT + frame.width - RIGHT) / 2
    label = "minutes of training on two CPU cores"
    pen.text((middle, frame.height - 14), label, fill=INK, font=_font(17), anchor="mb")
    title = "Fashion-MNIST: Frechet distance to the training set, DDIM-50 (lower is better)"
    pen.text((LEFT, 18), title, fill=INK, font=_font(18))


def _ticks(least: float, most: float) -> list[float]:
    """The values 1, 2 and 5 of every power of ten between the two."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [value for value in values if least <= value <= most]


def _floor(pen: ImageDraw.ImageDraw, frame: Frame, floor: float) -> None:
    (left, height), (right, _) = frame.at(0, floor), frame.at(frame.x_most, floor)
    for start in range(int(left), int(right), 14):
        pen.line([(start, height), (min(start + 7, right), height)], fill=GREY, width=2)
    text = f"real against real {floor:.2g}"
    pen.text((right, height - 6), text, fill=GREY, font=_font(16), anchor="rb")


def _curve(
    pen: ImageDraw.ImageDraw,
    frame: Frame,
    name: str,
    points: list[tuple[float, float]],
    colour: tuple[int, int, int],
) -> None:
    places = [frame.at(*point) for point in points]
    pen.line(places, fill=colour, width=3, joint="curve")
    for x, y in places:
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    x, y = places[-1]
    text = f"{name}  {points[-1][1]:.3g}"
    # curves fall, so there is free space below and left of the last point
    pen.text((x, y + 12), text, fill=colour, font=_font(17), anchor="rt")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
