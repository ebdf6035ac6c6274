"""What single files hold beside a model's parts, and why it is not used."""

from __future__ import annotations

import re
from collections.abc import Mapping

from inkdrop.convert.files.stored import Weights

UNUSED: tuple[tuple[str, str], ...] = (
    (r"model_ema\.", "averaged weights"),
    (r"(first_stage_model\.)?loss\.", "a loss of the autoencoder's training"),
    (r"(\w+_)?alphas_cumprod(_prev)?$|betas$|posterior_\w+$|lvlb_weights$", "the schedule"),
    (r"denoiser\.sigmas$|logvar$", "the schedule"),
    (r"v_pred$|ztsnr$", "a mark, which was read"),
    (
        r"(cond_stage_model|conditioner\.embedders\.\d)\.logit_scale$",
        "used only in training a text encoder",
    ),
    (
        r"(cond_stage_model|conditioner\.embedders\.0)\.text_projection(\.weight)?$",
        "a projection of text that this model does not read",
    ),
    (r"global_step$|epoch$|scale_factor$", "state of the training"),
)
IGNORED = "left out as asked"
# Marks of schedules that are not read here.
OTHER_SCHEDULES = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")


def unused(weights: Weights, ignore: tuple[str, ...], where: str) -> dict[str, str]:
    """The weights that are not used, and why; ValueError for the mark of an unknown schedule."""
    found = {}
    for name in weights:
        if name in OTHER_SCHEDULES:
            raise ValueError(f"{where} has {name}, which marks a schedule that is not read here")
        if name.startswith(ignore):
            found[name] = IGNORED
            continue
        for pattern, why in UNUSED:
            if re.match(pattern, name):
                found[name] = why
                break
    return found


def summed(unused: Mapping[str, str]) -> dict[str, str]:
    """One entry for each reason: its first weight, and how many more there are."""
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(unused.items()):
        reasons.setdefault(why, []).append(name)
    return {
        names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else ""): why
        for why, names in reasons.items()
    }
