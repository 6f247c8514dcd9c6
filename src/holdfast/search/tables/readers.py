"""What a reader of a published format is: it knows its files, and makes rows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.registry import Registry
from holdfast.search.tables.schema import SCHEMA, frame_of
from holdfast.search.tables.table import Card, Column


@dataclass(frozen=True)
class Reader:
    """One published format.

    Attributes:
        card: What the table is, and whether the reader has seen a real file.
        layout: What the file or folder must look like, in one line.
        knows: Whether a path looks like this format; it reads a few kilobytes at most and never
            raises for what lies there.
        read: The rows of `schema.SCHEMA`; raises BadValueError where the content is not the
            layout's, and MissingError where a file of it is absent.
        file: What the fetched file is called; empty where there is no public address.
        sha256: Of that file, in hex; empty where its publisher gives none.
        whole: Architectures of the whole release; 0 where nobody says.
    """

    card: Card
    layout: str
    knows: Callable[[Path], bool]
    read: Callable[[Path], pl.DataFrame]
    file: str = ""
    sha256: str = ""
    whole: int = 0


READERS: Registry[Reader] = Registry("table format")


def block(
    space: str,
    column: Column,
    archs: Sequence[str],
    values: Iterable[Any],
    *,
    seed: int | None = None,
) -> pl.DataFrame:
    """Rows of one column: a value an architecture; what is NaN or None becomes no data.

    Raises:
        BadValueError: Not as many values as architectures, something that is no number, or an
            accuracy outside of [0, 1].
    """
    numbers = numbers_of(values, f"{column}")
    if numbers.shape != (len(archs),):
        raise BadValueError(
            f"{column} has {numbers.shape[0]:,} values for {len(archs):,} architectures"
        )
    if column.metric in _FRACTIONS:
        _check_fractions(numbers, archs, column)
    shared = {"space": space, **{k: getattr(column, k) for k in _SHARED}, "seed": seed}
    frame = pl.DataFrame(
        {"arch": pl.Series(archs, dtype=pl.Categorical), "value": numbers.astype(np.float32)}
    )
    constants = [pl.lit(v).cast(SCHEMA[k]).alias(k) for k, v in shared.items()]
    return (
        frame.with_columns(constants).select([*SCHEMA]).with_columns(pl.col("value").fill_nan(None))
    )


_FRACTIONS = ("accuracy", "confidence")
_SHARED = ("dataset", "split", "training", "epochs", "condition", "metric")


def numbers_of(values: Iterable[Any], what: str) -> np.ndarray:
    """Values as float64; None is NaN.

    Raises:
        BadValueError: Something else than numbers, or lists of unequal length.
    """
    listed = list(values)  # not below: what goes wrong in an iterator is another error
    try:
        return np.array(listed, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadValueError(
            f"{what} has a value that is no number, or lists of unequal length"
        ) from None


def _check_fractions(numbers: np.ndarray, archs: Sequence[str], column: Column) -> None:
    wrong = np.flatnonzero((numbers < 0) | (numbers > 1))
    if wrong.size:
        raise BadValueError(
            f"{column} of {archs[wrong[0]]} is {numbers[wrong[0]]:g}; expected a fraction of "
            "0 to 1 (is the file in percent, or another one?)"
        )


def stacked(blocks: Sequence[pl.DataFrame], where: Path) -> pl.DataFrame:
    """One frame of several blocks.

    Raises:
        BadValueError: There is none, or no row has a number.
    """
    if not blocks:
        raise BadValueError(f"{where} has no scores in it")
    frame = frame_of(pl.concat(blocks))
    if frame["value"].null_count() == len(frame):
        raise BadValueError(f"none of the {len(frame):,} scores in {where} is a number")
    return frame
