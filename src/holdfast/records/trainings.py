"""What `holdfast train run` leaves behind: a folder that a page is made of.

`run.json` says what was trained and how it ended, `curves.jsonl` has one line a measurement between
the epochs, and `store/` is a `Store` with the robustness of the network as it was before the
training (its model is called `before`) and as it was kept (`after`). Accuracies are fractions in
[0, 1]; what was not measured is null, in the file and in the table.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
from pydantic import ConfigDict, RootModel, model_validator
from pydantic.dataclasses import dataclass

from holdfast.core.errors import BadTypeError, BadValueError, StoreError
from holdfast.records._files import read_json, write_json, write_whole

RECIPE_FILE = "recipe.yaml"
TRAINING_FILE = "run.json"
CURVES_FILE = "curves.jsonl"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"
STORE_FOLDER = "store"
BEFORE, AFTER = "before", "after"  # models of that store

CURVE_COLUMNS: dict[str, Any] = {
    "epoch": pl.Float64,  # passes over the training images; 0 is before the training
    "step": pl.Int64,
    "seconds": pl.Float64,
    "loss": pl.Float64,  # mean over the epoch; null at epoch 0
    "gradient_norm": pl.Float64,  # likewise
    "learning_rate": pl.Float64,
    "radius_factor": pl.Float64,  # on the radius of the objective's attack
    "train_accuracy": pl.Float64,
    "train_robust": pl.Float64,
    "train_n": pl.Int64,
    "validation_accuracy": pl.Float64,
    "validation_robust": pl.Float64,
    "validation_n": pl.Int64,
}
FRACTIONS = ("train_accuracy", "train_robust", "validation_accuracy", "validation_robust")
_PLACE = ("epoch", "step")  # never null

# What casts doubt on the weights, and what it means to a reader.
TRAINING_FLAGS: Mapping[str, str] = {
    "catastrophic_overfitting": (
        "The one-step attack of the training was overfitted catastrophically (Wong et al. 2020, "
        "arXiv:2001.03994): from some step on the network withstood that attack alone, and its "
        "accuracy under attacks of several steps fell."
    ),
    "diverged": (
        "The training diverged: its loss, gradients or weights were no longer finite numbers."
    ),
}

_COMMAND = "holdfast train run --out"
Status = Literal["running", "finished", "stopped", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Training:
    """All of a training but its curves and its weights.

    Attributes:
        digest: Of the recipe.
        recipe: Its sections as JSON types, every default written out.
        changed: Dotted fields of the recipe, such as `train.epochs`, that are not the default.
        status: running; finished; stopped early (patience, limit of overfitting); interrupted,
            to be resumed; failed.
        reason: Why it ended, a sentence; empty when it finished as planned.
        model: Name of the network.
        data: Name of the data set.
        classes: Number of classes.
        images: Training images.
        validation_images: Images held out, of which some are measured between the epochs.
        steps: Steps taken.
        epochs: Passes over the training images, as far as it came.
        seconds: Time of training, over all sessions of a training that was resumed.
        best_epoch: Epoch of the checkpoint that was kept as the best; None before there is one.
        best_score: Its score, in [0, 1].
        score: What that is: `accuracy`, or `robust accuracy under` an attack.
        flags: Names of `TRAINING_FLAGS` (or of `FLAGS`).
        notes: Anything else that a reader should know, one sentence each.
        command: What to type to get this again.
        version: Of holdfast.
        started: Time of the first start, ISO 8601.
        versions: Of the libraries, by name.
        machine: What it ran on.
        weights_digest: Of the weights that were kept, as the store has it.
        data_fingerprint: Of the training images and labels.
        start_digest: Of the weights and the code that the training began with.
        resumed: How often it was resumed.
    """

    digest: str
    recipe: dict[str, Any]
    changed: tuple[str, ...] = ()
    status: Status
    reason: str = ""
    model: str
    data: str
    classes: int
    images: int
    validation_images: int
    steps: int = 0
    epochs: float = 0.0
    seconds: float = 0.0
    best_epoch: float | None = None
    best_score: float | None = None
    score: str
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    version: str = ""
    started: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str | int] = field(default_factory=dict)
    weights_digest: str = ""
    data_fingerprint: str = ""
    start_digest: str = ""
    resumed: int = 0


class _File(RootModel[Training]):
    @model_validator(mode="before")
    @classmethod
    def _whole(cls, body: Any) -> Any:
        """A file that lacks a field was not written by `write_training`."""
        if isinstance(body, dict):
            missing = sorted({one.name for one in fields(Training)} - body.keys())
            if missing:
                raise ValueError(f"missing: {', '.join(missing)}")
        return body


class Moment(NamedTuple):
    """Validation accuracy at one moment of a training.

    Attributes:
        name: before, best or last.
        epoch: When; 0 is before the training.
        accuracy: On clean images, in [0, 1]; None where it was not measured.
        robust: Under the attack that `Training.score` names.
        images: Validation images behind both.
    """

    name: str
    epoch: float
    accuracy: float | None
    robust: float | None
    images: int


def write_training(folder: str | Path, training: Training) -> Path:
    """Write `run.json`, replaced whole; give back the folder, which is made if need be.

    Raises:
        StoreError: The folder cannot be written.
    """
    write_json(Path(folder) / TRAINING_FILE, _File(training))
    return Path(folder)


def read_training(folder: str | Path) -> Training:
    """Read what `write_training` wrote.

    Raises:
        MissingError: There is no such file.
        BadValueError: A file that says something else, or lacks something.
    """
    return read_json(Path(folder) / TRAINING_FILE, _File, _COMMAND).root


def add_curve(folder: str | Path, row: Mapping[str, float | int | None]) -> None:
    """Append a measurement to `curves.jsonl`, on disk when this returns.

    A last line that a killed process left unfinished is taken away first.

    Args:
        folder: Of the training; made if need be.
        row: Some of `CURVE_COLUMNS`, epoch and step among them. What is not there, and what is
            not finite, such as the loss of a training that diverges, is null.

    Raises:
        BadValueError: A column nobody knows, no epoch or step, or an accuracy outside [0, 1].
        BadTypeError: A value that is no number.
        StoreError: The file cannot be written.
    """
    path = Path(folder) / CURVES_FILE
    line = json.dumps(_checked(row), allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; make room and resume the training"
        ) from error


def cut_curves(folder: str | Path, step: int) -> None:
    """Take away what was measured after `step`, and an unfinished last line.

    A training that goes on at a checkpoint measures all that again. Without a file nothing is
    done.

    Raises:
        BadValueError: A line that says something else.
        StoreError: The file cannot be read or written.
    """
    path = Path(folder) / CURVES_FILE
    rows = _rows(path)
    if not path.exists():
        return
    text = "".join(f"{json.dumps(row)}\n" for row in rows if row["step"] <= step)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_curves(folder: str | Path) -> pl.DataFrame:
    """Read the measurements with `CURVE_COLUMNS`, in their order; an unfinished line is left out.

    A training that ended before its first measurement has no file, and no rows.

    Raises:
        BadValueError: A line that says something else.
        StoreError: The file cannot be read.
    """
    return pl.DataFrame(_rows(Path(folder) / CURVES_FILE), schema=CURVE_COLUMNS, orient="row")


def moments(training: Training, curves: pl.DataFrame) -> list[Moment]:
    """Validation before the training, at its best epoch and last; those that were measured."""
    rows = [row for row in curves.iter_rows(named=True) if _validated(row)]
    best = training.best_epoch
    found = {
        "before": [row for row in rows if row["epoch"] == 0][:1],
        "best": [row for row in rows if best is not None and math.isclose(row["epoch"], best)][-1:],
        "last": [row for row in rows if row["epoch"] > 0][-1:],
    }
    return [
        Moment(
            name,
            row["epoch"],
            row["validation_accuracy"],
            row["validation_robust"],
            row["validation_n"] or 0,
        )
        for name, several in found.items()
        for row in several
    ]


def summary(folder: str | Path) -> list[Moment]:
    """Validation accuracy of the training in a folder: before, best and last.

    Raises:
        MissingError: No training in the folder.
        BadValueError: Files that say something else.
    """
    return moments(read_training(folder), read_curves(folder))


def _validated(row: Mapping[str, Any]) -> bool:
    return row["validation_accuracy"] is not None or row["validation_robust"] is not None


def _checked(row: Mapping[str, float | int | None]) -> dict[str, float | int | None]:
    unknown = sorted(set(row) - set(CURVE_COLUMNS))
    if unknown:
        raise BadValueError(
            f"a row of curves has the columns {', '.join(CURVE_COLUMNS)}; "
            f"got {', '.join(unknown)} too"
        )
    found = {name: _number(name, row.get(name)) for name in CURVE_COLUMNS}
    lacking = [name for name in _PLACE if found[name] is None]
    if lacking:
        raise BadValueError(f"a row of curves needs {' and '.join(lacking)}, a finite number")
    for name in FRACTIONS:
        value = found[name]
        if value is not None and not 0 <= value <= 1:
            raise BadValueError(f"{name} is a fraction in [0, 1], got {value}")
    return found


def _number(name: str, value: Any) -> float | int | None:
    if value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise BadTypeError(f"{name} must be a number or None, got {value!r}") from error
    if not math.isfinite(found):
        return None
    if CURVE_COLUMNS[name] == pl.Float64:
        return found
    if found != int(found) or found < 0:
        raise BadValueError(f"{name} counts, so it is a whole number from 0 on; got {value!r}")
    return int(found)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    lines = body[: body.rfind(b"\n") + 1].splitlines()
    return [_row(path, number, line) for number, line in enumerate(lines, start=1)]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    told = f"take line {number} of {path} away, it is not what `{_COMMAND}` writes"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadValueError(f"{told}: {error}") from error
    if not isinstance(row, dict) or set(row) != set(CURVE_COLUMNS):
        raise BadValueError(f"{told}: expected the columns {', '.join(CURVE_COLUMNS)}")
    try:
        return _checked(row)
    except (BadValueError, BadTypeError) as error:
        raise BadValueError(f"{told}: {error}") from error
