"""What model_index.json states about a whole model: a pipeline's class and its parts."""

from __future__ import annotations

from typing import Any

from inkdrop.convert.sd.versions import SD1, VERSIONS, Version

STUDENT = "LatentConsistencyModelPipeline"
# The classes that are read. No class is ever imported: a name is one of these or an error.
NAMES = (
    *sorted({name for version in VERSIONS for name in version.pipelines.values()}),
    STUDENT,
    "LatentConsistencyModelImg2ImgPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipelineLegacy",
    "StableDiffusionControlNetPipeline",
    "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline",
    "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLControlNetImg2ImgPipeline",
    "StableDiffusionXLControlNetInpaintPipeline",
)

# The version of diffusers whose settings are written; without it, diffusers takes inpainting for
# the legacy pipeline.
VERSION = "0.30.0"

_UNCHECKED = {
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}
# Parts that a class expects beside the model, and flags that change what it does.
EXTRAS: dict[str, dict[str, Any]] = {
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


def pipeline(version: Version | None, beside: int, student: bool = False) -> dict[str, Any]:
    """The entries of model_index.json for a whole model.

    version: None is written as SD 1
    beside: the number of channels beside the noisy ones
    student: a latent consistency model with guidance as an input
    ValueError if no pipeline takes such a U-Net.
    """
    known = version or SD1
    found = known.pipelines.get(beside)
    if found is None:
        raise ValueError(
            f"no pipeline of diffusers takes {beside} channels beside the picture with"
            f" {known.name}; convert to a folder of inkdrop's own"
        )
    if student and "XL" not in found and not beside:
        found = STUDENT
    return {"_class_name": found, "_diffusers_version": VERSION, **EXTRAS.get(found, {})}
