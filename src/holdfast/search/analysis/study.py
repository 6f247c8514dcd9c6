"""A look at a table: all that its page shows."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.specs import parse_spec
from holdfast.core.version import VERSION
from holdfast.records.searches import ColumnSummary, Correlations, Spread, TableInfo, TableStudy
from holdfast.search.analysis.best import best, inner, neighbourhood, operator_counts, top
from holdfast.search.analysis.columns import classes, condensed, labels
from holdfast.search.analysis.correlations import correlate, rank_transfer
from holdfast.search.analysis.spread import spread_by_column, spread_by_operations
from holdfast.search.tables.naming import ATTACKS, CORRUPTIONS, family, strength
from holdfast.search.tables.table import BenchmarkTable, Column

_WEIGHED = "conv"  # part of the names of operations that have parameters
_SIZE = "params"  # metric of the column by which architectures are alike


@dataclass(frozen=True)
class Questions:
    """What is asked of a table.

    Attributes:
        describe: Columns to be summed up.
        correlate: Columns to be compared, two or more; none where empty. Where they are of
            several data sets, each of `best` (the first of these, where that is empty) is
            compared between them.
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
        BadValueError: Fewer than one architecture is asked for, or neighbours without a column.
    """
    if asked.neighbours and not asked.around:
        raise BadValueError(
            "neighbours are shown with their values: name a column for them in `around`"
        )
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
        correlations=(*_correlations(table, asked.correlate), *_transfers(table, asked)),
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
        spreads=tuple(_spreads(table, asked.best)),
        flags=tuple(_flags(table)),
        command=command,
        version=VERSION,
    )


def _flags(table: BenchmarkTable) -> list[str]:
    flags = []
    if not table.card.verified:
        flags.append("the reader of this format has not met a published file yet")
    if all(column.split in ("test", "none") for column in table.columns):
        flags.append("all accuracies are of the test split: what is selected by them is flattered")
    if table.no_data:
        flags.append(f"{table.no_data:,} rows of the table have no number, and are left out")
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


def _transfers(table: BenchmarkTable, asked: Questions) -> Iterator[Correlations]:
    """How far the order of architectures holds from one data set to another."""
    if len({column.dataset for column in asked.correlate} - {"none"}) < 2:
        return
    for column in asked.best or asked.correlate[:1]:
        given = {key: getattr(column, key) for key in ("training", "split", "metric")}
        for same in (given, {**given, "epochs": column.epochs}):
            found = [
                one
                for one in table.columns
                if one.condition == column.condition
                and all(getattr(one, key) == value for key, value in same.items())
            ]
            counts = Counter(one.dataset for one in found)
            if set(counts.values()) == {1}:  # otherwise epochs tell them apart, or nothing does
                if len(counts) > 1 and set(found) != set(asked.correlate):
                    yield rank_transfer(table, column.condition, **same)
                break


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


def _spreads(table: BenchmarkTable, columns: Sequence[Column]) -> Iterator[Spread]:
    """Each column, and the mean over attacks, by what makes architectures alike."""
    for same in itertools.chain([[column] for column in columns], _attacks(table, columns)):
        found: list[Spread] = []
        for spread in _alike(table, same[0]):
            with contextlib.suppress(BadValueError):  # no two are alike in that respect
                found.append(spread(same))
            if found and len(found[-1].groups) > 1:  # not all are
                break
        yield from found[-1:]


def _alike(table: BenchmarkTable, column: Column) -> Iterator[Callable[[Sequence[Column]], Spread]]:
    """By size where that is recorded, by operations with parameters, by all operations."""
    sizes = [one for one in table.columns if one.metric == _SIZE]
    sizes = [one for one in sizes if one.dataset in (column.dataset, "none")] or sizes
    if sizes:
        yield partial(spread_by_column, table, alike=sizes[0])
    names = inner(table.space.vocabulary)
    for some in ([name for name in names if _WEIGHED in name], names):
        if some:
            yield partial(spread_by_operations, table, names=some)


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
