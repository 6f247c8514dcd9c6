"""A training as its page reads it: record, curves and measured robustness together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.metrics.accuracy import proportion
from holdfast.metrics.intervals import Estimate
from holdfast.records import FLAGS, Store
from holdfast.records.trainings import (
    STORE_FOLDER,
    TRAINING_FLAGS,
    Moment,
    Training,
    moments,
    read_curves,
    read_training,
)
from holdfast.report.evidence import Evidence
from holdfast.report.subjects import Subject

Images = tuple[str, str, str, str, int]  # data, split, view, digest of the data, seed
_ALARMS = frozenset(TRAINING_FLAGS)


@dataclass(frozen=True)
class Outcome:
    """One folder of `holdfast train run`, read once; `name` tells it from others on a page."""

    name: str
    folder: Path
    training: Training
    curves: pl.DataFrame

    @classmethod
    def read(cls, folder: Path, name: str = "") -> Outcome:
        """Read a folder.

        Raises:
            MissingError: No training in the folder.
            BadValueError: Files that say something else.
        """
        return cls(
            name or folder.resolve().name, folder, read_training(folder), read_curves(folder)
        )

    @cached_property
    def moments(self) -> dict[str, Moment]:
        """Validation before, best and last, by name."""
        return {one.name: one for one in moments(self.training, self.curves)}

    @cached_property
    def evidence(self) -> Evidence | None:
        """What the store measured; None where the folder has no store, or an empty one."""
        path = self.folder / STORE_FOLDER
        if not path.is_dir():
            return None
        found = Evidence(Store.existing(path))
        return found if found.subjects else None

    def field(self, section: str, name: str) -> Any:
        """A field of the recipe; None where it says nothing."""
        part = self.training.recipe.get(section)
        return part.get(name) if isinstance(part, dict) else None

    def shares(self, column: str) -> dict[float, Estimate]:
        """Accuracies of a column of the curves with their Wilson intervals, by epoch."""
        counts = f"{column.partition('_')[0]}_n"
        rows = self.curves.select("epoch", column, counts).drop_nulls(column)
        return {epoch: share(value, count or 0) for epoch, value, count in rows.iter_rows()}

    def values(self, column: str) -> dict[float, float]:
        """Plain numbers of a column of the curves, by epoch."""
        return dict(self.curves.select("epoch", column).drop_nulls(column).iter_rows())

    def subjects(self, model: str) -> dict[Images, Subject]:
        """Measured networks of that name, by the images they saw."""
        if self.evidence is None:
            return {}
        named = [one for one in self.evidence.subjects if one.model == model and one.estimates]
        found: dict[Images, Subject] = {}
        for one in named:
            # Weights of an earlier session may have been measured under the same name.
            if images_of(one) not in found or one.weights_digest == self.training.weights_digest:
                found[images_of(one)] = one
        return found

    def alarms(self) -> Iterator[str]:
        """What must not be overlooked, a sentence each."""
        if self.training.status == "failed":
            yield f"The training failed. {self.training.reason}".strip()
        yield from (TRAINING_FLAGS[flag] for flag in self.training.flags if flag in _ALARMS)

    def remarks(self) -> Iterator[str]:
        """What else a reader should know before the numbers."""
        status, reason = self.training.status, self.training.reason
        if status not in ("finished", "failed"):
            yield f"{_ENDED[status]} {reason}".strip()
        yield from (FLAGS.get(flag, flag) for flag in self.training.flags if flag not in _ALARMS)
        yield from self.training.notes


def share(value: float, count: int) -> Estimate:
    """A fraction of so many images with its Wilson interval; without a count it has none."""
    if count == 0:
        return Estimate.point(value, 0)
    return proportion(min(float(count), value * count), count)


def share_of(value: float | None, count: int) -> Estimate:
    """Likewise of what may not have been measured: NaN."""
    return Estimate.point(math.nan, 0) if value is None else share(value, count)


def images_of(subject: Subject) -> Images:
    """On which images and under which seed a network was measured."""
    return subject.data, subject.split, subject.view, subject.data_digest, subject.seed


_ENDED = {
    "running": (
        "The training was still running when this page was made, or it was killed: "
        "`holdfast train resume` goes on with it."
    ),
    "stopped": "The training stopped early.",
    "interrupted": "The training was interrupted; `holdfast train resume` goes on with it.",
}
