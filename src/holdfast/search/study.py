"""A look at a table: what is in it, how its columns agree, and what the best are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.version import VERSION
from holdfast.records.searches import ColumnSummary, Spread, TableInfo, TableStudy
from holdfast.search.analysis import (
    best,
    correlations,
    neighbourhood,
    operator_counts,
    spread_by_operations,
)
from holdfast.search.tables.naming import family, split_qualifiers
from holdfast.search.tables.table import BenchmarkTable, Column

_MOST = 40  # columns of a correlation that a person can read
_SEVERAL = 3  # columns for which the best are shown
_HANDFUL = 6  # other columns beside them
_TOP = 100  # architectures whose operators are counted
_FREE = {"none", "skip_connect", "avg_pool_3x3", "max_pool_3x3", "maxpool3x3", "input", "output"}


@dataclass(frozen=True)
class Look:
    """What to look at.

    Attributes:
        describe: Whether each column is summed up.
        correlate: Whether the columns are compared by rank.
        best: How many architectures to show for each of `columns`; 0 for none.
        columns: Conditions of `BenchmarkTable.matching`, with what tells them in brackets; all
            where none is named.
        given: Keys of columns where a text does not say.
        neighbours: Architectures whose neighbours are shown, for the first column.
    """

    describe: bool = True
    correlate: bool = False
    best: int = 0
    columns: Sequence[str] = ()
    given: Mapping[str, object] = field(default_factory=dict)
    neighbours: Sequence[str] = ()


def look_at(table: BenchmarkTable, look: Look, *, command: str = "") -> TableStudy:
    """Look at a table.

    Raises:
        UnknownNameError: A condition that no column has.
        BadValueError: Too few or too many columns for what is asked.
    """
    columns = named_columns(table, look.columns, look.given)
    card = table.card
    return TableStudy(
        table=TableInfo(
            name=card.name, title=card.title, source=card.source, space=table.space.spec
        ),
        architectures=table.frame["arch"].n_unique(),
        described=tuple(_summary(table, one) for one in columns) if look.describe else (),
        correlations=(correlations(table, _readable(columns)),) if look.correlate else (),
        best=tuple(
            best(table, one, count=look.best, others=_few(columns, one))
            for one in _accuracies(columns)
        )
        if look.best
        else (),
        operators=tuple(
            operator_counts(table, one, count=min(_TOP, len(table.values(one))))
            for one in _accuracies(columns)
        )
        if look.best
        else (),
        spreads=_spreads(table, columns) if look.best else (),
        neighbourhoods=tuple(neighbourhood(table, columns[0], arch) for arch in look.neighbours),
        flags=tuple(_flags(table, columns)),
        command=command,
        version=VERSION,
    )


def named_columns(
    table: BenchmarkTable, texts: Sequence[str], given: Mapping[str, object]
) -> list[Column]:
    """Columns of texts such as `attacks` or `clean[split=test]`; all of them where there is none.

    Raises:
        UnknownNameError: A text that no column matches.
    """
    if not texts:
        kept = [
            column
            for column in table.columns
            if all(getattr(column, key) in (value, "none", None) for key, value in given.items())
        ]
        if not kept:
            asked = ", ".join(f"{key}={value}" for key, value in given.items())
            raise BadValueError(f"{table.card.name} has no column with {asked}")
        return kept
    found: list[Column] = []
    for text in texts:
        condition, said = split_qualifiers(text)
        found += table.matching(condition, **{**given, **said})
    return list(dict.fromkeys(found))


def _summary(table: BenchmarkTable, column: Column) -> ColumnSummary:
    values = np.array(list(table.values(column).values()))
    known = len(values) > 0
    return ColumnSummary(
        column=str(column),
        count=len(values),
        lowest=float(values.min()) if known else math.nan,
        median=float(np.median(values)) if known else math.nan,
        mean=float(values.mean()) if known else math.nan,
        highest=float(values.max()) if known else math.nan,
        metric=column.metric,
    )


def _readable(columns: list[Column]) -> list[Column]:
    if len(columns) < 2:
        raise BadValueError(
            "a correlation needs two columns or more; name them with --column, such as attacks"
        )
    if len(columns) > _MOST:
        raise BadValueError(
            f"{len(columns)} columns are too many for one heat map (at most {_MOST}); name some "
            "with --column, such as clean, attacks or 'fog[training=plain]', or narrow them "
            "with --dataset, --training and --epochs"
        )
    return columns


def _accuracies(columns: list[Column]) -> list[Column]:
    """What architectures can be the best in, a few columns."""
    kept = [one for one in columns if one.metric == "accuracy"] or columns
    return kept[:_SEVERAL]


def _few(columns: list[Column], one: Column) -> list[Column]:
    return [other for other in columns if other != one][:_HANDFUL]


def _spreads(table: BenchmarkTable, columns: list[Column]) -> tuple[Spread, ...]:
    """Accuracy under attack, or whatever there is, of cells with the same weighted operations."""
    names = [name for name in table.space.vocabulary if name not in _FREE]
    accuracies = [one for one in columns if one.metric == "accuracy"]
    attacked = [one for one in accuracies if family(one.condition) == "attack"] or accuracies[:1]
    if not names or not attacked or len({(c.dataset, c.training) for c in attacked}) > 1:
        return ()
    return (spread_by_operations(table, attacked, names),)


def _flags(table: BenchmarkTable, columns: list[Column]) -> list[str]:
    flags = []
    if not table.card.verified:
        flags.append("the reader of this format was not yet checked against a published file")
    if not any(column.split == "validation" for column in columns):
        flags.append("all accuracies are of the test split: select nothing by them")
    return flags
