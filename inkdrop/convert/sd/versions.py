"""The versions of Stable Diffusion: what the weights and settings of a checkpoint leave unsaid.

Everything that differs between them is a field here; a further U-Net of the kind is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inkdrop.networks.unet_config import UNetConfig


class Beside(NamedTuple):
    """A use of more input channels: what it adds to a version's name, and what they hold."""

    title: str
    holds: str


# By the number of channels beside the noisy ones.
BESIDE = {
    1: Beside(" depth", "the depth of the picture"),
    4: Beside(" instruct-pix2pix", "the code of the picture to be edited, not scaled"),
    5: Beside(
        " inpainting",
        "a mask (1: to be painted), then the code of the picture without what it hides",
    ),
}


class Encoder(NamedTuple):
    """A CLIP text encoder: where single files have it, its width, whether by OpenCLIP's names."""

    prefix: str
    width: int
    open_clip: bool = False


@dataclass(frozen=True)
class Version:
    """A version of Stable Diffusion.

    levels, outer, linear, vector: how its U-Net is recognised: the number of sizes, whether the
        largest attends, linear projections, a vector of pooled text and sizes
    heads: their number; None: as many as give each 64 channels
    prediction: what it predicts where the file is silent: eps or v
    scale: of the autoencoder's code; size: of the pictures it was trained on, in pixels
    text: its text encoders, in order
    pipelines: diffusers' classes, by the number of channels beside the noisy ones
    guidance: the usual strength
    sizes: the numbers that the U-Net reads beside words, see `JoinedText.sizes`
    zeros: the empty prompt is encoded as zeros
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
    text: tuple[Encoder, ...]
    pipelines: Mapping[int, str]
    guidance: float = 7.5
    sizes: tuple[float, ...] = ()
    zeros: bool = False

    @property
    def context(self) -> int:
        """The width of the tokens that cross-attention reads."""
        return sum(encoder.width for encoder in self.text)


SD1 = Version(
    "sd1", levels=4, outer=True, linear=False, vector=False, heads=8,
    prediction="eps", scale=0.18215, size=512,
    text=(Encoder("cond_stage_model.transformer.", 768),),
    pipelines={
        0: "StableDiffusionPipeline",
        4: "StableDiffusionInstructPix2PixPipeline",
        5: "StableDiffusionInpaintPipeline",
    },
)  # fmt: skip
SD2 = Version(
    "sd2", levels=4, outer=True, linear=True, vector=False, heads=None,
    prediction="v", scale=0.18215, size=768,
    text=(Encoder("cond_stage_model.model.", 1024, open_clip=True),),
    pipelines={**SD1.pipelines, 1: "StableDiffusionDepth2ImgPipeline"},
)  # fmt: skip
SDXL = Version(
    "sdxl", levels=3, outer=False, linear=True, vector=True, heads=None,
    prediction="eps", scale=0.13025, size=1024,
    text=(
        Encoder("conditioner.embedders.0.transformer.", 768),
        Encoder("conditioner.embedders.1.model.", 1280, open_clip=True),
    ),
    pipelines={
        0: "StableDiffusionXLPipeline",
        4: "StableDiffusionXLInstructPix2PixPipeline",
        5: "StableDiffusionXLInpaintPipeline",
    },
    guidance=5.0, sizes=(1024, 1024, 0, 0, 1024, 1024), zeros=True,
)  # fmt: skip
REFINER = Version(
    "sdxl refiner", levels=4, outer=False, linear=True, vector=True, heads=None,
    prediction="eps", scale=0.13025, size=1024,
    text=(Encoder("conditioner.embedders.0.model.", 1280, open_clip=True),),
    pipelines={0: "StableDiffusionXLImg2ImgPipeline"},
    guidance=5.0, sizes=(1024, 1024, 0, 0, 6.0),
)  # fmt: skip
VERSIONS = (SD1, SD2, SDXL, REFINER)

HEAD_CHANNELS = 64


def recognised(levels: int, outer: bool, linear: bool, vector: bool) -> Version | None:
    """The version with these properties of a U-Net, if there is one."""
    wanted = (levels, outer, linear, vector)
    for version in VERSIONS:
        if (version.levels, version.outer, version.linear, version.vector) == wanted:
            return version
    return None


def version_of(config: UNetConfig) -> Version | None:
    """The version that a U-Net belongs to, if it is one."""
    return recognised(
        config.levels,
        config.attends(0),
        config.projection == "linear",
        config.vector_dim is not None,
    )


def title(version: Version, config: UNetConfig) -> str:
    """The version's name with what the U-Net takes beside the noisy picture."""
    count = config.concat_channels
    if count == 0:
        return version.name
    return version.name + (BESIDE[count].title if count in BESIDE else f" with {count}")


def encoder_version(width: int) -> Version | None:
    """The first version with a text encoder of this width."""
    return next((v for v in VERSIONS if width in (each.width for each in v.text)), None)
