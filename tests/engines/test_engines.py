"""Choosing an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
import torch

from inkdrop.diffusion.guidance import bind, classifier
from inkdrop.engines import ENGINES, Precision, about, example, fastest, prepare, quick, usual
from inkdrop.engines.cpu import fast_bfloat16
from inkdrop.model import Model
from inkdrop.networks.control import Control, Controlled, ControlNet
from inkdrop.networks.unet import UNet
from inkdrop.tasks.likelihood import likelihood


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
    with pytest.raises(ValueError, match=r"no engine 'eagre'; choose from .*Did you mean 'eager'"):
        prepare(model, "eagre")
    with pytest.raises(ValueError, match="precision is 'int8', but the engine eager supports"):
        prepare(model, "eager", precision="int8")


def test_no_engine_without_controls_is_chosen_for_them(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(model.network, UNet)
    branch = Control(ControlNet.beside(model.network))
    told = dataclasses.replace(model, network=Controlled(model.network, [branch]))
    # A torch without oneDNN, where openvino comes first.
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    if ENGINES["openvino"].lacks(model.network, model.device, "float32") is None:
        assert fastest(model) == "openvino"
    assert fastest(told) == "eager"
    with pytest.raises(ValueError, match="openvino does not support control networks; use the"):
        prepare(told, "openvino")


def test_a_small_model_is_left_as_it_is(model: Model) -> None:
    assert usual(model) == "eager" and quick(model) == "float32"


def test_what_an_engine_made_of_a_model_is_not_saved(model: Model, tmp_path: Path) -> None:
    class Other(torch.nn.Module):
        pass

    with pytest.raises(ValueError, match="a model whose network is a Other cannot be saved; save"):
        dataclasses.replace(model, network=Other()).save(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_every_engine_is_told_of() -> None:
    lines = about(torch.device("cpu"))
    assert list(lines) == list(ENGINES) and "float32" in lines["eager"]


def wants_gradients(model: Model) -> Iterator[Callable[[], object]]:
    """What asks for a gradient through the network."""
    x, t = torch.rand(2, *model.shape) * 2 - 1, torch.full((2,), 0.5, dtype=torch.float64)
    denoise = bind(model.denoise, model.null(2))
    # x0 is affine in x beside the network, so there is a gradient without the network's as well.
    guided = classifier(model.process, denoise, lambda x, t: -denoise(x, t).flatten(1).sum(1), 1.0)
    yield lambda: guided(x, t)
    yield lambda: likelihood(model, x, steps=2, probes=2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
@pytest.mark.parametrize(
    ("engine", "precision"),
    [(name, p) for name in ENGINES if name != "eager" for p in ENGINES[name].precisions],
)
def test_a_gradient_is_refused_by_name(model: Model, engine: str, precision: Precision) -> None:
    if ENGINES[engine].lacks(model.network, model.device, precision):
        pytest.skip("not here")
    prepared = prepare(model, engine, precision=precision)
    for wanted in wants_gradients(prepared):
        with pytest.raises(ValueError, match=f"{engine} has no gradients.* --engine eager"):
            wanted()


@pytest.mark.skipif(not fast_bfloat16(), reason="the processor has no bfloat16")
def test_eager_in_bfloat16(model: Model) -> None:
    call = example(model, 2)
    wanted = model.network(*call)
    got = prepare(model, "eager", precision="bfloat16")
    x0 = got.denoise(call.x, torch.full((2,), 0.5, dtype=torch.float64), call.cond)
    assert x0.dtype == torch.float32
    assert (got.network(call.x.bfloat16(), *call[1:]).float() - wanted).abs().max() < 0.05
