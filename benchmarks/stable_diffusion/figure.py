"""The figure in docs/stable_diffusion.md: where the time of a picture goes."""

from __future__ import annotations

from pathlib import Path

COLOURS = ("#9aa5b1", "#2f6f9f", "#d08c3f")
PARTS = ("until the first step is made", "the other steps", "decoding, writing")


def draw(times: dict[str, list[float]], size: int, file: Path) -> None:
    """Draws a bar for each way: time until the first step, further steps, and the rest.

    times: seconds until each step was done, and then until the end
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(times) + 1.3))
    names = [f"{name}, {len(values) - 1} steps" for name, values in times.items()]
    left = [0.0] * len(times)
    for part, colour, upto in zip(PARTS, COLOURS, (0, -2, -1), strict=True):
        ends = [values[upto] for values in times.values()]
        widths = [end - start for end, start in zip(ends, left, strict=True)]
        axes.barh(names, widths, left=left, color=colour, label=part, height=0.6)
        left = ends
    for row, seconds in enumerate(left):
        axes.text(seconds, row, f"  {seconds:.0f} s", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(left))
    axes.set_xlabel(f"seconds from the shell to the file, {size}x{size}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
