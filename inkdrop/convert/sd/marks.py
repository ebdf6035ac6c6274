"""The schedule of a single file, of which only marks tell."""

from __future__ import annotations

from math import prod

from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.families import Family, usual_schedule
from inkdrop.convert.sd.foreign import ReadOptions
from inkdrop.convert.sd.schedule import Schedule
from inkdrop.networks.unet_config import UNetConfig


def read_marks(
    file: SafeFile,
    family: Family,
    config: UNetConfig,
    options: ReadOptions,
    notes: list[str],
) -> Schedule:
    """The schedule that the caller, marks in the file, or its family say, in this order."""
    zero = options.zero_terminal_snr
    if zero is None:
        zero = "ztsnr" in file.weights or _ends_in_noise(file.weights)
    prediction = options.prediction or _said_prediction(file)
    if prediction is None and zero:
        prediction = "v"
        notes.append("it ends in pure noise, so it was taken to predict v")
    if prediction is None and family.prediction != "eps" and not config.concat_channels:
        notes.append(
            f"{family.name} predicts {family.prediction} or eps, and the file does not say which;"
            f" it was taken to predict {family.prediction}: if pictures are noise, say eps"
        )
    return usual_schedule(family, config, prediction, zero)


def _said_prediction(file: SafeFile) -> str | None:
    """What the file says that the network predicts, if it does."""
    if "v_pred" in file.weights:
        return "v"
    said = file.metadata.get("modelspec.prediction_type", "")
    if said in ("epsilon", "v"):
        return "eps" if said == "epsilon" else "v"
    step = file.metadata.get("global_step")
    counted = file.weights.get("global_step")
    if counted is not None and prod(counted.shape) == 1:
        step = f"{float(counted.read()):.0f}"
    return "eps" if step == "875000" else None  # SD 2.0 at 512 pixels


def _ends_in_noise(weights: Weights) -> bool:
    """True if the schedule in the file ends at alpha 0; Stable Diffusion's is 0.0047 there."""
    table = weights.get("alphas_cumprod")
    return table is not None and prod(table.shape) > 0 and float(table.read().flatten()[-1]) < 1e-6
