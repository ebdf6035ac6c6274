"""What was asked of a sampling, and what it comes to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.diffusion import guidance
from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.samplers import ABOUT, SAMPLERS, best, sampler
from inkdrop.diffusion.times import grid
from inkdrop.model import Model, Tuned
from inkdrop.model.folder import build_model
from inkdrop.tasks.generate import generate
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import GUIDED, chosen, faster
from inkdrop.tasks.sampling import Sampling

PLAIN = [name for name in SAMPLERS if name != "ddpm_learned"]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return random_model(tmp_path)


def random_model(folder: Path, seed: int = 0, **config: float) -> Model:
    torch.manual_seed(seed)
    model = tiny.model(tiny.data(folder), **config)
    torch.nn.init.normal_(model.network.output.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    model.network.eval()
    return model


def last(model: Model, **asked: object) -> Tensor:
    for step in generate(model, **asked):  # type: ignore[arg-type]
        x = step.x
    return x


def state(model: Model, batch: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, *model.spec.shape, generator=torch.Generator().manual_seed(5))
    return x, torch.full((batch,), 0.6, dtype=torch.float64)


@pytest.mark.parametrize("name", PLAIN)
def test_sample_0_alone_is_sample_0_of_a_batch_of_16(model: Model, name: str) -> None:
    # A small last step does not multiply the random network's own rounding.
    sampling = Sampling(sampler=name, grid="logsnr", steps=8, guidance=2.0)
    labels = [i % 2 for i in range(16)]
    batch = last(model, seed=3, samples=range(16), conditions=labels, sampling=sampling)
    alone = last(model, seed=3, samples=[0], conditions=[0], sampling=sampling)
    torch.testing.assert_close(alone[0], batch[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde", "unipc", "plms", "adaptive", "edm"])
def test_two_threads_make_the_same_bits_as_one_after_the_other(model: Model, name: str) -> None:
    ask = {"samples": range(3), "conditions": [0, 1, 1]}
    ask["sampling"] = Sampling(sampler=name, steps=5, rule="apg", guidance=3.0, reuse=2)
    want = [last(model, seed=s, **ask) for s in (0, 1)]
    got: dict[int, Tensor] = {}

    def work(seed: int) -> None:
        got[seed] = last(model, seed=seed, **ask)

    threads = [Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(got[seed], want[seed]) for seed in (0, 1))


def predictions(model: Model, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x_0 for class 0, class 1 and null, each from a call of its own."""
    n = len(x)
    a, b = (model.denoise(x, t, model.condition([c] * n)) for c in (0, 1))
    return a, b, model.denoise(x, t, model.null(n))


@torch.no_grad()
def test_every_option_of_guidance_is_its_formula(model: Model) -> None:
    x, t = state(model)
    mine, other, null = predictions(model, x, t)
    level = guidance.noise_level(model.process, 0.6)
    on = grid(model.process, "uniform", 5)
    cases = {
        Sampling(guidance=1.0): mine,
        Sampling(guidance=0.0): mine,  # as in other programs; the formula's 0 is `null`
        Sampling(guidance=0.5): null + 0.5 * (mine - null),
        Sampling(guidance=-1.0): null - (mine - null),
        Sampling(guidance=0.0, also=((1, 1.5),)): null + (mine - null) + 1.5 * (other - null),
        Sampling(guidance=3.0): null + 3 * (mine - null),
        Sampling(guidance=3.0, two_calls=True): null + 3 * (mine - null),
        Sampling(guidance=3.0, negative=1): other + 3 * (mine - other),
        Sampling(guidance=3.0, interval=(level / 2, level)): null + 3 * (mine - null),
        Sampling(guidance=3.0, interval=(level, 2 * level)): mine,
        Sampling(guidance=2.0, also=((1, 1.5), (0, -0.5))): null
        + 2 * (mine - null)
        + 1.5 * (other - null)
        - 0.5 * (mine - null),
        Sampling(guidance=3.0, rescale=0.7): guidance.rescaled(3.0, 0.7)(mine, null, t),
        Sampling(guidance=3.0, rule="apg"): guidance.projected(3.0)(mine, null, t),
        Sampling(guidance=0.6, rule="cfg++", grid="uniform", steps=5): guidance.cfgpp(
            model.process, on, 0.6
        )(mine, null, t),
    }
    for sampling, want in cases.items():
        got = denoiser(model, [0] * len(x), len(x), sampling)(x, t)
        torch.testing.assert_close(got, want.clamp(-1, 1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_autoguidance_goes_away_from_the_weak_model(model: Model, tmp_path: Path) -> None:
    (tmp_path / "weak").mkdir()
    weak, (x, t) = random_model(tmp_path / "weak", seed=1), state(model)
    bad, good = (m.denoise(x, t, m.condition([0] * 3)) for m in (weak, model))
    got = denoiser(model, [0] * 3, 3, Sampling(guidance=2.0), weak=weak)(x, t)
    torch.testing.assert_close(got, (2 * good - bad).clamp(-1, 1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_threshold_takes_the_place_of_clip(model: Model) -> None:
    x, t = state(model)
    plain = denoiser(model, [0] * 3, 3, Sampling(guidance=9.0))(x * 4, t)
    calm = denoiser(model, [0] * 3, 3, Sampling(guidance=9.0, threshold=0.9))(x * 4, t)
    assert plain.abs().max() == 1 and calm.abs().max() == 1
    assert (calm.abs() == 1).float().mean() < (plain.abs() == 1).float().mean()


def test_outside_the_interval_a_step_costs_one_row_a_sample(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = type(model.network).forward

    def counted(self: torch.nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        sizes.append(len(x))
        return forward(self, x, t, cond)

    monkeypatch.setattr(type(model.network), "forward", counted)
    on = grid(model.process, "logsnr", 6)
    edge = guidance.noise_level(model.process, on[3].item())
    last(
        model,
        samples=range(2),
        conditions=[0, 1],
        sampling=Sampling(steps=6, sampler="ddim", grid="logsnr", interval=(0.0, edge * 1.001)),
    )
    assert sizes == [2, 2, 2, 4, 4, 4]


def test_a_tuned_grid_is_used_at_its_steps_and_no_other(model: Model) -> None:
    tuned = Tuned(3, "unipc", (1.0, 0.7, 0.2, 0.0))
    fitted = dataclasses.replace(model, spec=dataclasses.replace(model.spec, tuned=(tuned,)))
    name, on, _ = chosen(fitted, Sampling(steps=3))
    assert (name, tuple(on.tolist())) == ("unipc", tuned.times)
    assert chosen(fitted, Sampling(steps=4))[0] == chosen(model, Sampling(steps=4))[0]
    # Asked for by name it goes with any sampler; another grid is another grid.
    assert chosen(fitted, Sampling(steps=3, sampler="ddim", grid="tuned"))[0] == "ddim"
    assert chosen(fitted, Sampling(steps=3, sampler="ddim"))[1].tolist() != list(tuned.times)
    with pytest.raises(ValueError, match=r"no grid tuned for 4 steps \(tuned: 3\)"):
        chosen(fitted, Sampling(steps=4, grid="tuned"))


def test_the_grid_that_nobody_names_suits_the_sampler(model: Model) -> None:
    name, on, _ = chosen(model, Sampling(steps=6))
    assert (name, *best(model.process)[1:]) == best(model.process)
    assert torch.equal(on, grid(model.process, best(model.process)[1], 6))
    for two in ("heun", "dpm_2", "dpmpp_sde"):
        on = chosen(model, Sampling(sampler=two, steps=6)).times
        assert torch.equal(on, grid(model.process, "logsnr", 6))


def test_a_model_keeps_its_tuned_grids(model: Model, tmp_path: Path) -> None:
    tuned = Tuned(2, "ddim", (1.0, 0.1234567890123456, 0.0))
    fitted = dataclasses.replace(model, spec=dataclasses.replace(model.spec, tuned=(tuned,)))
    fitted.save(tmp_path / "kept")
    assert Model.load(tmp_path / "kept").spec.tuned == (tuned,)
    with pytest.raises(ValueError, match="a tuned grid of 2 steps has 2 times"):
        Tuned(2, "ddim", (1.0, 0.0))
    with pytest.raises(ValueError, match="has 0 rows of weights: 'fitted' needs one per step"):
        Tuned(1, "fitted", (1.0, 0.0))


def test_fitted_weights_are_what_is_sampled_with(model: Model) -> None:
    weights = ((0.2, 0.8), (0.0, 1.5, -0.5))
    tuned = Tuned(2, "fitted", (1.0, 0.6, 0.0), weights)
    fitted = dataclasses.replace(model, spec=dataclasses.replace(model.spec, tuned=(tuned,)))
    first, last = generate(fitted, conditions=[0], sampling=Sampling(steps=2, guidance=1.0))
    torch.testing.assert_close(last.x, 1.5 * last.x0 - 0.5 * first.x0)


def test_learned_variance_is_sampled_with_and_needs_its_network(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    torch.manual_seed(0)
    plain = random_model(tmp_path / "plain")
    description = plain.describe()
    description["network"]["out_channels"] = 2
    description["spec"]["learned_variance"] = True
    learned = build_model(description, "the model")
    torch.nn.init.normal_(learned.network.output.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    learned.network.eval()
    ask = {"samples": range(3), "conditions": [0, 1, 0]}
    asked = Sampling(sampler="ddpm_learned", steps=8, guidance=2.0)
    x = last(learned, **ask, sampling=asked)
    assert x.isfinite().all()
    # The variance is the conditional prediction's: with two calls, too.
    two = last(learned, **ask, sampling=dataclasses.replace(asked, two_calls=True))
    torch.testing.assert_close(two, x, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="trained without; use ddpm"):
        last(plain, **ask, sampling=asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rule": "cgf"}, "no guidance rule 'cgf'.*Did you mean 'cfg'"),
        ({"rule": "apg", "rescale": 0.5}, "rule 'apg' and rescale are two ways of guidance"),
        ({"rescale": 1.5}, "rescale is 1.5: it must be from 0 to 1"),
        ({"interval": (2.0, 1.0)}, "runs from 2.0 to 1.0: low must be below high"),
        ({"negative": "clot"}, "there is no class 'clot'"),
        ({"also": (("9", 1.0),)}, "there is no class '9'"),
        ({"threshold": 0.0}, "quantile is 0.0"),
        ({"reuse": 0}, "reuse is 0"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"tolerance": 0.1, "sampler": "ddim"}, "only the sampler 'adaptive' takes"),
        ({"tolerance": 0.0, "sampler": "adaptive"}, "tolerance is 0.0: it must be above 0"),
        ({"sampler": "plms", "steps": 1}, "plms needs at least 2"),
        ({"guidance": 2.0, "rule": "cfg++"}, "CFG.. takes a scale from 0 to 1"),
        ({"grid": "tuned"}, "no grid tuned for 20 steps .tuned: none yet."),
        ({"grid": "karras:x"}, "number of the karras grid is 'x'"),
    ],
)
def test_bad_requests_are_refused_before_any_call(
    model: Model, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object], said: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the network was called")

    monkeypatch.setattr(type(model.network), "forward", never)
    with pytest.raises(ValueError, match=said):
        last(model, conditions=[0], sampling=Sampling(**asked))  # type: ignore[arg-type]


def test_guiding_nothing_is_refused_whatever_the_way(model: Model) -> None:
    for asked in ({"negative": 1}, {"rule": "apg"}, {"interval": (1.0, 2.0)}):
        with pytest.raises(ValueError, match="nothing to guide towards: give it a label"):
            last(model, sampling=Sampling(**asked))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing to guide towards: give it a label"):
        last(model, weak=model)


def test_samplers_by_other_names_are_the_same(model: Model) -> None:
    ask = {"samples": range(2), "conditions": [0, 1]}
    mine = last(model, **ask, sampling=Sampling(sampler="unipc", steps=4, grid="logsnr"))
    other = last(model, **ask, sampling=Sampling(sampler="uni_pc_bh2", steps=4, grid="exponential"))
    assert torch.equal(mine, other)
    assert sampler("uni_pc_bh2") is SAMPLERS["unipc"] and ABOUT["unipc"].order == 3


@torch.no_grad()
def test_a_denoiser_without_options_is_the_clipped_network(model: Model) -> None:
    x, t = state(model)
    want = clip(guidance.bind(model.denoise, model.null(3)))(x, t)
    assert torch.equal(denoiser(model, None, 3)(x, t), want)


def test_faster_asks_the_deep_levels_less_often_and_guides_where_it_matters(model: Model) -> None:
    sizes, deep = list[int](), list[int]()
    network = model.network
    network.input.register_forward_hook(lambda _, x, y: sizes.append(len(y)))  # type: ignore
    network.mid[0].register_forward_hook(lambda _, x, y: deep.append(len(y)))  # type: ignore
    asked = Sampling(sampler="ddim", grid="logsnr", steps=20, guidance=2.0)
    last(model, conditions=[1], sampling=asked)
    assert sizes == deep == [2] * 20

    sizes.clear(), deep.clear()
    last(model, conditions=[1], sampling=faster(model, asked))
    level = (-model.process.logsnr(chosen(model, asked).times[:-1]) / 2).exp()
    guided = [GUIDED[0] < each <= GUIDED[1] for each in level.tolist()]
    assert sizes == [2 if yes else 1 for yes in guided] and 3 < sum(guided) < 17
    assert len(deep) <= 13  # every other, and where guidance begins or ends

    own = Sampling(interval=(1.0, 2.0), reuse=3, steps=50)
    assert faster(model, own) == own
    assert faster(model, Sampling(rule="apg")).interval is None
    told = dataclasses.replace(model.spec, told_guidance=True, steps=4)
    student = faster(dataclasses.replace(model, spec=told))
    assert student.interval is None and student.steps == 4 and faster(model).steps == 12


@pytest.mark.parametrize(
    "asked", [{"negative": 0}, {"rescale": 0.5}, {"rule": "apg"}, {"interval": (1.0, 2.0)}]
)
def test_what_no_guidance_would_ignore_is_refused(model: Model, asked: dict[str, Any]) -> None:
    (name,) = asked
    for none in (0.0, 1.0):
        with pytest.raises(ValueError, match=rf"{name} is .* but guidance is {none:g}, which"):
            denoiser(model, [1], 1, Sampling(guidance=none, **asked))
        assert faster(model, Sampling(guidance=none)).interval is None
    denoiser(model, [1], 1, Sampling(guidance=2.0, **asked))


def test_a_weak_model_that_no_guidance_would_ignore_is_refused(model: Model) -> None:
    for none in (0.0, 1.0):
        with pytest.raises(ValueError, match="weak is given, but guidance is"):
            denoiser(model, [1], 1, Sampling(guidance=none), weak=model)


def test_no_guidance_is_the_same_with_and_without_a_condition(model: Model) -> None:
    x, t = state(model)
    null = model.denoise(x, t, model.null(3)).clamp(-1, 1)
    for none in (0.0, 1.0, None):
        assert torch.equal(denoiser(model, None, 3, Sampling(guidance=none))(x, t), null)
    with pytest.raises(ValueError, match=r"guidance is 0, but with the rule cfg\+\+"):
        denoiser(model, [1], 1, Sampling(guidance=0.0, rule="cfg++"))


def test_no_guidance_for_a_network_that_is_told_it(model: Model) -> None:
    """Its scale of no guidance is 1, whose embedding is that of 0: see `unet.UNet._strength`."""
    said = list[float]()

    class Told(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor, t: torch.Tensor, cond: Cond) -> torch.Tensor:
            assert cond.guidance is not None
            said.extend(cond.guidance.tolist())
            return x * self.weight

    spec = dataclasses.replace(model.spec, told_guidance=True, guidance=8.0)
    told = dataclasses.replace(model, network=Told(), spec=spec)
    x, t = state(model)
    for asked in (0.0, 1.0, None):
        denoiser(told, [1] * 3, 3, Sampling(guidance=asked))(x, t)
    assert said == [1.0] * 6 + [8.0] * 3


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_of_also_is_a_number(weight: float) -> None:
    with pytest.raises(ValueError, match="the weight of also 'fog' is"):
        Sampling(also=((0, 1.0), ("fog", weight)))
