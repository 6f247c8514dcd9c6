"""Columns of a benchmark table: one row a number, whatever the published format was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError

SCHEMA: dict[str, Any] = {
    "space": pl.Categorical,  # canonical spec of the search space
    "arch": pl.Categorical,  # published string
    "dataset": pl.Categorical,
    "split": pl.Categorical,  # train, validation, test; none where no images are involved
    "training": pl.Categorical,  # plain, adversarial; none where no training is involved
    "epochs": pl.Int32,
    "condition": pl.Categorical,  # canonical spec: clean, fog(severity=3), latency(device=pi5)
    "metric": pl.Categorical,  # accuracy (fraction), confidence, error, milliseconds, ...
    "seed": pl.Int32,  # null where the value is a mean over seeds
    "value": pl.Float32,
}
_ROUNDING = 1e-6
_TEXTS = ("space", "arch", "dataset", "condition", "metric")
SPLITS = ("train", "validation", "test", "none")
TRAININGS = ("plain", "adversarial", "none")
# Of these less is better; of everything else more is.
SMALLER_IS_BETTER = frozenset(
    {
        "error",
        "loss",
        "perplexity",
        "milliseconds",
        "millijoules",
        "params",
        "multiply_adds",
        "seconds",
        "bytes",
    }
)


def frame_of(rows: Iterable[dict[str, Any]] | pl.DataFrame) -> pl.DataFrame:
    """Rows as a table in the order and types of `SCHEMA`.

    Raises:
        BadValueError: A column is missing or one too many, a text is missing, a split or
            training is unknown, a value is infinite, an accuracy is no fraction, or two rows
            say the value of one thing.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows))
    if set(frame.columns) != set(SCHEMA):
        missing = sorted(set(SCHEMA) - set(frame.columns))
        extra = sorted(set(frame.columns) - set(SCHEMA))
        raise BadValueError(
            f"a benchmark table has the columns {', '.join(SCHEMA)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(extra) or 'none'}"
        )
    frame = frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    for column, known in (("split", SPLITS), ("training", TRAININGS)):
        wrong = set(frame[column].unique().cast(pl.String).to_list()) - set(known)
        if wrong:
            raise BadValueError(
                f"{column} must be one of {', '.join(known)}, got {', '.join(map(str, wrong))}"
            )
    for column in _TEXTS:
        if frame[column].null_count():
            raise BadValueError(f"{frame[column].null_count():,} rows have no {column}")
    _check_values(frame)
    return frame


def _check_values(frame: pl.DataFrame) -> None:
    value = pl.col("value")
    wild = frame.filter(value.is_infinite())
    if len(wild):
        raise BadValueError(f"{len(wild):,} values are infinite; the first: {_told(wild)}")
    fraction = pl.col("metric").cast(pl.String) == "accuracy"
    outside = frame.filter(
        fraction & value.is_not_nan() & ~value.is_between(-_ROUNDING, 1 + _ROUNDING)
    )
    if len(outside):
        raise BadValueError(
            f"accuracies are fractions of 0 to 1; {len(outside):,} are not (divide per cent by "
            f"100); the first: {_told(outside)}"
        )
    keys = frame.select(pl.exclude("value"))
    # By hash first, which needs a tenth of the memory; rows of one hash may differ still.
    twice = frame.filter(keys.hash_rows().is_duplicated())
    twice = twice.filter(pl.struct(pl.exclude("value")).is_duplicated())
    if len(twice):
        raise BadValueError(
            f"{len(twice):,} rows say the value of one thing more than once; the first: "
            f"{_told(twice)}"
        )


def _told(rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    return f"{row['condition']} of {row['arch']} is {row['value']:g}"
