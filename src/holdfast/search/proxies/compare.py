"""How well what an untrained network tells agrees with recorded scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from holdfast.metrics.intervals import Estimate
from holdfast.metrics.rank import kendall, spearman
from holdfast.search.tables.table import BenchmarkTable, Column


@dataclass(frozen=True)
class Agreement:
    """A proxy against a column; positive where both rank alike.

    A proxy of which less is better, and a column of which less is better, are turned first.
    """

    proxy: str
    column: str
    spearman: Estimate
    kendall: Estimate


def compare(
    rows: pl.DataFrame, table: BenchmarkTable, columns: Sequence[Column]
) -> Iterator[Agreement]:
    """Rank correlations of every proxy with every column, over architectures that have both.

    Args:
        rows: Of `run.SCHEMA`.
        table: Recorded scores.
        columns: Of the table.
    """
    for column in columns:
        turned = 1 if column.better == "higher" else -1
        for (name,), part in rows.group_by("proxy", maintain_order=True):
            archs, values, signs = (part[key].to_list() for key in ("arch", "value", "sign"))
            x = [
                math.nan if value is None else sign * value
                for value, sign in zip(values, signs, strict=True)
            ]
            y = [
                math.nan if value is None else turned * value
                for value in table.lookups(column, archs)
            ]
            yield Agreement(str(name), str(column), spearman(x, y), kendall(x, y))
