"""DARTS and NAS-Bench-301: a normal and a reduction cell of four nodes each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import comb, prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from holdfast.core.errors import unknown_name
from holdfast.search.spaces.base import (
    SPACES,
    Encoding,
    Graph,
    Space,
    no_encoding,
    parsed,
)

if TYPE_CHECKING:
    from torch import nn

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
INPUTS = 2  # a cell reads the two cells before it
NODES = 4
_LAST = INPUTS + NODES
_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_LONGEST = 2000  # characters of a text; printed ones have fewer than 600
_EDGES = tuple((s, node) for node in range(INPUTS, _LAST) for s in range(node))
_PATHS = sum(INPUTS * len(OPERATIONS) ** length for length in range(1, NODES + 1))

# Operation, as a number, and source of each of the eight edges, two a node in order.
Cell = tuple[tuple[int, int], ...]
Cells = tuple[Cell, Cell]


@SPACES.register("darts")
@dataclass(frozen=True)
class Darts(Space):
    """Pairs of DARTS cells; the text is the published `Genotype(normal=[...], ...)`.

    Sources: Liu et al. 2019, "DARTS"; Siems et al. 2020, "NAS-Bench-301". Each of four nodes of
    a cell sums two operations on two different earlier nodes, of which 0 and 1 are the outputs of
    the two cells before; the cell gives all four nodes. `range(2, 6)` may stand for the list of
    these. The text is never run, only read.

    One change is another operation or another source of one edge: 120 neighbours.
    """

    about: ClassVar[str] = (
        "normal and reduction cell of 4 nodes with 7 operations (Liu et al. 2019, NAS-Bench-301)"
    )
    vocabulary = ("input", "input_1", *OPERATIONS, "output")
    most_nodes = INPUTS + 2 * NODES + 1
    graphs_each = 2
    fewest_cells = 3  # of which one is a normal cell

    @property
    def size(self) -> int:
        """Genotypes of which none is another with the two edges of a node exchanged: 1.08e18."""
        cell = prod(comb(node, 2) * len(OPERATIONS) ** 2 for node in range(INPUTS, _LAST))
        return cell**2

    def check(self, arch: str) -> str:
        """Give back the genotype as published ones are printed; see `Space`."""
        return _text(self.cells(arch))

    def cells(self, arch: str) -> Cells:
        """Edges of the normal and of the reduction cell.

        Raises:
            BadValueError: No architecture of this space.
        """
        return parsed(_parse, arch, self)

    def sample(self, rng: np.random.Generator) -> str:
        """Draw operations and pairs of sources uniformly; the smaller source comes first."""
        return _text((_draw(rng), _draw(rng)))

    def neighbours(self, arch: str) -> list[str]:
        """Genotypes that differ in one operation (96) or in one source (24)."""
        normal, reduce = self.cells(arch)
        near = [(other, reduce) for other in _changes(normal)]
        near += [(normal, other) for other in _changes(reduce)]
        return [_text(cells) for cells in near]

    def canonical(self, arch: str) -> str:
        """The first, in the alphabet of numbers, of all orders of nodes and of their edges.

        Another order of the nodes moves the channels of the cell's output about, which the next
        weights undo.
        """
        normal, reduce = self.cells(arch)
        return _text((_canonical(normal), _canonical(reduce)))

    def cross(self, arch: str, other: str, rng: np.random.Generator) -> str:
        """Take each node, with its two edges, from one of two genotypes, by chance."""
        picks = rng.integers(2, size=(2, NODES))
        normal, reduce = (
            tuple((b if pick[k // 2] else a)[k] for k in range(2 * NODES))
            for a, b, pick in zip(self.cells(arch), self.cells(other), picks, strict=True)
        )
        return _text((normal, reduce))

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode a genotype, its nodes in the order given; see `Space`.

        `one_hot`: which operation is on each of 14 edges of a cell, [2 x 98]. `adjacency`: number
        of operation and source of the eight edges, the smaller source first, [2 x 16]. `path`:
        which sequences of one to four operations lead from which input to a node, [2 x 5600]
        (White et al. 2021, here not cut off).
        """
        encoders = {"one_hot": _one_hot, "adjacency": _numbers, "path": _paths}
        if how not in encoders:
            raise no_encoding(how, self, tuple(encoders))
        return np.concatenate([encoders[how](cell) for cell in self.cells(arch)])

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """Normal and reduction cell, each as a graph of eleven nodes.

        The eight edges of the cell are nodes between the two inputs and the output; an edge that
        reads a node of the cell follows both edges that this node sums (AG-Net's form).
        """
        return tuple(_graph(cell) for cell in self.cells(arch))

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Genotype of two graphs; see `Space`."""
        cells = [_from_graph(graph) for graph in graphs]
        if len(cells) != self.graphs_each or cells[0] is None or cells[1] is None:
            return None
        return _text((cells[0], cells[1]))

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Network for 32 x 32 pixels, `cells` in all: 36 channels and 20 cells, as DARTS trained.

        The auxiliary head is left out. NAS-Bench-301 trained 8 cells of 32 channels.
        """
        from holdfast.models.darts import darts_network  # noqa: PLC0415 - spaces need no torch

        normal, reduce = ([(OPERATIONS[op], s) for op, s in cell] for cell in self.cells(arch))
        return darts_network(
            normal,
            reduce,
            channels=36 if channels is None else channels,
            cells=20 if cells is None else cells,
            classes=classes,
        )


def _text(cells: Cells) -> str:
    normal, reduce = ([(OPERATIONS[op], source) for op, source in cell] for cell in cells)
    joined = list(range(INPUTS, _LAST))
    return (
        f"Genotype(normal={normal}, normal_concat={joined}, "
        f"reduce={reduce}, reduce_concat={joined})"
    )


@lru_cache(maxsize=1 << 16)
def _parse(arch: str) -> Cells:
    """Cells of a genotype; ValueError says what is wrong."""
    if len(arch) > _LONGEST or "\\" in arch:
        raise ValueError(f"a genotype has up to {_LONGEST} characters, none of them a backslash")
    given = _fields(arch)
    for name in ("normal_concat", "reduce_concat"):
        if given[name] != list(range(INPUTS, _LAST)):
            raise ValueError(f"{name} must be {list(range(INPUTS, _LAST))}, got {given[name]}")
    return _cell("normal", given["normal"]), _cell("reduce", given["reduce"])


def _fields(arch: str) -> dict[str, object]:
    """The four fields as lists and tuples of constants."""
    try:
        call = ast.parse(arch.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or call.args or ast.unparse(call.func) != "Genotype":
        raise ValueError(f"expected Genotype(..) with {', '.join(_FIELDS)}")
    names = [keyword.arg for keyword in call.keywords]
    if sorted(map(str, names)) != sorted(_FIELDS):
        raise ValueError(f"expected the fields {', '.join(_FIELDS)}, got {names}")
    return {str(keyword.arg): _constant(keyword.value) for keyword in call.keywords}


def _constant(node: ast.expr) -> object:
    if isinstance(node, ast.Call) and ast.unparse(node) == f"range({INPUTS}, {_LAST})":
        return list(range(INPUTS, _LAST))
    try:
        value = ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"expected a list of constants, got {ast.unparse(node)}") from None
    return list(value) if isinstance(value, tuple) else value


def _cell(name: str, pairs: object) -> Cell:
    if not isinstance(pairs, list) or len(pairs) != 2 * NODES:
        raise ValueError(f"{name} must be a list of {2 * NODES} (operation, source) pairs")
    cell = tuple(_pair(name, place, pair) for place, pair in enumerate(pairs))
    for node in range(NODES):
        if cell[2 * node][1] == cell[2 * node + 1][1]:
            raise ValueError(f"node {INPUTS + node} of {name} reads one source twice")
    return cell


def _pair(name: str, place: int, pair: object) -> tuple[int, int]:
    most = INPUTS + place // 2 - 1
    match pair:
        case (str() as operation, int() as source) if 0 <= source <= most:
            if operation not in OPERATIONS:
                raise ValueError(str(unknown_name("operation", operation, OPERATIONS)))
            return OPERATIONS.index(operation), int(source)
    raise ValueError(f"pair {place} of {name} must be (operation, source of 0 to {most})")


def _draw(rng: np.random.Generator) -> Cell:
    operations = rng.integers(len(OPERATIONS), size=2 * NODES)
    cell: list[tuple[int, int]] = []
    for node in range(NODES):
        pairs = [(a, b) for b in range(INPUTS + node) for a in range(b)]
        sources = pairs[int(rng.integers(len(pairs)))]
        cell += [(int(operations[2 * node + k]), sources[k]) for k in (0, 1)]
    return tuple(cell)


def _changes(cell: Cell) -> Iterator[Cell]:
    for place, (op, source) in enumerate(cell):
        other = cell[place ^ 1][1]
        edges = [(new, source) for new in range(len(OPERATIONS)) if new != op]
        free = (new for new in range(INPUTS + place // 2) if new not in (source, other))
        for edge in (*edges, *((op, new) for new in free)):
            yield (*cell[:place], edge, *cell[place + 1 :])


@lru_cache(maxsize=1 << 16)
def _canonical(cell: Cell) -> Cell:
    orders = (_reordered(cell, order) for order in permutations(range(NODES)))
    return min(order for order in orders if order is not None)


def _reordered(cell: Cell, order: tuple[int, ...]) -> Cell | None:
    """Cell with its nodes in another order; None where a node would read a later one."""
    place = {INPUTS + node: INPUTS + k for k, node in enumerate(order)} | {0: 0, 1: 1}
    moved: list[tuple[int, int]] = []
    for node in order:
        pair = sorted((place[source], op) for op, source in cell[2 * node : 2 * node + 2])
        if pair[1][0] >= place[INPUTS + node]:
            return None
        moved += [(op, source) for source, op in pair]
    return tuple(moved)


def _by_node(cell: Cell) -> Iterator[tuple[int, int, int]]:
    """Node, operation and source of each edge."""
    for place, (op, source) in enumerate(cell):
        yield INPUTS + place // 2, op, source


def _one_hot(cell: Cell) -> np.ndarray:
    encoded = np.zeros((len(_EDGES), len(OPERATIONS)), dtype=np.float32)
    for node, op, source in _by_node(cell):
        encoded[_EDGES.index((source, node)), op] = 1
    return encoded.ravel()


def _numbers(cell: Cell) -> np.ndarray:
    by_source = sorted((node, source, op) for node, op, source in _by_node(cell))
    flat = [number for _, source, op in by_source for number in (op, source)]
    return np.array(flat, dtype=np.float32)


def _paths(cell: Cell) -> np.ndarray:
    encoded = np.zeros(_PATHS, dtype=np.float32)
    base = len(OPERATIONS)
    starts = np.cumsum([0, *(INPUTS * base**length for length in range(1, NODES + 1))])
    # Paths up to each node, as (operations so far, number among those of that length).
    reaching: list[set[tuple[int, int]]] = [{(0, k)} for k in range(INPUTS)]
    reaching += [set() for _ in range(NODES)]
    for node, op, source in _by_node(cell):
        for length, number in reaching[source]:
            reaching[node].add((length + 1, number * base + op))
            encoded[starts[length] + number * base + op] = 1
    return encoded


def _graph(cell: Cell) -> Graph:
    names = (OPERATIONS[op] for op, _ in cell)
    last = INPUTS + len(cell)
    edges = [(start, INPUTS + k) for k, (_, s) in enumerate(cell) for start in _givers(s)]
    edges += [(INPUTS + k, last) for k in range(len(cell))]
    return Graph(("input", "input_1", *names, "output"), tuple(sorted(edges)))


def _givers(source: int) -> tuple[int, ...]:
    """Nodes of the graph that give a source of the cell."""
    first = INPUTS + 2 * (source - INPUTS)
    return (source,) if source < INPUTS else (first, first + 1)


_SOURCES = {_givers(source): source for source in range(_LAST - 1)}


def _from_graph(graph: Graph) -> Cell | None:
    names = graph.nodes[INPUTS:-1]
    if len(names) != 2 * NODES or not set(names) <= set(OPERATIONS):
        return None
    given = [
        tuple(start for start, end in graph.edges if end == INPUTS + place)
        for place in range(2 * NODES)
    ]
    sources = [_SOURCES.get(tuple(sorted(starts)), _LAST) for starts in given]
    cell = tuple((OPERATIONS.index(name), s) for name, s in zip(names, sources, strict=True))
    early = all(source < node for node, _, source in _by_node(cell))
    apart = all(sources[2 * node] != sources[2 * node + 1] for node in range(NODES))
    return cell if early and apart and _graph(cell) == graph else None
