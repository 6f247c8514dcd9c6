"""NAS-Bench-101: modules of up to seven vertices and nine edges, operations on the vertices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from holdfast.core.errors import unknown_name
from holdfast.search.spaces._nb101_modules import (
    EDGES,
    OPERATIONS,
    VERTICES,
    Module,
    canonical_module,
    changes,
    columns_of,
    edge_count,
    edges_of,
    prune,
    shapes,
)
from holdfast.search.spaces.base import (
    SPACES,
    Encoding,
    Graph,
    Space,
    no_encoding,
    not_in_space,
    parsed,
)

if TYPE_CHECKING:
    from torch import nn

_UNIQUE = 423_624  # published; counted anew by a test
_MIDDLE = VERTICES - 2
_SPOTS = VERTICES * (VERTICES - 1) // 2  # edges that seven vertices in order may have
_LABELS = {"conv3x3-bn-relu": 0, "conv1x1-bn-relu": 1, "maxpool3x3": 2}  # in published hashes


@SPACES.register("nb101")
@dataclass(frozen=True)
class NB101(Space):
    """Modules of NAS-Bench-101; the text is `0110101101|conv3x3-bn-relu,maxpool3x3`-like.

    Source: Ying et al. 2019, "NAS-Bench-101". The benchmark has no text of one line, so this one
    is ours: the upper triangle of the adjacency matrix row by row, a bar, and the operations of
    the vertices between input and output. `input to output` alone is `1|`.

    A text may have vertices that lie on no path from input to output; `check` drops them, as
    the benchmark does, and counts vertices and edges after that. The order of the vertices
    is kept, for it decides which vertex gets the odd channel where a network splits its
    channels unevenly. What `sample` and `neighbours` give is canonical.

    One change is another operation, an edge more or less, or a vertex with one edge in and one
    edge out more or less, so that steps go both ways. The benchmark's own example changes
    matrices before pruning instead, where many changes do nothing.

    Attributes:
        matrices: Draw as the benchmark's example does: seven vertices, every edge by a coin, until
            the pruned module has at most nine edges. That favours small modules by far: one in
            four hundred has seven vertices. By default every module is as likely as another.
    """

    about: ClassVar[str] = (
        "modules of 7 vertices and 9 edges with 3 operations (Ying et al. 2019): 423,624"
    )
    matrices: bool | None = None

    vocabulary = ("input", *OPERATIONS, "output")
    most_nodes = VERTICES

    @property
    def size(self) -> int:
        """Modules that are not isomorphic, as published."""
        return _UNIQUE

    def check(self, arch: str) -> str:
        """Give back the text of the pruned module; see `Space`."""
        return _text(self.module(arch))

    def module(self, arch: str) -> Module:
        """Operations, as numbers, and sets of predecessors, as bits, of the pruned module.

        Raises:
            BadValueError: No architecture of this space.
        """
        return parsed(_parse, arch, self)

    def from_matrix(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> str:
        """Text of a module as published files hold it.

        Args:
            matrix: Upper triangular, 0 and 1, [V, V].
            operations: Of all V vertices, `input` first and `output` last.

        Raises:
            BadValueError: No architecture of this space.
        """
        size = len(operations)
        square = len(matrix) == size and all(len(row) == size for row in matrix)
        if not square or size < 2 or (operations[0], operations[-1]) != ("input", "output"):
            shown = f"{len(matrix)} rows with {list(operations)}"
            raise not_in_space(shown, self, "expected a row for each of input, ..., output")
        if any(matrix[i][j] for i in range(size) for j in range(i + 1)):
            raise not_in_space([list(row) for row in matrix], self, "it is not upper triangular")
        bits = "".join(str(int(matrix[i][j])) for i, j in combinations(range(size), 2))
        return self.check(f"{bits}|{','.join(operations[1:-1])}")

    def hash_of(self, arch: str) -> str:
        """The benchmark's hash of the module, equal for isomorphic modules; 32 hex digits.

        Each vertex starts as the MD5 of its degrees and label, and takes up those of its
        neighbours as often as there are vertices.
        """
        operations, before = self.module(arch)
        last = len(before) - 1
        degrees_in = [mask.bit_count() for mask in before]
        after = [[w for w in range(last + 1) if before[w] >> v & 1] for v in range(last + 1)]
        ahead = [[w for w in range(last + 1) if before[v] >> w & 1] for v in range(last + 1)]
        labels = [-1, *(_LABELS[OPERATIONS[op]] for op in operations), -2]
        hashes = [_md5(str((len(after[v]), degrees_in[v], labels[v]))) for v in range(last + 1)]
        for _ in range(last + 1):
            hashes = [
                _md5(f"{_joined(hashes, ahead[v])}|{_joined(hashes, after[v])}|{hashes[v]}")
                for v in range(last + 1)
            ]
        return _md5(str(sorted(hashes)))

    def sample(self, rng: np.random.Generator) -> str:
        """Draw a canonical module; see `NB101.matrices`."""
        draw = _draw_matrix if self.matrices else _draw_uniform
        while True:
            module = draw(rng)
            if module is not None:
                return _text(module)

    def neighbours(self, arch: str) -> list[str]:
        """Canonical modules one change away; see the class for what a change is."""
        return list(_near(canonical_module(self.module(arch))))

    def canonical(self, arch: str) -> str:
        """The isomorphic module, of pruned ones, whose columns come first in the alphabet."""
        return _text(canonical_module(self.module(arch)))

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode the canonical module; see `Space`.

        `one_hot`: 21 edges of seven vertices (absent ones before the output) and three bits for
        each of five operations, [36]. `adjacency`: the edges and the operations' numbers
        1 to 3, 0 where the vertex is absent, [26]. `path`: which sequences of operations lead from
        input to output, short ones first, [364] (White et al. 2021).
        """
        operations, before = canonical_module(self.module(arch))
        if how == "path":
            return _paths(operations, before)
        if how not in ("one_hot", "adjacency"):
            raise no_encoding(how, self, ("one_hot", "path", "adjacency"))
        edges = np.zeros((VERTICES, VERTICES), dtype=np.float32)
        for start, end in edges_of(before):
            edges[start, VERTICES - 1 if end == len(before) - 1 else end] = 1
        flat = edges[np.triu_indices(VERTICES, 1)]
        numbers = np.zeros(_MIDDLE, dtype=np.float32)
        numbers[: len(operations)] = np.array(operations) + 1
        if how == "adjacency":
            return np.concatenate((flat, numbers))
        one_hot = numbers[:, None] == np.arange(1, len(OPERATIONS) + 1)
        return np.concatenate((flat, one_hot.ravel().astype(np.float32)))

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """The pruned module as one graph, vertices as in the text."""
        operations, before = self.module(arch)
        names = (OPERATIONS[op] for op in operations)
        return (Graph(("input", *names, "output"), tuple(sorted(edges_of(before)))),)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Module of a graph, pruned; see `Space`."""
        if len(graphs) != 1 or not 2 <= len(graphs[0].nodes) <= VERTICES:
            return None
        first, *middle, last = graphs[0].nodes
        if first != "input" or last != "output" or not set(middle) <= set(OPERATIONS):
            return None
        before = [0] * len(graphs[0].nodes)
        for start, end in graphs[0].edges:
            before[end] |= 1 << start
        pruned = prune(tuple(OPERATIONS.index(op) for op in middle), tuple(before))
        return _text(pruned) if pruned is not None and edge_count(pruned) <= EDGES else None

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Network of the benchmark: 128 channels of the stem, 3 modules in each of 3 stacks."""
        from holdfast.models.nb101 import nb101_network  # noqa: PLC0415 - spaces need no torch

        operations, before = self.module(arch)
        names = [OPERATIONS[op] for op in operations]
        return nb101_network(
            names,
            sorted(edges_of(before)),
            channels=128 if channels is None else channels,
            cells=3 if cells is None else cells,
            classes=classes,
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _joined(hashes: list[str], vertices: list[int]) -> str:
    return "".join(sorted(hashes[v] for v in vertices))


def _text(module: Module) -> str:
    operations, before = module
    bits = (str(before[end] >> start & 1) for start, end in combinations(range(len(before)), 2))
    return f"{''.join(bits)}|{','.join(OPERATIONS[op] for op in operations)}"


@lru_cache(maxsize=1 << 16)
def _parse(arch: str) -> Module:
    """Pruned module of a text; ValueError says what is wrong."""
    bits, bar, names = arch.strip().partition("|")
    if not bar:
        raise ValueError("expected the matrix's upper triangle, a bar and the operations")
    operations = tuple(_number(name.strip()) for name in names.split(",") if names.strip())
    vertices = len(operations) + 2
    spots = vertices * (vertices - 1) // 2
    if vertices > VERTICES:
        raise ValueError(f"it has {vertices} vertices, {VERTICES} are the most")
    if len(bits) != spots or not set(bits) <= {"0", "1"}:
        raise ValueError(f"{vertices} vertices need {spots} digits 0 or 1 before the bar")
    before = [0] * vertices
    for bit, (start, end) in zip(bits, combinations(range(vertices), 2), strict=True):
        before[end] |= int(bit) << start
    pruned = prune(operations, tuple(before))
    if pruned is None:
        raise ValueError("no path leads from the input to the output")
    if edge_count(pruned) > EDGES:
        raise ValueError(f"it has {edge_count(pruned)} edges, {EDGES} are the most")
    return pruned


def _number(name: str) -> int:
    if name not in OPERATIONS:
        raise ValueError(str(unknown_name("operation", name, OPERATIONS)))
    return OPERATIONS.index(name)


def _draw_uniform(rng: np.random.Generator) -> Module | None:
    """Draw from all orders of all modules; only the canonical order counts, one a module."""
    matrices, counts = shapes()
    number = int(rng.integers(counts[-1]))
    place = int(np.searchsorted(counts, number, side="right"))
    operations = []
    rest = int(counts[place]) - 1 - number
    for _ in matrices[place][2:]:
        rest, op = divmod(rest, len(OPERATIONS))
        operations.append(op)
    module = tuple(operations), matrices[place]
    return module if canonical_module(module) == module else None


def _draw_matrix(rng: np.random.Generator) -> Module | None:
    bits = int(rng.integers(1 << _SPOTS))
    operations = tuple(int(op) for op in rng.integers(len(OPERATIONS), size=_MIDDLE))
    pruned = prune(operations, columns_of(bits, VERTICES))
    return None if pruned is None or edge_count(pruned) > EDGES else canonical_module(pruned)


@lru_cache(maxsize=1 << 12)
def _near(module: Module) -> tuple[str, ...]:
    changed = (_text(canonical_module(other)) for other in changes(module))
    return tuple(dict.fromkeys(text for text in changed if text != _text(module)))


def _paths(operations: tuple[int, ...], before: tuple[int, ...]) -> np.ndarray:
    base = len(OPERATIONS)
    starts = np.cumsum([0, *(base**length for length in range(_MIDDLE + 1))])
    encoded = np.zeros(starts[-1], dtype=np.float32)
    reaching: list[set[tuple[int, ...]]] = [{()}]  # sequences of operations up to each vertex
    for vertex, mask in enumerate(before[1:], start=1):
        arriving = {path for s in range(vertex) if mask >> s & 1 for path in reaching[s]}
        own = () if vertex > len(operations) else (operations[vertex - 1],)
        reaching.append({(*path, *own) for path in arriving})
    for path in reaching[-1]:
        place = 0
        for op in path:
            place = place * base + op
        encoded[starts[len(path)] + place] = 1
    return encoded
