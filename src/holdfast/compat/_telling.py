"""What scripts of other libraries expect to read while they run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.errors import BadValueError
from holdfast.records import FLAGS

LOGGER = logging.getLogger("holdfast.compat")


@contextmanager
def telling(*, verbose: bool, log_path: str | Path | None) -> Iterator[None]:
    """Show what is logged meanwhile, and append it to a file.

    It goes to standard output when nobody has set up logging; otherwise where they want it.
    """
    handlers: list[logging.Handler] = []
    if verbose and not LOGGER.hasHandlers():
        handlers.append(logging.StreamHandler(sys.stdout))
    if log_path is not None:
        try:
            handlers.append(logging.FileHandler(log_path, encoding="utf-8"))
        except OSError as error:
            raise BadValueError(f"cannot write the log {log_path}: {error}") from error
    level = LOGGER.level
    for handler in handlers:
        LOGGER.addHandler(handler)
    if verbose or handlers:
        LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()


def tell_flags(flags: Iterable[str]) -> None:
    """Warn of what a reader of the numbers must know."""
    for flag in sorted(flags):
        LOGGER.warning("%s: %s", flag, FLAGS.get(flag, "see the guide"))
