"""OpenVINO against torch: the same numbers, for each thing a network is told, any size, threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.engines import ENGINES, Call, Precision, prepare
from inkdrop.networks.dit import DiT, DiTConfig
from inkdrop.networks.reuse import Reused
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling

pytest.importorskip("openvino")
ENGINE = ENGINES["openvino"]
SMALL: dict[str, Any] = {"in_channels": 2, "width": 8, "multipliers": (1, 2), "blocks": 1}
TOLD: dict[str, Any] = {"num_classes": 3, "vector_dim": 5, "concat_channels": 1}


def filled(network: nn.Module) -> nn.Module:
    """The network with its zeros random too, for evaluation."""
    torch.manual_seed(0)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.1) if not bool(weight.any()) else None
    return network.eval().requires_grad_(False)


def unet(**changes: Any) -> nn.Module:
    return filled(UNet(UNetConfig(**SMALL, norm_groups=4, head_channels=8, **changes)))


def dit(**changes: Any) -> nn.Module:
    config = {"in_channels": 2, "width": 16, "depth": 2, "heads": 2, "patch": 2, **changes}
    return filled(DiT(DiTConfig(**config)))


def call(network: Any, batch: int, *size: int, seed: int = 0, masked: bool = False) -> Call:
    """A call with all that the network reads."""
    torch.manual_seed(seed)
    config = network.config
    width = getattr(config, "cross_attention_dim", None) or getattr(config, "tokens_dim", None)
    cond = Cond(
        label=torch.randint(4, (batch,)) if config.num_classes else None,
        tokens=torch.randn(batch, 3 + seed, width) if width else None,
        mask=torch.rand(batch, 3 + seed) < 0.6 if masked else None,
        vector=torch.randn(batch, 5) if config.vector_dim else None,
        concat=torch.randn(batch, 1, *size) if config.concat_channels else None,
        guidance=7 * torch.rand(batch) if getattr(config, "guidance_dim", None) else None,
    )
    if masked and cond.mask is not None:
        cond.mask[0] = False  # the empty condition
    return Call(torch.randn(batch, config.in_channels, *size), 900 * torch.rand(batch), cond)


def gap(network: nn.Module, other: nn.Module, given: Call) -> float:
    """The relative distance of what two networks answer."""
    with torch.no_grad():
        got, wanted = network(*given), other(*given)
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    return float((got - wanted).norm() / wanted.norm())


def compiled(network: nn.Module, example: Call, precision: Precision = "float32") -> nn.Module:
    return ENGINE.prepare(network, example, precision)


@pytest.mark.parametrize(
    "network",
    [
        unet(**TOLD, guidance_dim=8),
        unet(cross_attention_dim=6, modulation="add", odd_sizes="resize", projection="conv"),
        unet(resample="resblock", patch=2),
        unet(resample="pool", dims=1),
        unet(dims=3),
        dit(**TOLD),
        dit(text="cross", tokens_dim=6, qk_norm=True),
        dit(dims=1),
    ],
    ids=lambda network: type(network).__name__,
)
def test_the_same_as_torch_at_the_example_and_at_other_sizes(network: Any) -> None:
    size = (8, 6, 4)[: network.config.dims]
    odd = (9, 7, 5)[: network.config.dims]
    made = compiled(network, call(network, 2, *size))
    assert gap(made, network, call(network, 2, *size)) < 1e-5
    assert gap(made, network, call(network, 3, *odd, seed=1)) < 1e-5
    assert gap(made, network, call(network, 1, *size, seed=2)) < 1e-5
    assert len(made._graphs) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "network",
    [
        unet(cross_attention_dim=6),
        dit(text="cross", tokens_dim=6),
        dit(text="joint", tokens_dim=6),
    ],
    ids=("unet", "cross", "joint"),
)
def test_masks_the_empty_one_included_and_calls_without(network: nn.Module) -> None:
    made = compiled(network, call(network, 2, 8, 8, masked=True))
    assert gap(made, network, call(network, 3, 6, 8, seed=1, masked=True)) < 1e-5
    assert gap(made, network, call(network, 2, 8, 8)) < 1e-5
    assert len(made._graphs) == 1  # type: ignore[arg-type]
    late = compiled(network, call(network, 2, 8, 8))
    assert gap(late, network, call(network, 2, 8, 8, masked=True)) < 1e-5


@pytest.mark.parametrize(
    "network", [unet(cross_attention_dim=6, guidance_dim=8), dit(**TOLD)], ids=("unet", "dit")
)
def test_low_precisions(network: nn.Module) -> None:
    given, other = call(network, 2, 8, 8), call(network, 1, 9, 8)
    wanted = [network(*given), network(*other)]
    if ENGINE.lacks(network, torch.device("cpu"), "bfloat16") is None:
        made = compiled(network, given, "bfloat16")
        assert made(*given).dtype == torch.float32
        assert gap(made, network, given) < 0.03
    made = compiled(network, given, "int8")
    for example, want in zip((given, other), wanted, strict=True):
        assert 0 < (made(*example) - want).norm() / want.norm() < 0.03


def test_deep_features_are_reused_as_in_torch() -> None:
    network = unet(num_classes=3)
    example = call(network, 2, 8, 8)
    ours, theirs = (Reused(n, 2) for n in (compiled(network, example), network))
    for seed in range(4):
        given = call(network, 2, 9, 6, seed=seed)._replace(cond=example.cond)
        assert gap(ours, theirs, given) < 1e-5
    with pytest.raises(ValueError, match="only a U-Net's features can be reused"):
        Reused(compiled(dit(), call(dit(), 1, 4, 4)), 2)


def test_threads_share_one_network() -> None:
    network = unet(**TOLD)
    made = compiled(network, call(network, 2, 8, 8))
    calls = [call(network, 1 + seed % 3, 8, 8 + seed % 2, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda given: made(*given), calls))
    for given, answer in zip(calls, got, strict=True):
        torch.testing.assert_close(answer, network(*given), rtol=1e-4, atol=1e-5)


def test_two_threads_sample_from_one_model(tmp_path: Path) -> None:
    model = tiny.model(tiny.data(tmp_path))
    made = prepare(model, "openvino")

    def drawn(seed: int) -> Tensor:
        asked = Sampling(steps=3, reuse=2)
        return generate_many(made, seed=seed, count=2, sampling=asked)

    alone = [drawn(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(drawn, (1, 2)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not torch.equal(*alone)


def test_what_the_network_refuses_is_refused() -> None:
    network = unet(cross_attention_dim=6)
    made = compiled(network, call(network, 2, 8, 8))
    x, t, cond = call(network, 2, 8, 8)
    with pytest.raises(ValueError, match=r"the network needs cond\.tokens"):
        made(x, t, Cond())
    with pytest.raises(ValueError, match=r"cond\.tokens has size 5"):
        made(x, t, Cond(tokens=torch.zeros(2, 3, 5)))
    with pytest.raises(ValueError, match="but x holds 2 samples"):
        made(x, t[:1], cond)
    with pytest.raises(ValueError, match="but the network takes 2 channels"):
        made(x[:, :1], t, cond)
    assert "it computes on the CPU" in str(ENGINE.lacks(network, torch.device("meta"), "float32"))


def test_nothing_is_imported_before_use_nor_reported_then() -> None:
    code = (
        "import sys, inkdrop.engines as e, inkdrop.engines.openvino as o\n"
        "assert not any(name.split('.')[0].startswith('openvino') for name in sys.modules)\n"
        "o._core()\n"
        "assert 'openvino' in sys.modules and 'openvino_telemetry' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
