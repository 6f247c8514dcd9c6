"""How far the columns of a table agree on the order of architectures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.metrics.rank import rank_matrix
from holdfast.records.searches import Correlations
from holdfast.search.analysis.columns import labels, scores
from holdfast.search.tables.table import BenchmarkTable, Column


def correlations(
    table: BenchmarkTable, columns: Sequence[Column], *, title: str = ""
) -> Correlations:
    """Kendall's tau-b and Spearman's rho between each two of `columns`, by their values.

    Each pair rests on the architectures that have both. Values are taken as they stand in the
    table, so a latency that falls with accuracy correlates negatively.

    Raises:
        BadValueError: Fewer than two columns.
    """
    _check(len(columns))
    return _matrix(labels(columns), scores(table, columns).values, title)


def correlate(named: Mapping[str, Mapping[str, float]], *, title: str = "") -> Correlations:
    """As `correlations`, of named quantities by architecture, such as those of `condensed`.

    Raises:
        BadValueError: Fewer than two quantities.
    """
    _check(len(named))
    archs = dict.fromkeys(arch for one in named.values() for arch in one)
    values = np.array([[one.get(arch, math.nan) for one in named.values()] for arch in archs])
    return _matrix(list(named), values.reshape(len(archs), len(named)), title)


def _check(count: int) -> None:
    if count < 2:
        raise BadValueError(f"a correlation is of two columns or more, got {count}")


def _matrix(names: Sequence[str], values: np.ndarray, title: str) -> Correlations:
    kendall = rank_matrix(values, "kendall")
    spearman = rank_matrix(values, "spearman")
    return Correlations(
        title=title,
        columns=tuple(names),
        kendall=_rows(kendall.values),
        spearman=_rows(spearman.values),
        low=_rows(kendall.low),
        high=_rows(kendall.high),
        counts=tuple(tuple(map(int, row)) for row in kendall.counts),
    )


def rank_transfer(table: BenchmarkTable, condition: str, **given: object) -> Correlations:
    """Correlate one condition between the datasets of a table.

    Args:
        table: With several datasets.
        condition: As people name it, such as `pgd(eps=8/255)`.
        given: Keys that tell its columns apart, such as `training="adversarial"`.

    Raises:
        UnknownNameError: No column matches.
        BadValueError: One dataset, or several columns of one dataset.
    """
    found = table.matching(condition, **given)
    datasets = [column.dataset for column in found]
    for dataset in datasets:
        if datasets.count(dataset) > 1:
            raise BadValueError(
                f"{condition!r} names {datasets.count(dataset)} columns of {dataset}; say which: "
                + "; ".join(str(column) for column in found if column.dataset == dataset)
            )
    if len(found) < 2:
        raise BadValueError(
            f"{condition!r} of {table.card.name} is recorded on {', '.join(datasets)} alone; "
            "a comparison of datasets needs two"
        )
    return correlations(table, found, title=f"{condition} across datasets")


def _rows(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in matrix)
