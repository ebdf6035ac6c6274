"""What a public function wants, told from its annotations when it is given something else.

Only the public names (`inkdrop/__init__.py`) are checked, and only the kinds of their arguments:
inside the library a type checker has done it, and what a value may be is each function's to say.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
LONG = 60  # characters of a value in a message

# What people call a type, and how to get one; others are called by their own name.
_WORDS = {
    "Tensor": "a torch tensor (torch.as_tensor makes one from a list or an array)",
    "Model": "a Model, as open_model returns it",
    "Dataset": "a Dataset, as open_data returns it",
    "Cond": "a Cond, as model.condition returns it",
    "Process": "a Process, such as model.process",
    "Step": "a Step, as tasks and samplers yield it",
    "Masked": "a Masked: a picture with its mask",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "True or False",
    "Path": "a path",
    "NoneType": "None",
    "Prompt": "a Prompt",
}
_MANY = {"int": "whole numbers", "float": "numbers", "str": "names", "Tensor": "tensors"}


def checked(function: F) -> F:
    """The function, with a TypeError in one sentence for an argument of another kind."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            name = function.__name__
            raise TypeError(f"{name}: {error}; help({name}) shows all arguments") from None
        hints = _hints(function)
        for name, value in given.items():
            if name in hints:
                check_kind(f"{function.__name__}: {name}", value, hints[name])
        return function(*args, **kwargs)

    called.__module__ = "inkdrop"  # so that it can be sent to another process
    return typing.cast(F, called)


class Door(types.ModuleType):
    """A package whose name is also that of a public function, and which can be called as it.

    Python puts a package into the place of the function as soon as anything in it is imported.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        found: Callable[..., Any] = sys.modules["inkdrop"].public(self.__name__.split(".")[1])
        return found


def fitting(what: str, value: T, x: T) -> T:
    """What a function of the caller gave for a tensor x; ValueError unless it has x's shape."""
    shape, wanted = getattr(value, "shape", None), getattr(x, "shape", None)
    if shape is None or shape != wanted:
        raise ValueError(
            f"{what} gave {_short(value)}, where a tensor of shape {list(wanted or ())} belongs"
        )
    return value


def check_fields(value: Any) -> None:
    """TypeError in one sentence for a field of a dataclass that is of another kind."""
    for name, hint in _hints(value.__class__).items():
        check_kind(f"{type(value).__name__}: {name}", getattr(value, name), hint)


def check_kind(name: str, value: Any, hint: Any) -> None:
    """TypeError in one sentence unless a value is of the annotated kind."""
    if not fits(value, hint):
        raise TypeError(f"{name} is {_short(value)}; give {said(hint)}")


@functools.cache
def _hints(what: Any) -> Mapping[str, Any]:
    """The annotations that can be resolved; names for type checkers alone are left out."""
    plain = inspect.unwrap(what) if not isinstance(what, type) else what
    scope = dict(getattr(plain, "__globals__", None) or vars(inspect.getmodule(plain)))
    found = {}
    for name, hint in plain.__annotations__.items():
        try:
            found[name] = eval(hint, scope) if isinstance(hint, str) else hint
        except NameError:
            continue
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the annotated kind, as far as that can be seen from outside."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is typing.Literal:
        return isinstance(value, tuple(map(type, parts)))  # which of them it is, is not its kind
    if origin is tuple and isinstance(value, tuple):
        if parts[-1:] == (Ellipsis,):
            return all(fits(each, parts[0]) for each in value)
        return len(value) == len(parts) and all(map(fits, value, parts))
    if origin in (list, collections.abc.Sequence):
        kind = list if origin is list else Sequence
        return _is_list(value, kind) and all(fits(each, parts[0]) for each in value)
    if origin is not None:
        return fits(value, origin)
    if hint is None:
        return value is None
    if not isinstance(hint, type):
        return True
    if getattr(hint, "_is_protocol", False):
        return callable(value) if _calls(hint) else _has_all(value, hint)
    kinds = {int: numbers.Integral, float: numbers.Real}
    return isinstance(value, kinds.get(hint, hint))


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, str | bytes)


def _has_all(value: Any, protocol: type) -> bool:
    names = {*protocol.__annotations__, *vars(protocol)}
    return all(hasattr(value, name) for name in names if not name.startswith("_"))


def _calls(protocol: type) -> bool:
    return "__call__" in vars(protocol)


def said(hint: Any) -> str:
    """An annotation in words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _either(dict.fromkeys(map(said, parts)))
    if origin is typing.Literal:
        return _either(map(repr, parts))
    if origin is tuple and parts[-1:] != (Ellipsis,):
        return f"({', '.join(map(said, parts))})"
    if origin in (tuple, list, collections.abc.Sequence):
        several = "a tuple" if origin is tuple else "a list"
        many = _MANY.get(getattr(parts[0], "__name__", ""))
        return f"{several} of {many}" if many else f"{several} with {said(parts[0])} in each place"
    if hint is None:
        return "None"
    name = getattr(origin or hint, "__name__", str(hint))
    if origin is collections.abc.Callable or _is_function(hint):
        return "a function"
    return _WORDS.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")


def _is_function(hint: Any) -> bool:
    return getattr(hint, "_is_protocol", False) and _calls(hint)


def _either(words: Iterable[str]) -> str:
    *most, last = words
    comma = ";" if any("," in each for each in most) else ","
    before = "; or" if comma == ";" else " or"
    return f"{f'{comma} '.join(most)}{before} {last}" if most else last


def _short(value: object) -> str:
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if value is None or isinstance(value, type):
        return repr(value)
    if shape is not None:
        return f"a {kind} of shape {list(shape)}"
    text = repr(value)
    return f"{text if len(text) <= LONG else f'{text[:LONG]} ...'} ({kind})"
