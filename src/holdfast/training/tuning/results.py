"""What tuning leaves behind, beside its journal and the runs themselves.

`tuning.json` says what was asked, so that a folder goes on with the same question only;
`trials.parquet` has a row a trial, and `best.yaml` is the best recipe with every default.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import polars as pl

from holdfast.core.errors import BadValueError, ChangedInputError, MissingError, StoreError
from holdfast.core.nested import dotted
from holdfast.records import write_whole
from holdfast.training.reading import recipe_of, write_recipe
from holdfast.training.recipe import Recipe
from holdfast.training.tuning.journal import Journal, Trial, best_of
from holdfast.training.tuning.settings import TuningOptions
from holdfast.training.tuning.space import Dimension, Space, space_of

TUNING_FILE = "tuning.json"
TRIALS_FILE = "trials.parquet"
BEST_FILE = "best.yaml"
# Before one column a field of the space, of its name.
TRIAL_COLUMNS: dict[str, Any] = {
    "number": pl.Int64,
    "status": pl.String,  # complete, pruned, failed, unfinished
    "score": pl.Float64,  # best of the trial's rows; null before the first
    "epochs": pl.Int64,
    "seconds": pl.Float64,
    "error": pl.String,
}


@dataclass(frozen=True)
class TuningResult:
    """What is known so far.

    Attributes:
        best: Recipe of the best trial, with all its values; None where none has a score. Of the
            trials that ran to their end, as long as there is one.
        number: Of that trial, whose run is `trials/NUMBER`.
        score: Of that trial: its best measurement; see `TuningOptions.metric`.
        trials: `TRIAL_COLUMNS` and a column a field.
    """

    best: Recipe | None
    number: int | None
    score: float | None
    trials: pl.DataFrame


def summarize(
    trials: Sequence[Trial], recipe: Recipe, space: Space, options: TuningOptions
) -> TuningResult:
    """Trials as a frame, and the best recipe."""
    best = best_of(trials, maximize=options.maximize)
    frame = _frame(trials, space)
    if best is None:
        return TuningResult(None, None, None, frame)
    values = {one.field: one.value(best.values[one.field]) for one in space.dimensions}
    return TuningResult(space.recipe(recipe, values), best.number, best.score, frame)


def write_result(folder: Path, result: TuningResult) -> None:
    """Write `trials.parquet` and `best.yaml`, each whole or not at all.

    Raises:
        StoreError: The folder cannot be written.
    """
    write_whole(folder / TRIALS_FILE, result.trials.write_parquet)
    if result.best is not None:
        text = write_recipe(result.best)
        write_whole(folder / BEST_FILE, lambda part: part.write_text(text, encoding="utf-8"))


def read_tuning(folder: str | Path) -> TuningResult:
    """What a folder knows, from its journal, also while it is being worked on.

    Raises:
        MissingError: The folder holds no tuning, or optuna is not installed.
        BadValueError: Its files say something else.
    """
    folder = Path(folder)
    asked = _read_asked(folder / TUNING_FILE)
    if asked is None:
        raise MissingError(f"no {TUNING_FILE} in {folder}: `holdfast train tune --out` writes it")
    recipe, space = recipe_of(asked["recipe"]), space_of(asked["space"])
    options = TuningOptions(trials=1, **asked["options"])
    journal = Journal(folder, options, space, recipe.seed)
    return summarize(journal.trials(), recipe, space, options)


def keep_asked(folder: Path, recipe: Recipe, space: Space, options: TuningOptions) -> None:
    """Write down what is asked, or check that the folder was asked the same.

    Raises:
        ChangedInputError: It was asked something else; names the fields.
        StoreError: The folder cannot be written.
    """
    body = {"recipe": recipe.body(), "space": space.body(), "options": options.body()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".claim.lock"):
            before = _read_asked(folder / TUNING_FILE)
            if before is None:
                text = json.dumps(body, indent=1) + "\n"
                write_whole(
                    folder / TUNING_FILE, lambda part: part.write_text(text, encoding="utf-8")
                )
                return
    except OSError as error:
        raise StoreError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --out"
        ) from error
    changed = _changed(before, json.loads(json.dumps(body)))
    if changed:
        raise ChangedInputError(
            f"{folder} holds trials of another question: {'; '.join(changed)}. Ask the same one "
            "to go on, or choose another --out"
        )


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Fields in which two questions differ, each as `recipe.train.epochs: 5 -> 10`."""
    old, new = dotted(before), dotted(after)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}" for key in keys]


def _read_asked(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(body[name]) for name in ("recipe", "space", "options")}
    except (ValueError, TypeError, KeyError) as error:
        raise BadValueError(
            f"{path} is not what `holdfast train tune` writes: {error}; choose another --out"
        ) from error


def _frame(trials: Sequence[Trial], space: Space) -> pl.DataFrame:
    columns = {name: [getattr(one, name) for one in trials] for name in TRIAL_COLUMNS}
    schema = dict(TRIAL_COLUMNS)
    for one in space.dimensions:
        columns[one.field] = [_shown(one, trial.values[one.field]) for trial in trials]
        kinds = {"choice": pl.String, "int": pl.Int64}
        schema[one.field] = kinds.get(one.kind, pl.Float64)
    return pl.DataFrame(columns, schema=schema).with_columns(pl.col("score").fill_nan(None))


def _shown(one: Dimension, drawn: Any) -> Any:
    value = one.value(drawn)
    return drawn if one.kind == "choice" and not isinstance(value, str) else value
