"""The best architectures of a column, what surrounds them, and what they are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from holdfast.core.errors import BadValueError
from holdfast.records.searches import (
    Best,
    Cell,
    Neighbour,
    Neighbourhood,
    OperatorCounts,
    Ranked,
)
from holdfast.search.analysis.columns import labels
from holdfast.search.spaces import Graph, Space
from holdfast.search.tables.table import BenchmarkTable, Column


def best(
    table: BenchmarkTable, column: Column, *, count: int = 5, others: Sequence[Column] = ()
) -> Best:
    """The `count` best architectures of a column, with their values in it and in `others`.

    Of equal ones the first of the table comes first.

    Raises:
        BadValueError: Fewer than one is asked for.
    """
    columns = list(dict.fromkeys([column, *others]))
    named = dict(zip(labels(columns), columns, strict=True))
    ranked = [
        Ranked(
            arch=arch,
            values={name: _known(table, one, arch) for name, one in named.items()},
            cells=cells(table.space, arch),
        )
        for arch in top(table.values(column), column, count)
    ]
    return Best(
        column=next(iter(named)),
        metric=column.metric,
        metrics={name: one.metric for name, one in named.items()},
        ranked=tuple(ranked),
    )


def _known(table: BenchmarkTable, column: Column, arch: str) -> float:
    value = table.lookup(column, arch)
    return math.nan if value is None else value


def top(values: dict[str, float], column: Column, count: int) -> list[str]:
    """Architectures of the `count` best values; of equal ones the first.

    Raises:
        BadValueError: Fewer than one is asked for.
    """
    if count < 1:
        raise BadValueError(f"ask for one architecture or more, got {count}")
    sign = -1 if column.better == "higher" else 1
    return sorted(values, key=lambda arch: sign * values[arch])[:count]


def neighbourhood(table: BenchmarkTable, column: Column, arch: str) -> Neighbourhood:
    """Values of all architectures one change away from `arch`; NaN where there is none.

    Raises:
        BadValueError: No architecture of the table's space.
    """
    space = table.space
    arch = space.check(arch)
    near = [
        Neighbour(
            arch=other,
            change=change(space, arch, other),
            value=_known(table, column, other),
        )
        for other in space.neighbours(arch)
    ]
    return Neighbourhood(
        column=labels([column])[0],
        metric=column.metric,
        arch=arch,
        value=_known(table, column, arch),
        near=tuple(near),
    )


def change(space: Space, arch: str, other: str) -> str:
    """What tells two architectures apart, in words: `node 2: skip_connect to none`."""
    pairs = list(zip(space.graphs(arch), space.graphs(other), strict=True))
    several = len(pairs) > 1
    told = [
        f"cell {place + 1}, {text}" if several else text
        for place, (one, two) in enumerate(pairs)
        for text in _changes(one, two)
    ]
    return "; ".join(told) or "the same graph"


def _changes(one: Graph, two: Graph) -> list[str]:
    if len(one.nodes) != len(two.nodes):
        return [f"{len(one.nodes)} nodes to {len(two.nodes)}"]
    nodes = [
        f"node {place}: {old} to {new}"
        for place, (old, new) in enumerate(zip(one.nodes, two.nodes, strict=True))
        if old != new
    ]
    gone = [f"without {i}-{j}" for i, j in one.edges if (i, j) not in two.edges]
    new = [f"with {i}-{j}" for i, j in two.edges if (i, j) not in one.edges]
    return [*nodes, *gone, *new]


def operator_counts(table: BenchmarkTable, column: Column, *, count: int = 100) -> OperatorCounts:
    """How often each operation occurs in the `count` best architectures of a column.

    Nodes that are an input or the output of a cell are not counted.

    Raises:
        BadValueError: Fewer than one is asked for.
    """
    archs = top(table.values(column), column, count)
    counted = Counter(op for arch in archs for op in operations(table.space, arch))
    names = inner(table.space.vocabulary)
    names = [*names, *sorted(set(counted) - set(names))]
    return OperatorCounts(
        column=labels([column])[0],
        top=len(archs),
        operators=tuple(names),
        counts=tuple(counted[name] for name in names),
    )


def operations(space: Space, arch: str) -> list[str]:
    """Labels of the nodes between input and output, of all cells."""
    return [op for graph in space.graphs(arch) for op in inner(graph.nodes)]


def inner(labels_of_nodes: Iterable[str]) -> list[str]:
    """Labels of nodes without inputs, of which a cell may have two, and output."""
    return [one for one in labels_of_nodes if one != "output" and not one.startswith("input")]


def cells(space: Space, arch: str) -> tuple[Cell, ...]:
    """Graphs of an architecture, to be drawn."""
    return tuple(Cell(nodes=graph.nodes, edges=graph.edges) for graph in space.graphs(arch))
