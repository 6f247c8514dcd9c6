"""Several columns of a table side by side, and short names that tell them apart."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.specs import parse_spec
from holdfast.metrics.intervals import FloatArray
from holdfast.search.tables.naming import family, split_qualifiers
from holdfast.search.tables.table import BenchmarkTable, Column

_STRENGTHS = ("eps", "severity", "sigma", "device", "runtime")
_QUALIFIERS = ("dataset", "training", "split", "epochs")
_LEVELS = 255
_MANY = 60  # columns; a heat map of more says little


@dataclass(frozen=True, eq=False)
class Scores:
    """Values of architectures in several columns.

    Attributes:
        archs: Architectures with a value of their own in a column or more, in the order of the
            table.
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
    """Values of `columns`, an architecture a row, each as `BenchmarkTable.lookup` finds it.

    Where one column has the members of a class and another the class alone, each member has its
    own value in the one and that of the class in the other.

    Raises:
        BadValueError: No column.
    """
    if not columns:
        raise BadValueError("expected one column or more, got none")
    known = [table.values(column) for column in columns]
    archs = tuple(dict.fromkeys(itertools.chain.from_iterable(known)))
    # None becomes NaN.
    values = [table.lookups(column, archs) for column in columns]
    return Scores(archs, tuple(columns), np.array(values, dtype=np.float64).T)


def classes(table: BenchmarkTable) -> list[str]:
    """Recorded architectures, one a class of equal ones, in the order of the table."""
    archs = table.frame["arch"].unique(maintain_order=True).cast(pl.String)
    return list(dict.fromkeys(map(table.space.canonical, archs)))


def named_columns(
    table: BenchmarkTable,
    texts: Sequence[str],
    given: Mapping[str, object],
    *,
    main: bool = False,
) -> list[Column]:
    """Columns of texts such as `attacks` or `clean[split=test]`; all of them where there is none.

    Args:
        table: Whose columns.
        texts: Conditions of `BenchmarkTable.matching`, with what tells them apart in brackets.
        given: Keys that columns must have where a text does not say.
        main: Whether, where no text is given and there are more than 60 columns, those are left
            out that are neither accuracies nor costs: a recall a class, confidences.

    Raises:
        UnknownNameError: A text that no column matches.
        BadValueError: A key given that no column has.
    """
    for key, value in given.items():
        known = {getattr(column, key) for column in table.columns} - {"none", None}
        if value not in known:
            told = ", ".join(sorted(map(str, known))) or "none"
            raise BadValueError(
                f"{table.card.name} has no column with {key}={value}; known: {told}"
            )
    if texts:
        split = [split_qualifiers(text) for text in texts]
        found = [table.matching(condition, **{**given, **said}) for condition, said in split]
        return list(dict.fromkeys(column for several in found for column in several))
    kept = [
        column
        for column in table.columns
        if all(getattr(column, key) in (value, "none", None) for key, value in given.items())
    ]
    return _main(kept) if main and len(kept) > _MANY else kept


def _main(columns: list[Column]) -> list[Column]:
    """Accuracies and costs, where there are some."""
    kept = [
        column
        for column in columns
        if column.metric == "accuracy" or family(column.condition) == "cost"
    ]
    return kept or columns


def mean_of(table: BenchmarkTable, columns: Sequence[Column]) -> dict[str, float]:
    """Mean over `columns` of each architecture that has them all.

    Raises:
        BadValueError: No column.
    """
    return _means(scores(table, columns), range(len(columns)))


def _means(found: Scores, places: Sequence[int]) -> dict[str, float]:
    means = found.values[:, places].mean(axis=1)
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
    groups: dict[object, list[int]] = {}
    for place, column in enumerate(columns):
        spec = parse_spec(column.condition)
        severe = "severity" in dict(spec.arguments)
        key = replace(column, condition=spec.name) if severe else place
        groups.setdefault(key, []).append(place)
    firsts = [
        key if isinstance(key, Column) and len(places) > 1 else columns[places[0]]
        for key, places in groups.items()
    ]
    found = scores(table, columns)
    means = [_means(found, places) for places in groups.values()]
    return dict(zip(labels(firsts), means, strict=True))


def labels(columns: Sequence[Column]) -> list[str]:
    """Names such as `pgd 8/255, adversarial`: what all of `columns` share is left out."""
    told = _Peers(columns)
    short = [", ".join([told.condition(one), *told.differs(one)]) for one in columns]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else str(column)
        for name, column in zip(short, columns, strict=True)
    ]


def shared(columns: Sequence[Column]) -> str:
    """What `labels` leaves out, such as `dataset=cifar10, split=test`."""
    said = {key: _known(columns, key) for key in _QUALIFIERS}
    return ", ".join(
        f"{key}={next(iter(values))}" for key, values in said.items() if len(values) == 1
    )


def _known(columns: Sequence[Column], key: str) -> set[object]:
    return {getattr(one, key) for one in columns} - {"none", None}


class _Peers:
    """What a column's name need not say, since all others say the same; worked out once."""

    def __init__(self, columns: Sequence[Column]) -> None:
        conditions = {one.condition for one in columns}
        self._specs = {text: parse_spec(text) for text in conditions}
        self._same: dict[str, list[dict[str, object]]] = defaultdict(list)
        for spec in self._specs.values():
            self._same[spec.name].append(dict(spec.arguments))
        self._known = {key: _known(columns, key) for key in _QUALIFIERS}
        self._metrics: dict[str, set[str]] = defaultdict(set)
        for one in columns:
            self._metrics[one.condition].add(one.metric)

    def condition(self, column: Column) -> str:
        """Name of the condition, with its strength and what differs."""
        spec = self._specs[column.condition]
        words = [spec.name]
        for key, value in spec.arguments:
            if key in _STRENGTHS:
                words.append(_strength(key, value))
            elif len({other.get(key) for other in self._same[spec.name]}) > 1:
                words.append(f"{key} {value}")
        return " ".join(words)

    def differs(self, column: Column) -> list[str]:
        """Qualifiers and metric, where there are others."""
        found = []
        for key, known in self._known.items():
            own = getattr(column, key)
            if own in known and len(known) > 1:
                found.append(f"{own} epochs" if key == "epochs" else str(own))
        return [*found, column.metric] if len(self._metrics[column.condition]) > 1 else found


def _strength(key: str, value: object) -> str:
    if key == "eps" and isinstance(value, Fraction):
        return f"{float(value) * _LEVELS:.3g}/{_LEVELS}"
    return str(value)  # as it was written: 0.1 is no number of 255ths
