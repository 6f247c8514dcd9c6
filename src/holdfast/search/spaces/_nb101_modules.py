"""Modules of NAS-Bench-101 as sets of predecessors: pruned, put in order, changed and listed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache, reduce
from operator import or_

import numpy as np

OPERATIONS = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
VERTICES = 7  # input and output included
EDGES = 9

# Operations of the vertices between input and output, as numbers, and for each vertex the set of
# those that lead to it, as bits. Vertex 0 is the input, the last one the output.
Module = tuple[tuple[int, ...], tuple[int, ...]]


def edges_of(before: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j) of the edges, by their ends."""
    for end, mask in enumerate(before):
        for start in range(len(before)):
            if mask >> start & 1:
                yield start, end


def edge_count(module: Module) -> int:
    """How many edges a module has."""
    return sum(mask.bit_count() for mask in module[1])


def columns_of(bits: int, vertices: int) -> tuple[int, ...]:
    """Columns of an upper triangle whose bits are given column by column."""
    columns = []
    for vertex in range(vertices):
        columns.append(bits & ((1 << vertex) - 1))
        bits >>= vertex
    return tuple(columns)


def prune(operations: tuple[int, ...], before: tuple[int, ...]) -> Module | None:
    """Keep what lies on a path from input to output; None where there is no path."""
    last = len(before) - 1
    reached = 1
    for vertex in range(1, last + 1):
        if before[vertex] & reached:
            reached |= 1 << vertex
    if not reached >> last & 1:
        return None
    needed = 1 << last
    for vertex in range(last, 0, -1):
        if needed >> vertex & 1:
            needed |= before[vertex] & reached
    kept = [vertex for vertex in range(last + 1) if needed >> vertex & 1]
    if len(kept) == last + 1:
        return operations, before
    masks = tuple(_renumbered(before[vertex], kept) for vertex in kept)
    return tuple(operations[vertex - 1] for vertex in kept[1:-1]), masks


def _renumbered(mask: int, kept: list[int]) -> int:
    return sum(1 << place for place, vertex in enumerate(kept) if mask >> vertex & 1)


@lru_cache(maxsize=1 << 17)
def canonical_module(module: Module) -> Module:
    """The isomorphic module whose sequence of columns is the smallest.

    Vertices may come in any order here, but for the first and the last. Position after position
    takes the vertex of the smallest column; ties are followed side by side.
    """
    operations, before = module
    last = len(before) - 1
    ties: list[tuple[int, ...]] = [(0,)]
    columns: list[tuple[int, int]] = []
    for _ in range(last - 1):
        best: tuple[int, int] | None = None
        found: list[tuple[int, ...]] = []
        for order in ties:
            placed = sum(1 << vertex for vertex in order)
            for vertex in range(1, last):
                if placed >> vertex & 1 or before[vertex] & ~placed:
                    continue
                column = (_renumbered(before[vertex], list(order)), operations[vertex - 1])
                if best is None or column < best:
                    best, found = column, []
                if column == best:
                    found.append((*order, vertex))
        if best is None:  # only a circle of edges leaves no vertex to place
            raise ValueError(f"no order of the vertices of {module}")
        columns.append(best)
        ties = found
    end = min(_renumbered(before[last], list(order)) for order in ties)
    return tuple(op for _, op in columns), (0, *(mask for mask, _ in columns), end)


@cache
def shapes() -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    """Matrices of all pruned modules in any order of vertices, with how many come up to each.

    Counted with the operations that its vertices may have.
    """
    found = [
        shape for vertices in range(2, VERTICES + 1) for shape in _grown((0,), vertices, EDGES)
    ]
    return tuple(found), np.cumsum([len(OPERATIONS) ** (len(columns) - 2) for columns in found])


def _grown(columns: tuple[int, ...], vertices: int, spare: int) -> Iterator[tuple[int, ...]]:
    """Columns continued to `vertices` by up to `spare` edges, every vertex entered and left."""
    rest = vertices - len(columns)
    if rest == 0:
        yield columns
        return
    idle = (1 << len(columns)) - 1 & ~reduce(or_, columns)  # those that no edge leaves yet
    for mask in range(1, 1 << len(columns)):
        used = mask.bit_count()
        if used + rest - 1 <= spare and (rest > 1 or not idle & ~mask):
            yield from _grown((*columns, mask), vertices, spare - used)


def changes(module: Module) -> Iterator[Module]:
    """Pruned modules one change away, with repetitions, their vertices in any order."""
    operations, before = module
    for place, old in enumerate(operations):
        for new in range(len(OPERATIONS)):
            if new != old:
                yield (*operations[:place], new, *operations[place + 1 :]), before
    yield from _fewer(module)
    yield from _more(module)


def _fewer(module: Module) -> Iterator[Module]:
    """An edge less, or a vertex with its only edge in and its only edge out less."""
    operations, before = module
    leaving = [sum(mask >> v & 1 for mask in before) for v in range(len(before))]
    for start, end in edges_of(before):
        if leaving[start] > 1 and before[end].bit_count() > 1:
            masks = list(before)
            masks[end] &= ~(1 << start)
            yield operations, tuple(masks)
    for vertex in range(1, len(before) - 1):
        if before[vertex].bit_count() == 1 == leaving[vertex]:
            source = before[vertex].bit_length() - 1
            target = next(v for v, mask in enumerate(before) if mask >> vertex & 1)
            if leaving[source] > 1 and before[target].bit_count() > 1:
                kept = [v for v in range(len(before)) if v != vertex]
                masks = [_renumbered(before[v], kept) for v in kept]
                yield (*operations[: vertex - 1], *operations[vertex:]), tuple(masks)


def _more(module: Module) -> Iterator[Module]:
    """An edge more, or a vertex with one edge in and one edge out more."""
    operations, before = module
    last = len(before) - 1
    spare = EDGES - edge_count(module)
    for start, end in _forward(before):
        if spare >= 1 and not before[end] >> start & 1:
            masks = list(before)
            masks[end] |= 1 << start
            yield operations, tuple(masks)
        if spare >= 2 and last + 1 < VERTICES:
            masks = [*before[:last], 1 << start, before[last]]
            masks[end + (end == last)] |= 1 << last
            for op in range(len(OPERATIONS)):
                yield (*operations, op), tuple(masks)


def _forward(before: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Pairs that an edge may join without closing a circle."""
    last = len(before) - 1
    above = [0] * (last + 1)
    for vertex, mask in enumerate(before):
        for source in range(vertex):
            if mask >> source & 1:
                above[vertex] |= above[source] | 1 << source
    for start in range(last):
        for end in range(1, last + 1):
            if start != end and not above[start] >> end & 1:
                yield start, end
