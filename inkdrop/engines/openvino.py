"""The engine "openvino": a network as a graph, compiled by OpenVINO for this CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from inkdrop.cond import Cond
from inkdrop.engines.cpu import slow_bfloat16
from inkdrop.engines.engine import Call, Engine, Precision, refuse_gradient
from inkdrop.networks.reuse import Deep

# The precision of multiplications. Without a hint OpenVINO uses bfloat16 wherever the CPU has it.
# Activations that meet int8 weights are also rounded to int8, in groups of 32 with a scale each.
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
# Sizes are dynamic in a graph, so tracing a small corner of the example is enough.
_SAMPLES, _PLACES = 2, 16
# The axis of each input whose size is fixed by the network's weights.
_WIDTHS = {"x": 1, "concat": 1, "hint": 1, "kept": 1, "tokens": 2, "vector": 1}


class Way(NamedTuple):
    """What is traced: a method of a network and its arguments besides x and t.

    fields: names of the fields of Cond that are not None; rest: trailing int arguments.
    """

    method: str
    fields: tuple[str, ...]
    rest: tuple[int, ...]


class Compiled(nn.Module):
    """A network computed by OpenVINO: (x [B, C, *spatial], t [B], cond) -> [B, C', *spatial].

    A graph takes any batch size, spatial size and number of tokens, and threads share it. There is
    one graph for each set of fields of cond, compiled at its first use. It reads the network's
    weights in place and packs its own copy.
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.empty(0), requires_grad=False)
        # In a tuple, so that it is not a submodule: the graphs share its weights, which must not be
        # moved or saved.
        self._network, self._precision = (network,), precision
        self._graphs: dict[Any, Any] = {}
        self._masked = False
        self._lock = threading.Lock()

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial], as in the network."""
        return self._run("forward", x, t, cond)[0]

    def _run(
        self, method: str, x: Tensor, t: Tensor, cond: Cond, *kept: Tensor, outer: int | None = None
    ) -> tuple[Tensor, ...]:
        told = _fields(self._one_mask(cond))
        way = Way(method, tuple(told), () if outer is None else (outer,))
        given = (x, t.float(), *told.values(), *kept)
        refuse_gradient("openvino", *given)
        values = [_plain(v) for v in given]
        # One infer request per call, so that threads do not share state.
        request = self._graph(way, values).create_infer_request()
        results = request.infer([v.numpy() for v in values], share_inputs=True)
        return tuple(torch.from_numpy(results[i]) for i in range(len(results)))

    def _one_mask(self, cond: Cond) -> Cond:
        """The same condition with a mask always or never, so that one graph serves all calls.

        The mask is dropped until a call first masks a token, and always present from then on.
        """
        mask = cond.mask
        if mask is not None and not self._masked:
            self._masked = not bool(mask.all())
        if mask is None and self._masked and cond.tokens is not None:
            mask = torch.ones(cond.tokens.shape[:2], dtype=torch.bool)
        return dataclasses.replace(cond, mask=mask if self._masked else None)

    def _graph(self, way: Way, values: list[Tensor]) -> Any:
        # Inputs that the network itself would reject have their own key, so tracing rejects them.
        names = ("x", "t", *way.fields, *["kept"] * (len(values) - 2 - len(way.fields)))
        key = way, tuple(_kind(n, v, len(values[0])) for n, v in zip(names, values, strict=True))
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = _compiled(self._network[0], way, values, self._precision)
            return self._graphs[key]


class CompiledUNet(Compiled):
    """A U-Net computed by OpenVINO, with support for `networks.reuse`."""

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        network = self._network[0]
        assert isinstance(network, Deep)
        return network.levels

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """As in the U-Net; through `deep`, so that reuse needs no second graph with all weights."""
        return self.deep(x, t, cond, 1)[0]

    def deep(self, x: Tensor, t: Tensor, cond: Cond, outer: int) -> tuple[Tensor, Tensor]:
        """See `UNet.deep`."""
        out, kept = self._run("deep", x, t, cond, outer=outer)
        return out, kept

    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor:
        """See `UNet.shallow`."""
        return self._run("shallow", x, t, cond, kept, outer=outer)[0]


class _Flat(nn.Module):
    """A method of a network with tensors as its only inputs: x, t, fields of Cond, and others."""

    def __init__(self, network: nn.Module, way: Way) -> None:
        super().__init__()
        self.network, self.way = network, way

    def forward(self, x: Tensor, t: Tensor, *values: Tensor) -> Any:
        method, fields, rest = self.way
        cond = Cond(**dict(zip(fields, values, strict=False)))
        return getattr(self.network, method)(x, t, cond, *values[len(fields) :], *rest)


class _Rounded(nn.Module):
    """A parametrization that stores weights as int8 with one scale per output channel."""

    def forward(self, whole: Tensor, scale: Tensor) -> Tensor:
        return whole.to(scale.dtype) * scale

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        scale = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / 127
        scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)
        return (weight / scale).round().to(torch.int8), scale


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed; pip install 'inkdrop[openvino]'"
    if device.type != "cpu":
        return f"it computes on the CPU, but the model is on {device}; use eager there"
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _prepare(network: nn.Module, example: Call, precision: Precision) -> nn.Module:
    network.eval().requires_grad_(False).float()
    if precision == "int8":
        _round_weights(network)
    deep = isinstance(network, Deep) and network.levels > 1
    made = (CompiledUNet if deep else Compiled)(network, precision)
    made(*_few(example))
    return made.eval()


OPENVINO = Engine(
    "a graph compiled by OpenVINO for this CPU; pip install 'inkdrop[openvino]'",
    ("float32", "bfloat16", "int8"),
    _lacks,
    _prepare,
    controls=False,
)


def _round_weights(network: nn.Module) -> None:
    """Store the weights of linear layers as int8, one layer at a time.

    Convolutions stay as they are: OpenVINO would convert their weights back to floats and keep
    both.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(layer, "weight", _Rounded(), unsafe=True)


def _compiled(network: nn.Module, way: Way, values: list[Tensor], precision: Precision) -> Any:
    # Without OpenVINO's disk cache: inkdrop writes no files the user did not ask for.
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    try:
        return _core().compile_model(_converted(network, way, values), "CPU", options)
    except RuntimeError as error:
        kind, why = type(network).__name__, str(error).strip().splitlines()[-1]
        raise ValueError(
            f"OpenVINO cannot compute this {kind} ({why}); use the engine eager"
        ) from error


def _converted(network: nn.Module, way: Way, values: list[Tensor]) -> Any:
    """OpenVINO's graph of a call, which shares the network's weights; all sizes are dynamic."""
    _import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        # Tracing is deprecated in torch, but exported graphs with dynamic sizes do not convert yet.
        # Other warnings are about the networks' input checks, which run on the traced values only.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            _Flat(network, way), tuple(values), check_trace=False, strict=False
        )
    # Keep a reference: the loaded graph does not keep the decoder alive.
    decoder = TorchScriptPythonDecoder(traced)
    reader = FrontEndManager().load_by_framework("pytorch")
    return reader.convert(reader.load(decoder))


@cache
def _core() -> Any:
    return _import_openvino().Core()


def _import_openvino() -> Any:
    with _without("openvino_telemetry"):
        import openvino
    return openvino


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Context in which a module cannot be imported: OpenVINO would otherwise send telemetry."""
    there = module in sys.modules
    if not there:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not there:
            del sys.modules[module]


def _fields(cond: Cond) -> dict[str, Tensor]:
    """The fields of a condition that are not None, in order of definition."""
    names = (field.name for field in dataclasses.fields(cond))
    return {name: v for name in names if (v := getattr(cond, name)) is not None}


def _plain(value: Tensor) -> Tensor:
    value = value.detach().contiguous()
    return value.float() if value.is_floating_point() else value


def _kind(name: str, value: Tensor, batch: int) -> tuple[int, int | None, bool]:
    """The properties of an input that a graph fixes: ndim, width, and whether it has x's batch."""
    axis = _WIDTHS.get(name)
    width = value.shape[axis] if axis is not None and axis < value.ndim else None
    return value.ndim, width, len(value) == batch


def _few(call: Call) -> Call:
    """A part of a call: a few samples and positions, with all fields of the condition."""
    few = slice(_SAMPLES)
    cond = call.cond[few]
    told = {name: _corner(v) for name, v in _fields(cond).items() if name in ("concat", "hint")}
    return Call(_corner(call.x[few]), call.t[few], dataclasses.replace(cond, **told))


def _corner(value: Tensor) -> Tensor:
    places: tuple[Any, ...] = (..., *[slice(_PLACES)] * (value.ndim - 2))
    return value[places]
