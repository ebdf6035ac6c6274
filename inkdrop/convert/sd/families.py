"""The families whose single files are read: what their weights' names do not say."""

from __future__ import annotations

from dataclasses import dataclass

from inkdrop.convert.sd.schedule import Schedule, stable
from inkdrop.networks.unet_config import UNetConfig

# What the channels beside the noisy ones hold, and what a family with them is called.
BESIDE = {
    0: ("", ""),
    5: (
        " inpainting",
        "a mask (1: to be painted), then the code of the picture without what it hides",
    ),
    4: (" instruct-pix2pix", "the code of the picture to be changed, not scaled"),
    1: (" depth", "the depth of the picture"),
}


@dataclass(frozen=True)
class Family:
    """What is not in the weights of a family of checkpoints.

    levels, outer, linear, vector: what tells it from the others: its number of sizes, whether the
        largest one attends, linear projections, a vector of pooled text and sizes
    heads: their number, or None: they have 64 channels each
    prediction: eps, or what the network predicts where the file does not say
    scale: of the autoencoder's code; size: of the pictures it was trained on
    guidance: the usual strength; sizes: what the denoiser is told beside words, `JoinedText.sizes`
    """

    name: str
    levels: int
    outer: bool
    linear: bool
    vector: bool
    heads: int | None
    prediction: str
    scale: float
    size: int
    guidance: float = 7.5
    sizes: tuple[float, ...] = ()


FAMILIES = (
    Family("sd1", 4, True, False, False, 8, "eps", 0.18215, 512),
    Family("sd2", 4, True, True, False, None, "v", 0.18215, 768),
    Family(
        "sdxl", 3, False, True, True, None, "eps", 0.13025, 1024, 5.0,
        (1024, 1024, 0, 0, 1024, 1024),
    ),
    Family(
        "sdxl refiner", 4, False, True, True, None, "eps", 0.13025, 1024, 5.0,
        (1024, 1024, 0, 0, 6.0),
    ),
)  # fmt: skip

HEAD_CHANNELS = 64


def recognised(levels: int, outer: bool, linear: bool, vector: bool) -> Family | None:
    """The family with these marks, if there is one."""
    for family in FAMILIES:
        if (family.levels, family.outer, family.linear, family.vector) == (
            levels, outer, linear, vector,
        ):  # fmt: skip
            return family
    return None


def family_of(config: UNetConfig) -> Family | None:
    """The family of a U-Net, if it is of one."""
    return recognised(
        config.levels,
        config.attends(0),
        config.projection == "linear",
        config.vector_dim is not None,
    )


def title(family: Family, config: UNetConfig) -> str:
    """The family's name with what the U-Net takes beside the noisy picture."""
    return (
        family.name + BESIDE.get(config.concat_channels, (f" with {config.concat_channels}", ""))[0]
    )


def usual_schedule(
    family: Family, config: UNetConfig, prediction: str | None, zero: bool | None
) -> Schedule:
    """The schedule of a file without settings, where the caller or the file says nothing else.

    Of SD 2.x only the plain model at 768 pixels predicts v.
    """
    usual = "eps" if config.concat_channels else family.prediction
    return stable(prediction or usual, bool(zero))
