"""The library `transformers`: imported only when one of its models is opened, and kept quiet."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def transformers(needed_by: str, extra: str) -> Any:
    """The module `transformers`; ValueError that names the extra if it is not installed."""
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise ValueError(
            f"{needed_by} needs transformers; install it with: pip install 'inkdrop[{extra}]'"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which the library shows no progress bars and logs only errors."""
    logging = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
