"""Noise is a function of (seed, sample, interval) and nothing else, and it is Gaussian."""

from __future__ import annotations

import itertools

import pytest
import torch
from exact import PROCESSES, f64

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.noise import SeededNoise, generator, key
from inkdrop.diffusion.process import VP

PROCESS = VP()


def test_a_sample_has_the_same_noise_alone_and_in_any_batch() -> None:
    whole = SeededNoise(3, range(8), (2, 5), PROCESS)
    for i in range(8):
        alone = SeededNoise(3, (i,), (2, 5), PROCESS)
        assert torch.equal(alone.initial()[0], whole.initial()[i])
        assert torch.equal(alone(0.5, 0.25)[0], whole(0.5, 0.25)[i])
    assert torch.equal(SeededNoise(3, (5, 1), (2, 5), PROCESS).initial()[1], whole.initial()[1])


def test_it_does_not_depend_on_the_order_of_calls_or_the_global_generator() -> None:
    torch.manual_seed(0)
    noise = SeededNoise(3, (0, 1), (4,), PROCESS)
    before = torch.get_rng_state()
    first, late = noise(1.0, 0.5), noise(0.5, 0.0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again = SeededNoise(3, (0, 1), (4,), PROCESS)
    assert torch.equal(again(0.5, 0.0), late)
    assert torch.equal(again(1.0, 0.5), first)


def test_every_seed_sample_and_interval_has_its_own() -> None:
    drawn = [
        SeededNoise(seed, (i,), (6,), PROCESS)(t, s)
        for seed in (0, 1)
        for i in (0, 1)
        for t, s in ((1.0, 0.5), (0.5, 1.0), (1.0, 0.0))
    ]
    drawn += [SeededNoise(seed, (i,), (6,), PROCESS).initial() for seed in (0, 1) for i in (0, 1)]
    assert len({tuple(x.flatten().tolist()) for x in drawn}) == 16


def test_it_is_unit_gaussian_and_uncorrelated() -> None:
    n = 4096
    noise = SeededNoise(0, range(n), (4,), PROCESS, dtype=torch.float64)
    columns = torch.cat([noise.initial(), noise(1.0, 0.5), noise(0.5, 0.25)], 1)
    assert columns.mean(0).abs().max() < 4.5 / n**0.5
    covariance = columns.T @ columns / n - torch.eye(12, dtype=torch.float64)
    assert covariance.diagonal().abs().max() < 4.5 * (2 / n) ** 0.5
    assert (covariance - covariance.diagonal().diag()).abs().max() < 4.5 / n**0.5
    assert abs((columns**4).mean().item() - 3) < 4.5 * (96 / columns.numel()) ** 0.5


def test_shape_and_precision_are_those_asked_for() -> None:
    noise = SeededNoise(0, (0, 1, 2), (1, 4, 5), PROCESS, dtype=torch.float64)
    assert noise.initial().shape == (3, 1, 4, 5)
    assert noise.initial().dtype == torch.float64
    assert SeededNoise(0, (0,), (2,), PROCESS).initial().dtype == torch.float32


def test_keys_are_stable_and_tell_kinds_apart() -> None:
    # Written down once: a change here would change every picture of every seed.
    assert key(0, 0, "initial") == 6176172486330936556
    parts: list[tuple[int | float | str, ...]] = [
        (),
        (1,),
        (1.0,),
        ("1",),
        (1, 1),
        ("ab",),
        ("a", "b"),
        (-1,),
        (0,),
        (0.0,),
        (2**70,),
    ]
    keys = {key(*p) for p in parts}
    assert len(keys) == len(parts)
    assert all(0 <= k < 2**63 for k in keys)


def test_a_generator_follows_its_key() -> None:
    a, b = generator(1, "times", 2), generator(1, "times", 2)
    assert torch.equal(torch.rand(5, generator=a), torch.rand(5, generator=b))
    c = generator(1, "times", 3)
    assert not torch.equal(
        torch.rand(5, generator=generator(1, "times", 2)), torch.rand(5, generator=c)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_device_changes_nothing() -> None:
    on_device = SeededNoise(3, (0, 1), (4,), PROCESS, device="cuda").initial()
    assert torch.equal(on_device.cpu(), SeededNoise(3, (0, 1), (4,), PROCESS).initial())


@pytest.mark.parametrize("name", PROCESSES)
def test_a_path_is_the_same_however_it_is_cut(name: str) -> None:
    # With SNR as its clock the increments B = z sqrt(SNR_s - SNR_t) add up.
    process = PROCESSES[name]
    t, m, s = process.time_at(f64(-2.0, -0.5, 1.5)).tolist()
    snr = process.logsnr(f64(t, m, s)).exp()
    noise = SeededNoise(5, (0, 3), (7,), process, dtype=torch.float64)
    whole = noise(t, s) * (snr[2] - snr[0]).sqrt()
    first, second = noise(t, m) * (snr[1] - snr[0]).sqrt(), noise(m, s) * (snr[2] - snr[1]).sqrt()
    torch.testing.assert_close(first + second, whole, rtol=1e-9, atol=1e-9)


def test_a_path_does_not_remember_where_it_was_asked() -> None:
    asked = [(0.9, 0.1), (0.5, 0.49), (0.30001, 0.3), (0.9, 0.1), (0.2, 0.0)]
    together = SeededNoise(1, (0,), (5,), PROCESS)
    for t, s in asked:
        assert torch.equal(together(t, s), SeededNoise(1, (0,), (5,), PROCESS)(t, s))


@pytest.mark.parametrize("steps", [10, 1000])
def test_neighbouring_intervals_are_independent_and_of_unit_size(steps: int) -> None:
    process = Discrete("cosine")
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[steps // 3 :][:9].tolist()
    noise = SeededNoise(2, (0,), (20_000,), process, dtype=torch.float64)
    z = torch.stack([noise(t, s)[0] for t, s in itertools.pairwise(times)])
    n = z.shape[1]
    gap = z @ z.T / n - torch.eye(len(z), dtype=torch.float64)
    assert gap.abs().max() < 5 * (2 / n) ** 0.5


def test_going_back_draws_anew_and_each_time_again() -> None:
    noise = SeededNoise(2, (0,), (4000,), PROCESS, dtype=torch.float64)
    rows = [noise(0.3, 0.6), noise(0.3, 0.6, 1), noise(0.6, 0.3), noise(0.3, 0.3)]
    covariance = torch.cat(rows) @ torch.cat(rows).T / 4000
    assert (covariance - torch.eye(4, dtype=torch.float64)).abs().max() < 5 * (2 / 4000) ** 0.5


def test_a_seed_that_no_key_can_hold_is_refused() -> None:
    assert key(2**127 - 1) != key(-(2**127))
    for seed in (2**127, -(2**127) - 1, 10**400):
        with pytest.raises(ValueError, match="too large"):
            key(seed)
