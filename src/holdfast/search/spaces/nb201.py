"""NAS-Bench-201: four nodes, six edges, five operations an edge."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.models._nb201_text import EDGES, NODES, OPERATIONS, format_cell
from holdfast.search.spaces.base import (
    SPACES,
    Encoding,
    Graph,
    Space,
    no_encoding,
    not_in_space,
)

if TYPE_CHECKING:
    from torch import nn

# Edges in the order in which data flows through them, as sequences from node 0 to node 3.
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
# Data flows from edge to edge; here edges are nodes 1 to 6 between the input and the output.
_FLOW = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7))
_SHUFFLE = 88  # seed with which the benchmark's authors numbered the architectures
Cell = tuple[str, ...]


@SPACES.register("nb201")
@dataclass(frozen=True)
class NB201(Space):
    """Cells of NAS-Bench-201; the text is `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

    Source: Dong and Yang 2020, "NAS-Bench-201". Ids, and which architectures count as the same,
    are those of the published files: cells are numbered by shuffling all 15,625 with the seed
    of the authors, and two are one where the authors' text of what reaches the last node is
    equal. That rule is a little finer than equality of functions: where two paths are summed
    in a node that a skip connection passes on, their order may still tell cells apart.

    Attributes:
        operations: What an edge may carry; all five where None.
        unique: Draw each class of equal cells with the same probability, and count a step
            within a class as none: 6,466 architectures instead of 15,625.
    """

    about: ClassVar[str] = (
        "cells of 6 edges with 5 operations (Dong and Yang 2020); unique=True: 6,466 classes"
    )
    operations: tuple[str, ...] | None = None
    unique: bool | None = None

    vocabulary = ("input", *OPERATIONS, "output")
    most_nodes = len(EDGES) + 2

    def __post_init__(self) -> None:
        for name in self.operations or ():
            if name not in OPERATIONS:
                raise unknown_name("operation of NAS-Bench-201", name, OPERATIONS)
        if self.operations is not None and len(set(self.operations)) < max(2, len(self.operations)):
            raise BadValueError(
                f"operations must be two or more different ones, got [{', '.join(self.operations)}]"
            )

    @property
    def choices(self) -> Cell:
        """Operations of this space, in the benchmark's order."""
        return tuple(op for op in OPERATIONS if op in (self.operations or OPERATIONS))

    @property
    def size(self) -> int:
        """Strings of the space; with `unique`, classes."""
        return len(_listing(self.choices, unique=bool(self.unique)))

    def check(self, arch: str) -> str:
        """Give back `arch` as the benchmark prints it; see `Space`."""
        self.cell(arch)
        return arch.strip()

    def cell(self, arch: str) -> Cell:
        """Operations of the six edges, in the order of `EDGES`.

        Raises:
            BadValueError: No architecture of this space.
        """
        try:
            cell = _known(arch)
        except (KeyError, AttributeError):
            raise not_in_space(arch, self, _why_not(arch)) from None
        if self.operations is not None and not set(cell) <= set(self.operations):
            extra = sorted(set(cell) - set(self.operations))
            raise not_in_space(arch, self, f"it uses {', '.join(extra)}")
        return cell

    def text(self, cell: Cell) -> str:
        """The benchmark's text of six operations."""
        return format_cell(cell)

    def id_of(self, arch: str) -> int:
        """The benchmark's number of an architecture, 0 to 15,624."""
        return _ids()[format_cell(self.cell(arch))]

    def from_id(self, number: int) -> str:
        """Architecture of the benchmark's number.

        Raises:
            BadValueError: Not a number of 0 to 15,624.
        """
        if not 0 <= number < len(_texts()):
            raise BadValueError(f"ids run from 0 to {len(_texts()) - 1}, got {number}")
        return self.check(_texts()[number])

    def sample(self, rng: np.random.Generator) -> str:
        """Draw uniformly; see `NB201.unique`."""
        listing = _listing(self.choices, unique=bool(self.unique))
        return listing[int(rng.integers(len(listing)))]

    def everything(self) -> Iterator[str]:
        """All architectures by their published ids; with `unique`, one a class."""
        return iter(_listing(self.choices, unique=bool(self.unique)))

    def neighbours(self, arch: str) -> list[str]:
        """Cells that differ on one edge: 24 with five operations, fewer with `unique`."""
        self.cell(arch)
        return list(_near(arch.strip(), self.choices, unique=bool(self.unique)))

    def cross(self, arch: str, other: str, rng: np.random.Generator) -> str:
        """Take each edge from one of two cells, by chance."""
        picks = rng.integers(2, size=len(EDGES))
        pairs = zip(self.cell(arch), self.cell(other), picks, strict=True)
        child = format_cell(tuple(b if pick else a for a, b, pick in pairs))
        return self.canonical(child) if self.unique else child

    def canonical(self, arch: str) -> str:
        """The cell of the smallest id among those that the benchmark takes for the same."""
        self.cell(arch)
        return _first_of_class(self.choices)[arch.strip()]

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode a cell; see `Space`.

        `one_hot`: operation of each edge, [30] for five operations. `path`: which sequences of
        operations lead from the first node to the last, [5 + 25 + 125] (White et al. 2021).
        `adjacency`: which edges are there, by operation, [24]; `none` is no edge.
        """
        cell = tuple(self.choices.index(op) for op in self.cell(arch))
        if how == "one_hot":
            return _one_hot(cell, len(self.choices))
        if how == "path":
            return _paths(cell, len(self.choices))
        if how == "adjacency":
            kept = [place for place, op in enumerate(self.choices) if op != "none"]
            return np.ascontiguousarray(
                _one_hot(cell, len(self.choices)).reshape(len(EDGES), -1)[:, kept].ravel()
            )
        raise no_encoding(how, self, ("one_hot", "path", "adjacency"))

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """One graph of eight nodes, the edges of the cell between input and output."""
        return (Graph(("input", *self.cell(arch), "output"), _FLOW),)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Cell of a graph; see `Space`."""
        if len(graphs) != 1 or graphs[0].edges != _FLOW:
            return None
        first, *cell, last = graphs[0].nodes
        whole = first == "input" and last == "output" and len(cell) == len(EDGES)
        return format_cell(tuple(cell)) if whole and set(cell) <= set(self.choices) else None

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Network of the benchmark: 16 channels, 5 cells at each of three resolutions."""
        from holdfast.models.nb201 import build_nb201  # noqa: PLC0415 - spaces need no torch

        return build_nb201(
            self.check(arch),
            channels=16 if channels is None else channels,
            cells=5 if cells is None else cells,
            classes=classes,
        )


@cache
def _texts() -> tuple[str, ...]:
    """All cells by id: the authors' listing, shuffled as they did."""
    cells = list(itertools.product(OPERATIONS, repeat=len(EDGES)))
    random.Random(_SHUFFLE).shuffle(cells)
    return tuple(map(format_cell, cells))


@cache
def _ids() -> dict[str, int]:
    return {text: number for number, text in enumerate(_texts())}


@cache
def _cells() -> dict[str, Cell]:
    return {format_cell(cell): cell for cell in itertools.product(OPERATIONS, repeat=len(EDGES))}


def _known(arch: str) -> Cell:
    cells = _cells()
    return cells[arch] if arch in cells else cells[arch.strip()]


def _why_not(arch: object) -> str:
    """What is wrong with a text that is no cell."""
    expected = "expected |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    if not isinstance(arch, str):
        return f"{expected}, got {type(arch).__name__}"
    for part in arch.strip().replace("+", "|").split("|"):
        op, mark, _ = part.partition("~")
        if mark and op not in OPERATIONS:
            return str(unknown_name("operation", op, OPERATIONS))
    return f"{expected} with the operations {', '.join(OPERATIONS)}"


def _same(cell: Cell) -> str:
    """The authors' text of what reaches the last node; equal for cells they take for the same."""
    nodes = ["0"]
    by_edge = dict(zip(EDGES, cell, strict=True))
    for node in range(1, NODES):
        terms = []
        for start in range(node):
            op = by_edge[start, node]
            if op == "none" or nodes[start] == "#":
                terms.append("#")
            elif op == "skip_connect":
                terms.append(nodes[start])
            else:
                terms.append(f"({nodes[start]})@{op}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


@cache
def _first_of_class(choices: Cell) -> dict[str, str]:
    """Each cell of `choices` with the first of its class."""
    first: dict[str, str] = {}
    return {
        text: first.setdefault(_same(_cells()[text]), text)
        for text in _texts()
        if set(_cells()[text]) <= set(choices)
    }


@cache
def _listing(choices: Cell, *, unique: bool) -> tuple[str, ...]:
    classes = _first_of_class(choices)
    return tuple(dict.fromkeys(classes.values())) if unique else tuple(classes)


@cache
def _near(arch: str, choices: Cell, *, unique: bool) -> tuple[str, ...]:
    cell = _cells()[arch]
    changed = (
        format_cell((*cell[:edge], op, *cell[edge + 1 :]))
        for edge in range(len(EDGES))
        for op in choices
        if op != cell[edge]
    )
    if not unique:
        return tuple(changed)
    classes = _first_of_class(choices)
    return tuple(dict.fromkeys(classes[near] for near in changed if classes[near] != classes[arch]))


def _one_hot(cell: tuple[int, ...], choices: int) -> np.ndarray:
    encoded = np.zeros((len(EDGES), choices), dtype=np.float32)
    encoded[np.arange(len(EDGES)), cell] = 1
    return encoded.ravel()


def _paths(cell: tuple[int, ...], choices: int) -> np.ndarray:
    starts = np.cumsum([0, *(choices**length for length in range(1, NODES))])
    encoded = np.zeros(starts[-1], dtype=np.float32)
    for path in PATHS:
        place = 0
        for edge in path:
            place = place * choices + cell[edge]
        encoded[starts[len(path) - 1] + place] = 1
    return encoded
