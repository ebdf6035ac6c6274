"""The schedule of a single file, which has no settings, only marks."""

from __future__ import annotations

from math import prod

from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.schedule import Schedule, stable
from inkdrop.convert.sd.versions import version_of
from inkdrop.networks.unet_config import UNetConfig


def read_marks(
    file: SafeFile, config: UNetConfig, options: ReadOptions
) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule of a single file, and notes on what was assumed.

    The options come first, then marks in the file, then what is usual for the version.
    """
    version, notes = version_of(config), list[str]()
    assert version is not None  # its shape was read as that of a version
    zero = options.zero_terminal_snr
    if zero is None:
        zero = "ztsnr" in file.weights or _ends_in_noise(file.weights)
    prediction = options.prediction or _marked_prediction(file)
    if prediction is None and zero:
        prediction = "v"
        notes.append("the schedule ends in pure noise, so the model was taken to predict v")
    # Inpainting and depth models of SD 2 predict eps; only the plain one at 768 pixels predicts v.
    usual = "eps" if config.concat_channels else version.prediction
    if prediction is None and usual != "eps":
        notes.append(
            f"{version.name} predicts {usual} or eps, and the file does not say which; it was taken"
            f" to predict {usual}: if pictures are noise, choose eps"
        )
    return stable(prediction or usual, zero), tuple(notes)


def _marked_prediction(file: SafeFile) -> str | None:
    """What the network predicts by the marks in the file; None if there are none."""
    if "v_pred" in file.weights:
        return "v"
    stated = file.metadata.get("modelspec.prediction_type", "")
    if stated in ("epsilon", "v"):
        return "eps" if stated == "epsilon" else "v"
    step = file.metadata.get("global_step")
    counted = file.weights.get("global_step")
    if counted is not None and prod(counted.shape) == 1:
        step = f"{float(counted.read()):.0f}"
    return "eps" if step == "875000" else None  # SD 2.0 at 512 pixels


def _ends_in_noise(weights: Weights) -> bool:
    """True if the table in the file ends at alpha 0; Stable Diffusion's ends at 0.0047."""
    table = weights.get("alphas_cumprod")
    return table is not None and prod(table.shape) > 0 and float(table.read().flatten()[-1]) < 1e-6
