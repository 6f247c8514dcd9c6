"""Several columns of a table side by side, and short names that tell them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.specs import parse_spec
from holdfast.metrics.intervals import FloatArray
from holdfast.search.tables.naming import split_qualifiers
from holdfast.search.tables.table import BenchmarkTable, Column

_STRENGTHS = ("eps", "severity", "sigma", "device", "runtime")
_QUALIFIERS = ("dataset", "training", "split", "epochs")
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Scores:
    """Values of architectures in several columns.

    Attributes:
        archs: Architectures with a value in a column or more, in the order of the table.
        columns: Which columns.
        values: As they stand in the table, float64 [A, C]; NaN is no data.
    """

    archs: tuple[str, ...]
    columns: tuple[Column, ...]
    values: FloatArray

    @property
    def better(self) -> FloatArray:
        """Values turned so that larger is better, [A, C]."""
        return self.values * [1 if one.better == "higher" else -1 for one in self.columns]


def scores(table: BenchmarkTable, columns: Sequence[Column]) -> Scores:
    """Values of `columns`, an architecture a row.

    Raises:
        BadValueError: No column.
    """
    if not columns:
        raise BadValueError("expected one column or more, got none")
    found = [table.values(column) for column in columns]
    archs = tuple(dict.fromkeys(arch for one in found for arch in one))
    values = np.array([[one.get(arch, math.nan) for one in found] for arch in archs])
    return Scores(archs, tuple(columns), values.reshape(len(archs), len(columns)))


def classes(table: BenchmarkTable) -> list[str]:
    """Recorded architectures, one a class of equal ones, in the order of the table."""
    archs = table.frame["arch"].unique(maintain_order=True).cast(pl.String)
    return list(dict.fromkeys(map(table.space.canonical, archs)))


def named_columns(
    table: BenchmarkTable, texts: Sequence[str], given: Mapping[str, object]
) -> list[Column]:
    """Columns of texts such as `attacks` or `clean[split=test]`; all of them where there is none.

    Args:
        table: Whose columns.
        texts: Conditions of `BenchmarkTable.matching`, with what tells them apart in brackets.
        given: Keys that columns must have where a text does not say.

    Raises:
        UnknownNameError: A text that no column matches.
        BadValueError: No text, and no column with the keys given.
    """
    if texts:
        split = [split_qualifiers(text) for text in texts]
        found = [table.matching(condition, **{**given, **said}) for condition, said in split]
        return list(dict.fromkeys(column for several in found for column in several))
    kept = [
        column
        for column in table.columns
        if all(getattr(column, key) in (value, "none", None) for key, value in given.items())
    ]
    if not kept:
        asked = ", ".join(f"{key}={value}" for key, value in given.items())
        raise BadValueError(f"{table.card.name} has no column with {asked}")
    return kept


def mean_of(table: BenchmarkTable, columns: Sequence[Column]) -> dict[str, float]:
    """Mean over `columns` of each architecture that has them all.

    Raises:
        BadValueError: No column.
    """
    found = scores(table, columns)
    means = found.values.mean(axis=1)
    return {
        arch: float(mean)
        for arch, mean in zip(found.archs, means, strict=True)
        if not math.isnan(mean)
    }


def condensed(table: BenchmarkTable, columns: Sequence[Column]) -> dict[str, dict[str, float]]:
    """Values by name: each corruption as the mean over its severities, the rest as they are.

    Heat maps of conditions go by these (Jung, Lukasik and Keuper 2023).

    Raises:
        BadValueError: No column.
    """
    if not columns:
        raise BadValueError("expected one column or more, got none")
    groups: dict[object, list[Column]] = {}
    for place, column in enumerate(columns):
        severe = "severity" in dict(parse_spec(column.condition).arguments)
        key = replace(column, condition=parse_spec(column.condition).name) if severe else place
        groups.setdefault(key, []).append(column)
    firsts = [
        replace(same[0], condition=parse_spec(same[0].condition).name) if len(same) > 1 else same[0]
        for same in groups.values()
    ]
    found = [mean_of(table, same) for same in groups.values()]
    return dict(zip(labels(firsts), found, strict=True))


def labels(columns: Sequence[Column]) -> list[str]:
    """Names such as `pgd 8/255, adversarial`: what all of `columns` share is left out."""
    short = [", ".join([_condition(one, columns), *_differs(one, columns)]) for one in columns]
    return [
        name if short.count(name) == 1 else str(column)
        for name, column in zip(short, columns, strict=True)
    ]


def shared(columns: Sequence[Column]) -> str:
    """What `labels` leaves out, such as `dataset=cifar10, split=test`."""
    said = {key: {getattr(one, key) for one in columns} - {"none", None} for key in _QUALIFIERS}
    return ", ".join(
        f"{key}={next(iter(values))}" for key, values in said.items() if len(values) == 1
    )


def _condition(column: Column, columns: Sequence[Column]) -> str:
    spec = parse_spec(column.condition)
    others = [parse_spec(one.condition) for one in columns]
    words = [spec.name]
    for key, value in spec.arguments:
        peers = {dict(other.arguments).get(key) for other in others if other.name == spec.name}
        if key in _STRENGTHS:
            words.append(_strength(key, value))
        elif len(peers) > 1:
            words.append(f"{key} {value}")
    return " ".join(words)


def _strength(key: str, value: object) -> str:
    if key == "eps" and isinstance(value, Fraction):
        return f"{float(value) * _LEVELS:.3g}/{_LEVELS}"
    return str(value)  # as it was written: 0.1 is no number of 255ths


def _differs(column: Column, columns: Sequence[Column]) -> list[str]:
    found = []
    for key in _QUALIFIERS:
        own = getattr(column, key)
        known = {getattr(one, key) for one in columns} - {None, "none"}
        if own in known and len(known) > 1:
            found.append(f"{own} epochs" if key == "epochs" else str(own))
    metrics = {one.metric for one in columns if one.condition == column.condition}
    return [*found, column.metric] if len(metrics) > 1 else found
