"""What a model_index.json calls a whole model: a class of pipeline, and what it must be told."""

from __future__ import annotations

from typing import Any

from inkdrop.convert.sd.families import Family

# By family, and by the channels beside the noisy ones (`families.BESIDE`).
CLASSES = {
    ("sd1", 0): "StableDiffusionPipeline",
    ("sd1", 4): "StableDiffusionInstructPix2PixPipeline",
    ("sd1", 5): "StableDiffusionInpaintPipeline",
    ("sd2", 0): "StableDiffusionPipeline",
    ("sd2", 1): "StableDiffusionDepth2ImgPipeline",
    ("sd2", 4): "StableDiffusionInstructPix2PixPipeline",
    ("sd2", 5): "StableDiffusionInpaintPipeline",
    ("sdxl", 0): "StableDiffusionXLPipeline",
    ("sdxl", 4): "StableDiffusionXLInstructPix2PixPipeline",
    ("sdxl", 5): "StableDiffusionXLInpaintPipeline",
    ("sdxl refiner", 0): "StableDiffusionXLImg2ImgPipeline",
}
# Those that are read: nothing of a class is ever imported, a name is one of these or an error.
STUDENT = "LatentConsistencyModelPipeline"
NAMES = (
    *sorted({*CLASSES.values()}),
    STUDENT,
    "LatentConsistencyModelImg2ImgPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipelineLegacy",
)

# Of diffusers, whose settings are meant; without it inpainting is taken for that of its beginnings.
VERSION = "0.30.0"

_UNCHECKED = {
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}
# Parts that a class asks for and that are not of the model, and flags that change what it does.
TOLD: dict[str, dict[str, Any]] = {
    "StableDiffusionPipeline": _UNCHECKED,
    STUDENT: _UNCHECKED,
    "StableDiffusionInpaintPipeline": _UNCHECKED,
    "StableDiffusionInstructPix2PixPipeline": _UNCHECKED,
    "StableDiffusionDepth2ImgPipeline": {
        "depth_estimator": [None, None],
        "feature_extractor": [None, None],
    },
    "StableDiffusionXLImg2ImgPipeline": {"requires_aesthetics_score": True},
}


def pipeline(family: Family | None, beside: int, student: bool = False) -> dict[str, Any]:
    """What model_index.json says of a whole model.

    beside: channels beside the noisy ones; student: a latent consistency model, told its guidance
    ValueError where no pipeline takes such a U-Net. One of no family is taken for SD 1's kind.
    """
    name = "sd1" if family is None else family.name
    found = CLASSES.get((name, beside))
    if found is None:
        raise ValueError(
            f"no pipeline of diffusers takes {beside} channels beside the picture with {name};"
            " convert to a folder of inkdrop's own"
        )
    if student and "XL" not in found and not beside:
        found = STUDENT
    return {"_class_name": found, "_diffusers_version": VERSION, **TOLD.get(found, {})}
