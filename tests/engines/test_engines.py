"""Choosing an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from inkdrop.engines import example, fastest, prepare
from inkdrop.model import Model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny.model(tiny.data(tmp_path))


def test_the_fastest_computes_what_the_network_does(model: Model) -> None:
    call = example(model, 3)
    wanted = model.network(*call)
    got = prepare(model, fastest(model)).network(*call)
    assert (got - wanted).abs().max() < 1e-5


def test_an_example_is_a_call_of_the_model(model: Model) -> None:
    call = example(model, 3)
    assert call.x.shape == (3, *model.shape) and call.cond.batch == 3


def test_what_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match=r"no engine 'eagre'; known are: .*Did you mean 'eager'"):
        prepare(model, "eagre")
    with pytest.raises(ValueError, match="precision is 'int8', but the engine eager computes in"):
        prepare(model, "eager", precision="int8")
