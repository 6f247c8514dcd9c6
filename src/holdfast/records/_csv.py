"""CSV files that others wrote, read as text first, so that errors can name the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError, MissingError, StoreError

_SHOWN = 8  # names in a message


def read_texts(path: str | Path, kind: str, needed: Sequence[str]) -> pl.DataFrame:
    """Read a CSV file whose cells are all texts, stripped; empty ones are null.

    Args:
        path: The file, with a header.
        kind: What it should be, for messages: `a table of timm's results`.
        needed: Columns that it must have.

    Raises:
        MissingError: No such file.
        BadValueError: No CSV, without rows, or without a needed column.
        StoreError: The file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise MissingError(f"no file {path}; expected {kind} as CSV")
    try:
        frame = pl.read_csv(path, infer_schema_length=0, encoding="utf8-lossy", glob=False)
    except pl.exceptions.NoDataError as error:
        raise BadValueError(f"{path} is empty; expected {kind}") from error
    except pl.exceptions.PolarsError as error:
        raise BadValueError(f"{path} is no CSV file that we can read: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    frame = frame.rename({name: name.strip().removeprefix("\ufeff") for name in frame.columns})
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        there = ", ".join(frame.columns[:_SHOWN]) + (", ..." if frame.width > _SHOWN else "")
        raise BadValueError(
            f"{path} is not {kind}: it lacks the columns {', '.join(absent)}; it has {there}"
        )
    if frame.height == 0:
        raise BadValueError(f"{path} has a header and no rows; expected {kind}")
    return frame.with_columns(pl.all().str.strip_chars().replace("", None))


def numbers_of(frame: pl.DataFrame, column: str, path: str | Path) -> pl.Series:
    """A column of texts as numbers; commas between thousands are dropped, empty is null.

    Raises:
        BadValueError: A text that is no finite number; the message names its row.
    """
    texts = frame[column]
    values = texts.str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
    odd = (texts.is_not_null() & ~values.is_finite().fill_null(value=False)).arg_true()
    if len(odd):
        row = int(odd[0])
        raise BadValueError(f"{path}, row {row + 2}: {column} must be a number, got {texts[row]!r}")
    return values
