"""`holdfast.train`: the Python face of the loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.models import Classifier, load_model
from holdfast.records.trainings import Training, read_curves
from holdfast.training.events import Finished, Options
from holdfast.training.reading import load_recipe
from holdfast.training.recipe import Recipe
from holdfast.training.run import train as events_of


@dataclass(frozen=True, repr=False)
class Trained:
    """What a training left.

    Attributes:
        folder: Of the run; a model for `load_model` and `holdfast measure`.
        training: Its record: status, best epoch and score, versions, machine.
        curves: A row a measurement; columns as `holdfast.records.trainings.CURVE_COLUMNS`.
    """

    folder: Path
    training: Training
    curves: pl.DataFrame

    def __repr__(self) -> str:
        return f"Trained({str(self.folder)!r}, {self.training.status})"

    def model(self, device: str = "auto") -> Classifier:
        """The best network, or the last where nothing was validated."""
        return load_model(str(self.folder), device=device)


def train(
    recipe: Recipe | str | Path,
    overrides: Iterable[str] = (),
    *,
    out: str | Path,
    device: str = "auto",
    workers: int = 0,
) -> Trained:
    """Train by a recipe, or go on with the run in `out`; returns when it has ended.

    Args:
        recipe: A `Recipe`, the name of a preset, or a path of a YAML file.
        overrides: Each `section.field=value`; not beside a `Recipe`.
        out: Folder of the run.
        device: auto, cpu, cuda, cuda:1 or mps.
        workers: Processes that read and augment images.

    Raises:
        ChangedInputError: The folder holds a run of another recipe, or its data have changed.
        DivergedError: The loss is no number any more.
        HoldfastError: Input that cannot be used.
    """
    texts = list(overrides)
    if isinstance(recipe, Recipe) and texts:
        raise BadValueError("overrides go with a preset or a file; a Recipe is complete as it is")
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, texts)
    options = Options(
        device=device, workers=workers, command=f"holdfast.train(..., out={str(out)!r})"
    )
    ended = [one for one in events_of(chosen, out, options) if isinstance(one, Finished)]
    return Trained(Path(out).expanduser(), ended[-1].training, read_curves(out))
