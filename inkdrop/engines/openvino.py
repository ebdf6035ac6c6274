"""The engine openvino: a network as a graph that OpenVINO compiles for this CPU."""

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

# What is multiplied in. Without a hint OpenVINO takes bfloat16 wherever the CPU has it. What meets
# weights of int8 it rounds to int8 as well, in groups of 32 numbers with a scale each.
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
# Sizes are open in a graph, so a few samples of a small size show as much as the whole example.
_SAMPLES, _PLACES = 2, 16
# The axis of each input whose size the network's weights fix.
_WIDTHS = {"x": 1, "concat": 1, "hint": 1, "kept": 1, "tokens": 2, "vector": 1}


class Way(NamedTuple):
    """What is traced: a method of a network, called with x, t, fields of Cond, and what follows.

    fields: the names of those that are not None; rest: numbers that the method takes at last.
    """

    method: str
    fields: tuple[str, ...]
    rest: tuple[int, ...]


class Compiled(nn.Module):
    """A network computed by OpenVINO: (x [B, C, *spatial], t [B], cond) -> [B, C', *spatial].

    A graph takes any batch, size and number of tokens, and threads share it. There is one for each
    set of fields of cond, made when it is first asked for; it reads the network's own weights where
    they are and packs them for itself.
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.empty(0), requires_grad=False)
        # In a tuple, since its weights are the graphs' too and not to be moved or saved.
        self._network, self._precision = (network,), precision
        self._graphs: dict[Any, Any] = {}
        self._masked = False
        self._lock = threading.Lock()

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """As the network."""
        return self._run("forward", x, t, cond)[0]

    def _run(
        self, method: str, x: Tensor, t: Tensor, cond: Cond, *kept: Tensor, outer: int | None = None
    ) -> tuple[Tensor, ...]:
        told = _fields(self._one_mask(cond))
        way = Way(method, tuple(told), () if outer is None else (outer,))
        given = (x, t.float(), *told.values(), *kept)
        refuse_gradient("openvino", *given)
        values = [_plain(v) for v in given]
        # A request for each call, so that threads do not meet.
        request = self._graph(way, values).create_infer_request()
        results = request.infer([v.numpy() for v in values], share_inputs=True)
        return tuple(torch.from_numpy(results[i]) for i in range(len(results)))

    def _one_mask(self, cond: Cond) -> Cond:
        """The same condition with a mask always or never, so that one graph serves all calls."""
        mask = cond.mask
        if mask is not None and not self._masked:
            self._masked = not bool(mask.all())
        if mask is None and self._masked and cond.tokens is not None:
            mask = torch.ones(cond.tokens.shape[:2], dtype=torch.bool)
        return dataclasses.replace(cond, mask=mask if self._masked else None)

    def _graph(self, way: Way, values: list[Tensor]) -> Any:
        # What the network itself would refuse has a key of its own, and is refused when it traces.
        names = ("x", "t", *way.fields, *["kept"] * (len(values) - 2 - len(way.fields)))
        key = way, tuple(_kind(n, v, len(values[0])) for n, v in zip(names, values, strict=True))
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = _compiled(self._network[0], way, values, self._precision)
            return self._graphs[key]


class CompiledUNet(Compiled):
    """A U-Net computed by OpenVINO, whose deep features can be reused (`networks.reuse`)."""

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        network = self._network[0]
        assert isinstance(network, Deep)
        return network.levels

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """As the U-Net; through `deep`, so that reuse needs no second graph of all weights."""
        return self.deep(x, t, cond, 1)[0]

    def deep(self, x: Tensor, t: Tensor, cond: Cond, outer: int) -> tuple[Tensor, Tensor]:
        """As the U-Net."""
        out, kept = self._run("deep", x, t, cond, outer=outer)
        return out, kept

    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor:
        """As the U-Net."""
        return self._run("shallow", x, t, cond, kept, outer=outer)[0]


class _Flat(nn.Module):
    """A method of a network with tensors alone as inputs: x, t, fields of Cond, and others."""

    def __init__(self, network: nn.Module, way: Way) -> None:
        super().__init__()
        self.network, self.way = network, way

    def forward(self, x: Tensor, t: Tensor, *values: Tensor) -> Any:
        method, fields, rest = self.way
        cond = Cond(**dict(zip(fields, values, strict=False)))
        return getattr(self.network, method)(x, t, cond, *values[len(fields) :], *rest)


class _Rounded(nn.Module):
    """Weights as int8 with a scale for every output channel."""

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
        return f"it computes on the CPU, and the model is on {device}; use eager there"
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
    "OpenVINO's graph for this CPU; pip install 'inkdrop[openvino]'",
    ("float32", "bfloat16", "int8"),
    _lacks,
    _prepare,
    controls=False,
)


def _round_weights(network: nn.Module) -> None:
    """Stores the matrices of linear layers as int8, a layer at a time.

    Kernels of convolutions stay: OpenVINO would compute with floats made of them, and keep both.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(layer, "weight", _Rounded(), unsafe=True)


def _compiled(network: nn.Module, way: Way, values: list[Tensor], precision: Precision) -> Any:
    # Not in the disk cache that OpenVINO offers: nobody asked for one.
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
    """OpenVINO's graph of a call, which shares the network's weights; all sizes are open."""
    _import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        # Tracing is on torch's way out, but exported graphs with open sizes do not convert yet. And
        # what the networks check of their inputs is checked of these.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            _Flat(network, way), tuple(values), check_trace=False, strict=False
        )
    # In a variable, for what is loaded does not keep it alive.
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
    """Imports inside find no such module. OpenVINO's own import would report itself otherwise."""
    there = module in sys.modules
    if not there:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not there:
            del sys.modules[module]


def _fields(cond: Cond) -> dict[str, Tensor]:
    """The fields of a condition that are not None, in their order."""
    names = (field.name for field in dataclasses.fields(cond))
    return {name: v for name in names if (v := getattr(cond, name)) is not None}


def _plain(value: Tensor) -> Tensor:
    value = value.detach().contiguous()
    return value.float() if value.is_floating_point() else value


def _kind(name: str, value: Tensor, batch: int) -> tuple[int, int | None, bool]:
    """What of an input a graph fixes: its axes, its width and that it has x's batch."""
    axis = _WIDTHS.get(name)
    width = value.shape[axis] if axis is not None and axis < value.ndim else None
    return value.ndim, width, len(value) == batch


def _few(call: Call) -> Call:
    """A call of some of the samples at some of the places, with all that is told."""
    few = slice(_SAMPLES)
    cond = call.cond[few]
    told = {name: _corner(v) for name, v in _fields(cond).items() if name in ("concat", "hint")}
    return Call(_corner(call.x[few]), call.t[few], dataclasses.replace(cond, **told))


def _corner(value: Tensor) -> Tensor:
    places: tuple[Any, ...] = (..., *[slice(_PLACES)] * (value.ndim - 2))
    return value[places]
