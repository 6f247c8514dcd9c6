"""Where curves go besides the run's folder: TensorBoard and trackio, if wanted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from holdfast.core.errors import MissingError, unknown_name

_PLACE = ("epoch", "step", "seconds")  # where a row stands, not what it measured


class Sink(Protocol):
    """Takes the rows of the curves."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; what was not measured is None."""
        ...


class TensorBoard:
    """Writes event files into `FOLDER/tensorboard`; show them with `tensorboard --logdir`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        module = _imported("torch.utils.tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))
        stack.callback(self._writer.close)

    def add(self, row: Mapping[str, Any]) -> None:
        """One scalar a measured column, at the row's step."""
        for name, value in _measured(row).items():
            self._writer.add_scalar(name, value, row["step"])


class Trackio:
    """Logs to the trackio project `holdfast`, one run a folder; show it with `trackio show`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        module = _imported("trackio", "trackio")
        self._run = module.init(project="holdfast", name=folder.name, resume="allow")
        stack.callback(self._run.finish)

    def add(self, row: Mapping[str, Any]) -> None:
        """The measured columns, at the row's step."""
        self._run.log(_measured(row), step=row["step"])


SINKS: Mapping[str, Callable[[Path, ExitStack], Sink]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
}


@contextmanager
def opened_sinks(names: Sequence[str], folder: Path | None) -> Iterator[list[Sink]]:
    """Sinks of these names, closed at the end.

    Raises:
        UnknownNameError: No such sink.
        MissingError: Its library is not installed.
    """
    for name in names:
        if name not in SINKS:
            raise unknown_name("tracker", name, SINKS)
    with ExitStack() as stack:
        yield [SINKS[name](folder or Path(), stack) for name in names]


def _measured(row: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in row.items() if v is not None and k not in _PLACE}


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(
            f"{package} is not installed; pip install 'holdfast[track]', or leave --track out"
        ) from error
