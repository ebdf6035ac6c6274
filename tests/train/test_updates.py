"""An update is a function of (config, state, number): split in any way, the numbers agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny
import torch

from inkdrop.cond import Cond
from inkdrop.data.order import batch_indices
from inkdrop.train.feed import Feed, split
from inkdrop.train.objective import Batch, drop
from inkdrop.train.parallel import World
from inkdrop.train.turn import Turn, draw_noise
from inkdrop.train.updates import gradients, start, updates

CPU = torch.device("cpu")


def gradient(folder: Path, world: World, accumulate: int) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(0)
    pictures = tiny.data(folder)
    model = tiny.model(pictures)
    torch.nn.init.normal_(model.network.output.weight)  # type: ignore[union-attr, arg-type]
    config = dataclasses.replace(tiny.ask().config, accumulate=accumulate)
    loss = gradients(model, config, Feed(pictures, config, CPU), 3, world)
    return loss.mean, [p.grad.clone() for p in model.network.parameters() if p.grad is not None]


def test_accumulated_gradient_is_the_whole_batch_gradient(tmp_path: Path) -> None:
    whole, want = gradient(tmp_path, World(), 1)
    parts, got = gradient(tmp_path, World(), 4)
    assert parts == pytest.approx(whole, rel=1e-5)
    assert max(float(w.abs().max()) for w in want) > 1e-3
    for a, b in zip(want, got, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_two_shares_average_to_the_whole_batch(tmp_path: Path) -> None:
    _, want = gradient(tmp_path, World(), 1)
    first = gradient(tmp_path, World(0, 2), 1)[1]
    second = gradient(tmp_path, World(1, 2), 1)[1]
    for a, b, c in zip(want, first, second, strict=True):
        torch.testing.assert_close(a, (b + c) / 2, rtol=1e-4, atol=1e-6)


def test_noise_belongs_to_the_row_of_the_global_batch() -> None:
    x = torch.zeros(6, 1, 4, 4)
    whole = draw_noise(x, 5, Turn(2, range(6), 9))
    assert torch.equal(draw_noise(x, 5, Turn(2, range(2, 5), 9)), whole[2:5])
    assert not torch.equal(draw_noise(x, 5, Turn(3, range(6), 9)), whole)
    assert not torch.equal(draw_noise(x, 6, Turn(2, range(6), 9)), whole)


def test_held_out_noise_is_that_of_no_update_and_always_the_same() -> None:
    x = torch.zeros(2, 1, 4, 4)
    held = [draw_noise(x, 5, Turn(i, range(2), 9, held_out=True)) for i in (0, 1, 0)]
    seen = [draw_noise(x, 5, Turn(i, range(2), 9)) for i in range(9)]
    assert torch.equal(held[0], held[2]) and not torch.equal(held[0], held[1])
    assert not any(torch.equal(a, b) for a in held for b in seen)


def test_condition_is_dropped_at_its_rate(tmp_path: Path) -> None:
    model = tiny.model(tiny.data(tmp_path))
    config = dataclasses.replace(tiny.ask().config, batch=4000, condition_drop=0.2)
    cond = Cond(label=torch.ones(4000, dtype=torch.int64))
    dropped = drop(model, config, cond, Turn(0, range(4000), 8)).label
    assert dropped is not None
    share = float((dropped == 2).double().mean())
    assert share == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 4000) ** 0.5)
    never = dataclasses.replace(config, condition_drop=0.0)
    assert drop(model, never, cond, Turn(0, range(4000), 8)).label is cond.label


def test_loss_falls_on_two_kinds_of_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pictures = tiny.data(tmp_path)
    model = tiny.model(pictures)
    config = dataclasses.replace(tiny.ask().config, updates=150, batch=16, lr=3e-3)
    state = start(model, config)
    losses = [u.loss for u in updates(model, Feed(pictures, config, CPU), config, state)]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def test_step_that_is_not_finite_is_not_applied_and_the_third_stops(tmp_path: Path) -> None:
    pictures = tiny.data(tmp_path)
    model = tiny.model(pictures)
    config = tiny.ask().config
    feed = Feed(pictures, config, CPU)

    def broken(update: int, rows: range) -> Batch:
        batch = feed(update, rows)
        return Batch(batch.x0 * float("nan"), batch.cond) if update in (1, 4, 5, 6) else batch

    state = start(model, config)
    seen = []
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    told = r"3 updates in a row, the last being update 6 .*: the loss of 8 samples was not finite"
    with pytest.raises(FloatingPointError, match=told):
        for update in updates(model, broken, config, state):
            seen.append(update.applied)
            now = model.network.state_dict()
            same = all(torch.equal(before[k], now[k]) for k in before)
            assert same != update.applied
            before = {k: v.clone() for k, v in now.items()}
    assert seen == [True, False, True, True, False, False, False]
    with pytest.raises(FloatingPointError, match="4 updates in a row, the last being update 6"):
        state.update = 6  # as if resumed: the next one that is not finite ends training again
        list(updates(model, broken, config, state))
    assert all(bool(v.isfinite().all()) for v in state.ema.values())


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_sample_that_is_not_finite_is_named(tmp_path: Path, accumulate: int) -> None:
    pictures = dataclasses.replace(tiny.data(tmp_path), names=[f"p{i}.png" for i in range(48)])
    training, model = split(pictures, 0)[0], tiny.model(pictures)
    config = dataclasses.replace(tiny.ask().config, accumulate=accumulate, flip=True)
    feed = Feed(training, config, CPU)

    def broken(update: int, rows: range) -> Batch:
        batch = feed(update, rows)
        if 5 in rows:
            batch.x0[5 - rows.start] = float("inf")
        return batch

    row = batch_indices(len(training), config.batch, config.seed, 0)[5]
    [place] = [i for i in range(48) if torch.equal(pictures.take([i]), training.take([row]))]
    update = next(updates(model, broken, config, start(model, config)))
    assert update.broken == (f"p{place}.png",) and not update.applied


def test_dropout_is_keyed_and_leaves_the_callers_stream_alone(tmp_path: Path) -> None:
    pictures = tiny.data(tmp_path)
    config = dataclasses.replace(tiny.ask().config, updates=2)
    results = []
    for disturb in (1, 2, 3):
        torch.manual_seed(0)
        model = tiny.model(pictures, dropout=0.5)
        torch.manual_seed(disturb)
        expected = torch.rand(1, generator=torch.Generator().manual_seed(disturb))
        asked = dataclasses.replace(config, seed=7) if disturb == 3 else config
        feed, state = Feed(pictures, config, CPU), start(model, asked)
        for _ in updates(model, feed, asked, state):
            pass
        assert torch.equal(torch.rand(1), expected)
        results.append(state.ema)
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])
    assert not all(torch.equal(results[0][k], results[2][k]) for k in results[0])


def test_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch is 8: it does not divide among 3 processes"):
        World(0, 3).rows(8)
    with pytest.raises(ValueError, match="accumulate is 3"):
        gradient(tmp_path, World(), 3)


def test_held_out_part_is_disjoint_and_fixed(tmp_path: Path) -> None:
    pictures = tiny.data(tmp_path)
    training, held = split(pictures, 0)
    assert held is not None
    assert (len(training), len(held)) == (46, 2)
    again = split(pictures, 0)[1]
    assert again is not None
    assert again.fingerprint == held.fingerprint
