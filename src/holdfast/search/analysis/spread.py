"""How far architectures differ that are alike in size or in what they are made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from holdfast.core.errors import BadValueError
from holdfast.records.searches import Spread
from holdfast.search.analysis.best import operations
from holdfast.search.analysis.columns import classes, labels, mean_of
from holdfast.search.spaces import Space
from holdfast.search.tables.table import BenchmarkTable, Column

MOST_GROUPS = 40


def with_operations(table: BenchmarkTable, counts: Mapping[str, int]) -> list[str]:
    """Recorded classes of architectures with exactly these counts of operations, by their first.

    Operations that `counts` leaves out may occur in any number. In NAS-Bench-201 the counts of
    `nor_conv_3x3` and `nor_conv_1x1` decide the number of parameters.
    """
    return [arch for arch in classes(table) if _has(table.space, arch, counts)]


def _has(space: Space, arch: str, counts: Mapping[str, int]) -> bool:
    found = Counter(operations(space, arch))
    return all(found[name] == count for name, count in counts.items())


def spread_by_operations(
    table: BenchmarkTable, columns: Sequence[Column], names: Sequence[str], *, least: int = 2
) -> Spread:
    """Mean over `columns` of all architectures, grouped by how often they use `names`.

    Jung, Lukasik and Keuper 2023 look in this way at cells of NAS-Bench-201 with two 3x3
    convolutions and no 1x1 convolution, which all have the same number of parameters; their
    mean adversarial accuracy is that over all recorded attacks and radii.

    Of more than `MOST_GROUPS` groups the largest are kept.

    Args:
        table: Where the values are.
        columns: One, or several to average.
        names: Operations, such as those with parameters.
        least: Smallest size of a group that is kept.

    Raises:
        BadValueError: No column, or no group of that size.
    """
    groups: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for arch, value in mean_of(table, columns).items():
        found = Counter(operations(table.space, arch))
        groups[tuple(found[name] for name in names)].append(value)
    named = {
        ", ".join(f"{count} x {name}" for name, count in zip(names, key, strict=True)): values
        for key, values in sorted(groups.items())
    }
    return _spread(columns, named, least)


def spread_by_column(
    table: BenchmarkTable, columns: Sequence[Column], alike: Column, *, least: int = 2
) -> Spread:
    """As `spread_by_operations`, grouped by equal values of the column `alike`: `params`, say."""
    groups: dict[float, list[float]] = defaultdict(list)
    for arch, value in mean_of(table, columns).items():
        size = table.lookup(alike, arch)
        if size is not None:
            groups[size].append(value)
    named = {f"{_size(size)} {alike.metric}": groups[size] for size in sorted(groups)}
    return _spread(columns, named, least)


def _size(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"


def _spread(columns: Sequence[Column], named: Mapping[str, list[float]], least: int) -> Spread:
    kept = {name: sorted(values) for name, values in named.items() if len(values) >= least}
    if not kept:
        raise BadValueError(
            f"no {least} architectures are alike in that respect; the largest group has "
            f"{max(map(len, named.values()), default=0)}"
        )
    large = set(sorted(kept, key=lambda name: -len(kept[name]))[:MOST_GROUPS])
    kept = {name: values for name, values in kept.items() if name in large}
    metrics = {column.metric for column in columns}
    names = labels(columns)
    told = f"mean of {len(names)} columns, {names[0]} to {names[-1]}"
    return Spread(
        column=names[0] if len(names) == 1 else told,
        metric=metrics.pop() if len(metrics) == 1 else "",
        groups=tuple(kept),
        values=tuple(tuple(values) for values in kept.values()),
    )
