"""A look at a table: all that its page shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import holdfast
from holdfast.core.specs import parse_spec
from holdfast.records.searches import ColumnSummary, Correlations, Spread, TableInfo, TableStudy
from holdfast.search.analysis.best import best, neighbourhood, operator_counts, top
from holdfast.search.analysis.columns import classes, condensed, labels
from holdfast.search.analysis.correlations import correlate
from holdfast.search.analysis.spread import spread_by_operations
from holdfast.search.tables.naming import ATTACKS, CORRUPTIONS, family, strength
from holdfast.search.tables.table import BenchmarkTable, Column

_WEIGHED = "conv"  # part of the names of operations that have parameters


@dataclass(frozen=True)
class Questions:
    """What is asked of a table.

    Attributes:
        describe: Columns to be summed up.
        correlate: Columns to be compared, two or more; none where empty.
        best: Columns whose best architectures are wanted.
        others: Columns in which those are shown, too.
        count: How many of the best.
        top: How many of the best are counted by operation.
        neighbours: Architectures whose neighbours are shown, in the first of `around`.
        around: Column of the neighbours; the best of each of `best` is shown in any case.
    """

    describe: Sequence[Column] = ()
    correlate: Sequence[Column] = ()
    best: Sequence[Column] = ()
    others: Sequence[Column] = ()
    count: int = 6
    top: int = 100
    neighbours: Sequence[str] = ()
    around: Sequence[Column] = ()


def study(table: BenchmarkTable, asked: Questions, *, command: str = "") -> TableStudy:
    """Answer questions about a table, ready for `write_table_study` and its page.

    Raises:
        BadValueError: Fewer than one architecture is asked for.
    """
    firsts = [top(table.values(column), column, 1)[0] for column in asked.best]
    return TableStudy(
        table=TableInfo(
            name=table.card.name,
            title=table.card.title,
            source=table.card.source,
            space=table.space.spec,
        ),
        architectures=len(classes(table)),
        described=describe(table, asked.describe),
        correlations=_correlations(table, asked.correlate),
        best=tuple(
            best(table, column, count=asked.count, others=asked.others) for column in asked.best
        ),
        neighbourhoods=(
            *(neighbourhood(table, asked.around[0], arch) for arch in asked.neighbours),
            *(
                neighbourhood(table, column, arch).model_copy(update={"column": name})
                for column, arch, name in zip(asked.best, firsts, labels(asked.best), strict=True)
            ),
        ),
        operators=tuple(
            operator_counts(table, column, count=asked.top).model_copy(update={"column": name})
            for column, name in zip(asked.best, labels(asked.best), strict=True)
        ),
        spreads=_spreads(table, asked.best),
        flags=tuple(_flags(table)),
        command=command,
        version=holdfast.__version__,
    )


def _flags(table: BenchmarkTable) -> list[str]:
    flags = []
    if not table.card.verified:
        flags.append("the reader of this format has not met a published file yet")
    if all(column.split in ("test", "none") for column in table.columns):
        flags.append("all accuracies are of the test split: what is selected by them is flattered")
    return flags


def describe(table: BenchmarkTable, columns: Sequence[Column]) -> tuple[ColumnSummary, ...]:
    """Each column in numbers."""
    found = []
    for column in columns:
        values = np.array(list(table.values(column).values()))
        known = len(values) > 0
        lowest, median, highest = np.quantile(values, [0, 0.5, 1]) if known else [np.nan] * 3
        found.append(
            ColumnSummary(
                column=str(column),
                count=len(values),
                lowest=float(lowest),
                median=float(median),
                mean=float(values.mean()) if known else np.nan,
                highest=float(highest),
                metric=column.metric,
            )
        )
    return tuple(found)


def _correlations(table: BenchmarkTable, columns: Sequence[Column]) -> tuple[Correlations, ...]:
    """One comparison, with the severities of each corruption averaged."""
    ordered = sorted(columns, key=_place)
    return (correlate(condensed(table, ordered)),) if len(columns) > 1 else ()


def _place(column: Column) -> tuple[object, ...]:
    """Where a column stands in a heat map: clean, attacks and corruptions by strength, costs."""
    name, kind = parse_spec(column.condition).name, family(column.condition)
    named = (*ATTACKS, *CORRUPTIONS)
    return (
        column.training,
        ("clean", "attack", "corruption", "cost").index(kind),
        named.index(name) if name in named else len(named),
        strength(column.condition),
    )


def _spreads(table: BenchmarkTable, columns: Sequence[Column]) -> tuple[Spread, ...]:
    """Each column by the counts of the operations that have parameters, where there are some."""
    names = [name for name in table.space.vocabulary if _WEIGHED in name]
    groups = itertools.chain([[column] for column in columns], _attacks(table, columns))
    return tuple(spread_by_operations(table, same, names) for same in groups) if names else ()


def _attacks(table: BenchmarkTable, columns: Sequence[Column]) -> list[list[Column]]:
    """All attacked columns that are like the first of `columns`, to be averaged."""
    if not columns:
        return []
    first = columns[0]
    keys = ("dataset", "training", "split", "epochs", "metric")
    same = [
        column
        for column in table.columns
        if family(column.condition) == "attack"
        and all(getattr(column, key) == getattr(first, key) for key in keys)
    ]
    return [same] if len(same) > 1 else []
