"""A denoiser for one run: a model with its conditions, guidance and limits on x_0 bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.conditions import per_sample
from inkdrop.diffusion.constraints import clip, threshold
from inkdrop.diffusion.guidance import (
    Combine,
    Denoiser,
    Predictor,
    VarianceDenoiser,
    autoguidance,
    bind,
    cfgpp,
    compose,
    guide,
    interval,
    pictured,
    projected,
    rescaled,
    scaled,
)
from inkdrop.model import Condition, Conditions, Model
from inkdrop.networks.reuse import Reused
from inkdrop.tasks.plan import chosen, times
from inkdrop.tasks.sampling import DEFAULT, Sampling


def denoiser(
    model: Model,
    conditions: Conditions | None,
    batch: int,
    sampling: Sampling = DEFAULT,
    *,
    weak: Model | None = None,
    beside: Tensor | None = None,
) -> Denoiser:
    """(x, t) -> x_0 with conditions, guidance and limits bound; for one run only.

    conditions: one for all of `batch` samples, one for each, or None. weak: a worse model of the
    same kind to guide away from (autoguidance, Karras et al. 2024). beside: extra input channels
    [batch, C, *sizes] of a model trained with them. For the sampler ddpm_learned the denoiser also
    returns the fraction of the log variance. ValueError if the model lacks what `sampling` needs.
    """
    sampling.check_ways(weak=weak is not None)
    if sampling.reuse > 1:
        model = replace(model, network=Reused(model.network, sampling.reuse))
    run = _Run(model, per_sample(conditions, batch), batch, sampling, weak, beside)
    if chosen(model, sampling).sampler == "ddpm_learned":
        return run.with_variance()
    return run.limited(run.guided(model.denoise))


@dataclass(frozen=True)
class _Run:
    """Everything that a denoiser is bound to."""

    model: Model
    conditions: Sequence[Condition] | None
    batch: int
    sampling: Sampling
    weak: Model | None
    beside: Tensor | None

    def limited(self, denoise: Denoiser) -> Denoiser:
        """With x_0 limited to the range of the data."""
        if self.sampling.threshold is not None:
            return threshold(denoise, self.sampling.threshold)
        return clip(denoise) if self.model.spec.clip else denoise

    def with_variance(self) -> Denoiser:
        """(x, t) -> (x_0, fraction of the log variance), for a network that learned it."""
        model = self.model
        if not model.spec.learned_variance:
            raise ValueError(
                "the sampler 'ddpm_learned' needs a network that predicts its variance, and this"
                " one was trained without; use ddpm, or train with --loss hybrid"
            )
        said: list[Tensor] = []

        def predict(x: Tensor, t: Tensor, cond: Cond) -> Tensor:
            x0, fraction = model.predict(x, t, cond)
            assert fraction is not None
            said.append(fraction)
            return x0

        denoise = self.limited(self.guided(predict))

        def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            said.clear()
            x0 = denoise(x, t)
            return x0, said[0][: len(x)]  # the conditional one comes first in every rule

        learned: VarianceDenoiser = both
        return cast(Denoiser, learned)

    def guided(self, predict: Predictor) -> Denoiser:
        """With the condition bound, and guidance towards it if requested."""
        sampling = self.sampling
        if self.model.spec.told_guidance:
            return self._told_guidance(predict)
        if self.conditions is None:
            self._check_unconditional()
            return bind(predict, self._cond(None))
        scale = self._scale
        cond = self._cond(self.conditions)
        plain = bind(predict, cond)
        if sampling.picture_guidance is not None:
            guided = self._by_picture(predict, cond, scale)
        elif scale == 1 and sampling.rule != "cfg++" and not sampling.also:
            self._check_unguided()
            return plain
        elif self.weak is not None:
            guided = self._away_from(self.weak, plain, scale)
        else:
            guided = self._classifier_free(predict, cond, scale)
        if sampling.interval is None:
            return guided
        return interval(self.model.process, guided, plain, *sampling.interval)

    @property
    def _scale(self) -> float:
        sampling = self.sampling
        if sampling.rule != "cfg++":
            return sampling.strength(self.model.spec.guidance)
        if sampling.guidance == 0:
            raise ValueError(
                "guidance is 0, but with the rule cfg++ that would ignore the condition; give a"
                " number above 0 and up to 1"
            )
        return 0.6 if sampling.guidance is None else sampling.guidance

    @property
    def _batched(self) -> bool:
        return not self.sampling.two_calls

    def _told_guidance(self, predict: Predictor) -> Denoiser:
        """One call a step: the network takes the guidance scale as an input. Meng et al. 2023.

        ValueError for options that need two predictions.
        """
        for name, value in self._ways.items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value}, but this model takes the guidance scale as an input"
                    " instead of combining predictions; leave it out"
                )
        strength = torch.full((self.batch,), self._scale, device=self.model.device)
        return bind(predict, replace(self._cond(self.conditions), guidance=strength))

    def _classifier_free(self, predict: Predictor, cond: Cond, scale: float) -> Denoiser:
        sampling = self.sampling
        uncond = self._uncond()
        if self.model.spec.condition_drop == 0 and (sampling.negative is None or sampling.also):
            raise ValueError(
                f"guidance is {scale}, but this model was trained with condition drop 0 and knows"
                " no null condition; use guidance 1 or train with --condition-drop 0.1"
            )
        if not sampling.also:
            return guide(predict, cond, uncond, self._combine(scale), batched=self._batched)
        conds = [cond, *(self._cond([name] * self.batch) for name, _ in sampling.also)]
        weights = [scale, *(weight for _, weight in sampling.also)]
        return compose(predict, conds, weights, uncond, batched=self._batched)

    def _cond(self, names: Sequence[Condition] | None, model: Model | None = None) -> Cond:
        """The network's condition: these or the null condition, and the channels beside x."""
        model = model or self.model
        cond = model.null(self.batch) if names is None else model.condition(list(names))
        return cond if self.beside is None else replace(cond, concat=self.beside)

    def _uncond(self) -> Cond:
        negative = self.sampling.negative
        return self._cond(None if negative is None else [negative] * self.batch)

    def _by_picture(self, predict: Predictor, cond: Cond, scale: float) -> Denoiser:
        """Guidance by words and by a picture, in three calls. Brooks et al. 2023, eq. 3."""
        wordless, strength = self._uncond(), self.sampling.picture_guidance or 1.0
        if wordless.concat is None:
            raise ValueError(
                f"picture guidance is {self.sampling.picture_guidance}, but this model takes no"
                " picture as an input; leave it out, or use `inkdrop edit` with an instruct-pix2pix"
                " checkpoint"
            )
        null = replace(wordless, concat=torch.zeros_like(wordless.concat))
        return pictured(predict, cond, wordless, null, scale, strength, batched=self._batched)

    def _combine(self, scale: float) -> Combine:
        sampling = self.sampling
        if sampling.rule == "apg":
            return projected(scale)
        if sampling.rule == "cfg++":
            return cfgpp(self.model.process, times(self.model, sampling), scale)
        return rescaled(scale, sampling.rescale) if sampling.rescale else scaled(scale)

    def _away_from(self, weak: Model, plain: Denoiser, scale: float) -> Denoiser:
        if weak.process != self.model.process or weak.shape != self.model.shape:
            raise ValueError(
                "the weak model has a different process or shape; autoguidance needs a worse model"
                " of the same kind, such as an earlier checkpoint"
            )
        return autoguidance(plain, bind(weak.denoise, self._cond(self.conditions, weak)), scale)

    @property
    def _ways(self) -> dict[str, object]:
        """The guidance options besides the scale; None where one is not used."""
        sampling = self.sampling
        return {
            "negative": sampling.negative,
            "also": sampling.also or None,
            "weak": self.weak and "given",
            "rescale": sampling.rescale or None,
            "picture guidance": sampling.picture_guidance,
            "rule": None if sampling.rule == "cfg" else sampling.rule,
            "interval": sampling.interval,
            "two_calls": sampling.two_calls or None,
        }

    def _check_unguided(self) -> None:
        """ValueError for what would have no effect, because guidance at scale 1 is not computed."""
        asked = self.sampling.guidance
        scale = self.model.spec.guidance if asked is None else asked
        for name, value in self._ways.items():
            if value is not None:
                raise ValueError(
                    f"{name} is {value}, but guidance is {scale:g}, which computes no guidance;"
                    f" give more, such as 3, or leave out {name}"
                )

    def _check_unconditional(self) -> None:
        """ValueError for guidance without a condition, or if the model needs a condition."""
        spec, asked = self.model.spec, self.sampling.guidance
        scale = None if asked in (None, 0.0, 1.0) else asked
        for name, value in {"guidance": scale, **self._ways}.items():
            if value is not None:
                reason = "give it a label" if spec.labels else "this model has no condition"
                raise ValueError(
                    f"{name} is {value}, but there is nothing to guide towards: {reason}"
                )
        if spec.labels and spec.condition_drop == 0:
            raise ValueError(
                "this model always saw a label in training (condition drop 0), so it cannot sample"
                " without one; give a label"
            )
