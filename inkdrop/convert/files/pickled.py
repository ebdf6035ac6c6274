"""Trusted pickles, which only `inkdrop convert --i-trust-this-pickle` opens.

torch's restricted loader makes tensors and plain values. What else a pickle asks for, such as a
trainer's callbacks, becomes a `Stub`, which holds what it is given and does nothing: no class is
imported, and nothing that the file names is called.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import held


def open_trusted_pickle(path: Path) -> SafeFile:
    """The tensors of a torch checkpoint, by the loader that makes only tensors and plain values.

    Numbers and texts beside the tensors become metadata, and objects are left out. ValueError for a
    pickle that asks for functions of Python's own, as only hostile ones do.
    """
    try:
        data = _plain(_stubbed(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever the loader raises for damaged bytes
        raise ValueError(
            f"{path} cannot be opened by the restricted loader, which makes tensors and nothing"
            f" else ({_reason(error)}); get the model as safetensors"
        ) from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} holds a {type(data).__name__}, not weights by name")
    metadata = {str(k): str(v) for k, v in data.items() if isinstance(v, str | int | float)}
    weights = _apart(_weights(data))
    if not weights:
        raise ValueError(f"{path} holds no weights; found: {', '.join(map(str, data))[:200]}")
    return SafeFile({name: held(value) for name, value in weights.items()}, metadata)


class Stub:
    """An object of a class that is not imported: it keeps its state, and does nothing.

    made: what stands for an object of a subclass of dict or list, which the loader fills
    """

    made: Callable[[], Any] | None = None
    state: Any = None

    def __new__(cls, *given: Any, **named: Any) -> Any:
        return object.__new__(cls) if cls.made is None else cls.made()

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


# What an honest checkpoint may have of Python's own; the rest of it, such as os.system, is refused,
# although a stub would not call it.
OWN = frozenset({*sys.stdlib_module_names, ""})
HARMLESS = re.compile(
    r"object|bool|int|float|complex|str|bytes|bytearray|tuple|list|set|frozenset|dict|slice|range"
    r"|(argparse|collections|datetime|decimal|enum|fractions|pathlib|types|uuid)\.[A-Z]\w*"
    r"|collections\.(defaultdict|deque)|datetime\.\w+|functools\.partial|copyreg\._reconstructor"
)
MOST_CLASSES = 200  # that are not torch's; an honest file has a few


def _stubbed(path: Path) -> Any:
    """What the restricted loader makes of a pickle, with a stub for every class it does not know.

    The loader names one that it lacks; it is asked again until it lacks none.
    """
    stubs = dict[str, type[Stub]]()
    for _ in range(2 * MOST_CLASSES):
        try:
            with torch.serialization.safe_globals([(stub, name) for name, stub in stubs.items()]):
                return _restricted(path)
        except UnpicklingError as error:
            if not _helped(stubs, str(error)):
                raise
    raise ValueError(f"{path} asks for more than {MOST_CLASSES} classes, which no checkpoint does")


def _helped(stubs: dict[str, type[Stub]], error: str) -> bool:
    """Adds or changes a stub so that the loader gets past its error; False if it may not."""
    if found := re.search(r"GLOBAL (\S+) was not an allowed", error):
        name = found[1]
        if name in stubs or not _is_harmless(name):
            return False
        stub = type(name, (Stub,), {})
        # torch leaves out "builtins." in its message.
        stubs |= {name: stub} if "." in name else {name: stub, f"builtins.{name}": stub}
        return True
    made = next((kind for begin, kind in FILLED.items() if begin in error), None)
    for each in stubs.values():
        if made is not None and each.made is None and str(each) in error:
            each.made = staticmethod(made)
            return True
    return False


# What an object is whose class the loader refuses to fill, by its message.
FILLED: dict[str, Callable[[], Any]] = {
    "Can only SETITEM": OrderedDict,
    "Can only append": list,
    "Can only extend": list,
}


def _is_harmless(name: str) -> bool:
    """Whether a name may be a class of some library; False for functions of Python's own."""
    if HARMLESS.fullmatch(name):
        return True
    module = name.partition(".")[0] if "." in name else ""
    return module not in OWN and re.fullmatch(r"[\w.]+", name) is not None


def _plain(value: Any) -> Any:
    """A module of torch as the mapping of its weights by name; anything else as it is."""
    state = value.state if isinstance(value, Stub) else None
    if not isinstance(state, Mapping):
        return value
    found = dict[str, Any]()
    for kind in ("_parameters", "_buffers"):
        if isinstance(own := state.get(kind), Mapping):
            found |= {str(name): each for name, each in own.items()}
    inner = state.get("_modules")
    for name, module in inner.items() if isinstance(inner, Mapping) else ():
        own = _plain(module)
        if isinstance(own, Mapping):
            found |= {f"{name}.{each}": weight for each, weight in own.items()}
    return found


def _reason(error: Exception) -> str:
    """Why it was refused, in short: torch's own message advises to lift the restriction."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it asks for {found[1]}"
    if "persistent_load" in str(error):
        return "it holds a module in the form that torch wrote before version 1.6"
    return "it is damaged, or holds something else"


def _restricted(path: Path) -> Any:
    """What the restricted loader makes of a pickle, mapped if it is a zip (since torch 1.6)."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about protocols it may not know; those that fail raise
        zipped = file.read(2) == b"PK"
        file.seek(0)
        # torch would open a name that ends in .safetensors as such.
        if zipped and path.suffix != ".safetensors":
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return torch.load(file, map_location="cpu", weights_only=True)


def _weights(data: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors: a trainer's under `state_dict`, or a word's under `string_to_param`."""
    word = _plain(data.get("string_to_param"))
    if isinstance(word, Mapping):
        return {f"string_to_param.{n}": v for n, v in word.items() if isinstance(v, Tensor)}
    inner = _plain(data.get("state_dict", data))
    found = inner if isinstance(inner, Mapping) else data
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with memory of their own each, as safetensors requires."""
    seen = set[int]()
    apart = {}
    for name, value in tensors.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in seen else value
        seen.add(place)
    return apart
