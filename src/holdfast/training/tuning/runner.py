"""What runs a trial."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.records.trainings import read_curves
from holdfast.training.events import Options, Validated
from holdfast.training.recipe import Recipe
from holdfast.training.run import train

_STOPPED = "stopped by the tuning that this run is a trial of"


class Runner(Protocol):
    """Trains a recipe in a folder; a function of a module, or an object that can be pickled."""

    def __call__(self, recipe: Recipe, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Begin, or go on with what the folder holds.

        Every measurement of the run is given, those of an earlier start first, so that none is
        lost where a process was killed between writing it and handing it over. Closing the
        iterator stops the run and leaves a folder with which it can go on.

        Args:
            recipe: What to train.
            folder: Of this run alone; not there yet at the first start.

        Yields:
            Rows with `epoch`, passes over the training images so far, which grows, and what was
            measured: validation_accuracy, validation_robust, loss. Epoch 0 is before training.

        Raises:
            BadValueError: The recipe cannot be trained, or training diverged: the trial has
                failed, and the next one begins. Any other error ends the tuning.
        """
        ...


@dataclass(frozen=True)
class TrainingRunner:
    """Runs a trial as `holdfast train run` does; see `holdfast.training.run.Options`.

    Attributes:
        device: auto, cpu, cuda, cuda:1 or mps.
        workers: Processes that read images, of each trial.
        save_every: Seconds between two checkpoints.
    """

    device: str = "auto"
    workers: int = 0
    save_every: float = 60.0

    def __call__(self, recipe: Recipe, folder: Path) -> Iterator[Mapping[str, Any]]:
        """See `Runner`."""
        last = -1.0
        for row in read_curves(folder).iter_rows(named=True):
            last = row["epoch"]
            yield row
        stop: list[str] = []
        options = Options(
            device=self.device,
            workers=self.workers,
            save_every=self.save_every,
            stopping=lambda: stop[0] if stop else "",
        )
        with closing(_closable(train(recipe, folder, options))) as events:
            try:
                for event in events:
                    if isinstance(event, Validated) and event.row["epoch"] > last:
                        yield event.row
            except GeneratorExit:
                stop.append(_STOPPED)
                for _ in events:  # a few: it saves a checkpoint and ends
                    pass
                raise


def _closable(events: Iterator[Any]) -> Generator[Any, None, None]:
    yield from events
