"""Train one cell of the table again, alone, and compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError, MissingError
from holdfast.search.making.cells import representative, representatives
from holdfast.search.making.measure import Laboratory, Setting
from holdfast.search.tables.schema import SCHEMA

_KEYS = ("split", "training", "epochs", "condition", "metric", "seed")


@dataclass(frozen=True)
class Difference:
    """What a check found.

    Attributes:
        arch: The cell that was trained.
        rows: Rows that were compared.
        largest: Difference of two values.
        listed: A line for each row that differs by more than allowed.
    """

    arch: str
    rows: int
    largest: float
    listed: tuple[str, ...]


def differences(
    out: Path, arch: str, *, seed: int, tolerance: float, setting: Setting | None = None
) -> Difference:
    """Train the representative of `arch` and compare each number with the stored one.

    Raises:
        MissingError: No such table.
        BadValueError: No architecture of the space, or one without rows of this seed.
    """
    if not out.is_file():
        raise MissingError(f"there is no table {out}; make it, or name another with --out")
    arch = representative(arch)
    stored = pl.read_parquet(out).filter(
        pl.col("arch").cast(pl.String) == arch, pl.col("seed") == seed
    )
    if stored.is_empty():
        raise BadValueError(f"{out} has no rows of {arch} with seed {seed}; try another --seeds")
    laboratory = Laboratory(setting or Setting())
    rows = list(laboratory.rows({arch: representatives()[arch]}, seed=seed))
    texts = [pl.col(name).cast(pl.String) for name in _KEYS]
    fresh = pl.DataFrame(rows).select(*texts, new=pl.col("value").cast(SCHEMA["value"]))
    both = fresh.join(stored.select(*texts, old=pl.col("value")), on=_KEYS, how="full")
    off = (pl.col("new") - pl.col("old")).abs()
    both = both.with_columns(off=off.fill_null(1.0))  # a row that only one of them has
    wrong = both.filter(pl.col("off") > tolerance).sort("training", "split", "condition")
    listed = tuple(
        f"{row['training']} {row['split']} {row['condition']}: stored {row['old']}, "
        f"now {row['new']}"
        for row in wrong.iter_rows(named=True)
    )
    return Difference(arch, len(both), float(both["off"].max() or 0.0), listed)  # type: ignore[arg-type]
