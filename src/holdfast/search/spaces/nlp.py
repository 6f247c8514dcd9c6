"""NAS-Bench-NLP: recurrent cells of up to three hidden states."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from random import Random
from typing import Any, ClassVar

import numpy as np

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.search.spaces._nlp_cells import (
    OPERATIONS,
    STATES,
    Cell,
    Node,
    arranged,
    base_name,
    canonical_cell,
    changes,
    draw,
    flaw,
    in_order,
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

NODES = 24
_LEAST = 8  # below this, hardly a draw fits
_SIZES = (7, 14, 21)  # nodes besides the new states that the benchmark's draws start with
_NEW = re.compile(r"h_new_\d+")
_LONGEST = 10_000  # characters of a text
# A blend's label says which of its inputs, in the order of the nodes, is the gate g, the one
# that the gate lets through (a) and the other one (b).
_BLENDS = {order: f"blend_{''.join(order)}" for order in permutations("gab")}
_PLAIN = tuple(name for name in OPERATIONS if name != "blend")


@SPACES.register("nlp")
@dataclass(frozen=True)
class NLP(Space):
    """Recurrent cells of NAS-Bench-NLP; the text is the published recipe as compact JSON.

    Source: Klyuchnikov et al. 2020, "NAS-Bench-NLP". A recipe names nodes, each with `op` and
    `input`: {"h_new_0":{"input":["node_0"],"op":"activation_tanh"},"node_0":{"input":["h_prev_0",
    "x"],"op":"linear"}}. Inputs are x, h_prev_0 to h_prev_2 and nodes; h_new_0 to h_new_2 are the
    new states. Here keys are sorted, and inputs too, but for blend(g, a, b) = g a + (1 - g) b.

    A recipe belongs to the space if it has a new state for each old one, x enters linear nodes
    only, x and every old state are read, and no more than `nodes` nodes lead to a new state; others
    are dropped. The benchmark's draws keep old states from entering new ones directly, and so does
    `sample`; its own GRU has such an edge, so the space has too.

    One change is another operation on the same inputs (of a blend: their order too), another
    source of an input or of a new state, an input of a linear node more or less, or, on the way to
    an input or a new state, a linear or activation node more or less. What `sample` and
    `neighbours` give is canonical.

    Attributes:
        nodes: Nodes that a cell may have, 8 to 24; the benchmark's bound where None.
    """

    about: ClassVar[str] = (
        "recurrent cells of 24 nodes and 3 hidden states (Klyuchnikov et al. 2020)"
    )
    nodes: int | None = None

    vocabulary = ("input", *_PLAIN, *_BLENDS.values(), "state", "output")

    def __post_init__(self) -> None:
        if self.nodes is not None and not _LEAST <= self.nodes <= NODES:
            raise BadValueError(f"nodes must be {_LEAST} to {NODES}, got {self.nodes}")

    @property
    def most(self) -> int:
        """Nodes that a cell may have."""
        return NODES if self.nodes is None else self.nodes

    @property
    def most_nodes(self) -> int:  # type: ignore[override]
        """Nodes of the largest graph: sources, nodes, two further states, output."""
        return 1 + STATES + self.most + STATES - 1 + 1

    @property
    def size(self) -> int | None:
        """Not known."""
        return None

    def check(self, arch: str) -> str:
        """Give back the recipe without unused nodes, under its own names; see `Space`."""
        return self._read(arch)[1]

    def cell(self, arch: str) -> Cell:
        """The cell as numbered nodes.

        Raises:
            BadValueError: No architecture of this space.
        """
        return self._read(arch)[0]

    def _read(self, arch: str) -> tuple[Cell, str]:
        cell, text = parsed(_parse, arch, self)
        if len(cell.nodes) > self.most:
            raise not_in_space(arch, self, f"it has {len(cell.nodes)} nodes, {self.most} at most")
        return cell, text

    def sample(self, rng: np.random.Generator) -> str:
        """Draw as the benchmark does, until the cell is valid and small enough.

        One to three states, then 7, 14 or 21 further nodes one after another: with weights 3, 1, 1,
        1 a linear node of two or three inputs (4 to 1) among x, old states and activations and
        an activation on it, or a blend, product or sum of old states and nodes. States are
        nodes drawn at the end; what does not lead to them is dropped.
        """
        random = Random(int(rng.integers(1 << 62)))
        while True:
            states, size, cell = random.randint(1, STATES), random.choice(_SIZES), None
            while cell is None:
                cell = draw(random, states, size)
            if len(cell.nodes) <= self.most:
                return _text(canonical_cell(cell))

    def neighbours(self, arch: str) -> list[str]:
        """Canonical cells one change away, often several hundred; see the class."""
        return list(_near(canonical_cell(self.cell(arch)), self.most))

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Draw a change; neighbours that several changes lead to come more often."""
        cell = canonical_cell(self.cell(arch))
        ways = _ways(cell, self.most)
        for _ in range(100):
            near = canonical_cell(ways[int(rng.integers(len(ways)))])
            if near != cell:
                return _text(near)
        return _text(cell)

    def canonical(self, arch: str) -> str:
        """The cell under names that depend on its structure alone."""
        return _text(canonical_cell(self.cell(arch)))

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode the canonical cell; see `Space`.

        `one_hot`: edges between four sources and `nodes` nodes, the upper triangle row by row;
        then seven bits for each node's operation; then three that tell which new state it is.
        `adjacency`: the edges, the numbers of the operations from 1, and those of the states
        from 1. The order of a blend's inputs is not encoded (as in NASLib).
        """
        if how not in ("one_hot", "adjacency"):
            raise no_encoding(how, self, ("one_hot", "adjacency"))
        cell = canonical_cell(self.cell(arch))
        total = 1 + STATES + self.most
        shift = 1 + STATES - cell.first  # old states that this cell does not have
        edges = np.zeros((total, total), dtype=np.float32)
        operations = np.zeros((self.most, len(OPERATIONS)), dtype=np.float32)
        states = np.zeros((self.most, STATES), dtype=np.float32)
        for k, (name, inputs) in enumerate(cell.nodes):
            for source in inputs:
                edges[source + shift * (source >= cell.first), 1 + STATES + k] = 1
            operations[k, OPERATIONS.index(name)] = 1
        for number, source in enumerate(cell.states):
            states[source - cell.first, number] = 1
        flat = edges[np.triu_indices(total, 1)]
        if how == "one_hot":
            return np.concatenate((flat, operations.ravel(), states.ravel()))
        numbers = (table @ np.arange(1, table.shape[1] + 1) for table in (operations, states))
        return np.concatenate((flat, *numbers)).astype(np.float32)

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """One graph: x and the old states as inputs, nodes, and the output that takes h_new_0.

        h_new_1 and h_new_2 go through a node `state` each, so that the graph tells them apart,
        and labels of blends tell the order of their inputs. AG-Net's graphs have neither (nine
        labels instead of 15), so that several cells share one.
        """
        return (_graph(self.cell(arch)),)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Cell of a graph; see `Space`."""
        cell = _from_graph(graphs[0]) if len(graphs) == 1 else None
        return None if cell is None or len(cell.nodes) > self.most else _text(cell)


def _names(cell: Cell) -> list[str]:
    names = [base_name(source) for source in range(cell.first)]
    inner = 0
    for number in range(cell.first, cell.first + len(cell.nodes)):
        if number in cell.states:
            names.append(f"h_new_{cell.states.index(number)}")
        else:
            names.append(f"node_{inner}")
            inner += 1
    return names


def _text(cell: Cell) -> str:
    return _printed(cell, _names(cell))


def _printed(cell: Cell, names: list[str]) -> str:
    recipe = {}
    for number, (name, inputs) in enumerate(cell.nodes, start=cell.first):
        read = [names[source] for source in inputs]
        recipe[names[number]] = {"input": read if name == "blend" else sorted(read), "op": name}
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=1 << 14)
def _parse(arch: str) -> tuple[Cell, str]:
    """Cell of a recipe and its text; ValueError says what is wrong."""
    recipe = _recipe(arch)
    count = sum(_NEW.fullmatch(name) is not None for name in recipe)
    news = [f"h_new_{k}" for k in range(count)]
    if not 1 <= count <= STATES or not set(news) <= set(recipe):
        raise ValueError(f"it needs the new states h_new_0 to at most h_new_{STATES - 1}")
    names = [*map(base_name, range(count + 1)), *sorted(recipe)]
    place = {name: number for number, name in enumerate(names)}
    if len(place) < len(names):
        raise ValueError("a node has the name of an input")
    nodes = {place[name]: _node(name, entry, place) for name, entry in recipe.items()}
    states, rank = tuple(place[name] for name in news), {number: number for number in nodes}
    cell = arranged(states, nodes, rank)
    broken = flaw(cell)
    if broken:
        raise ValueError(broken)
    order = in_order(states, nodes, rank)
    return cell, _printed(cell, names[: cell.first] + [names[number] for number in order])


def _recipe(arch: str) -> dict[str, Any]:
    if len(arch) > _LONGEST:
        raise ValueError(f"a recipe has at most {_LONGEST} characters, got {len(arch)}")
    try:
        recipe = json.loads(arch, object_pairs_hook=_without_repetition)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    match recipe:
        case dict():
            return recipe
    raise ValueError(f"expected an object of nodes, got {type(recipe).__name__}")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands twice")
    return dict(pairs)


def _node(name: str, entry: object, place: dict[str, int]) -> Node:
    match entry:
        case {"op": str() as op, "input": list() as read, **rest} if not rest:
            if op not in OPERATIONS:
                raise ValueError(str(unknown_name("operation", op, OPERATIONS)))
            for source in read:
                if not isinstance(source, str) or source not in place:
                    raise ValueError(f"{name} reads {source!r}, which is nowhere")
            return op, tuple(place[source] for source in read)
    raise ValueError(f"{name} needs an op and a list input, got {entry!r}")


@lru_cache(maxsize=256)
def _ways(cell: Cell, most: int) -> tuple[Cell, ...]:
    return tuple(changes(cell, most))


@lru_cache(maxsize=1 << 10)
def _near(cell: Cell, most: int) -> tuple[str, ...]:
    found = dict.fromkeys(canonical_cell(way) for way in _ways(cell, most))
    return tuple(_text(near) for near in found if near != cell)


def _graph(cell: Cell) -> Graph:
    labels = ["input"] * cell.first
    edges = []
    for number, (name, inputs) in enumerate(cell.nodes, start=cell.first):
        roles = dict(zip(inputs, "gab", strict=False))
        order = tuple(roles[source] for source in sorted(inputs))
        labels.append(_BLENDS[order] if name == "blend" else name)
        edges += [(source, number) for source in inputs]
    end = cell.first + len(cell.nodes) + len(cell.states) - 1
    for k, source in enumerate(cell.states[1:], start=len(labels)):
        edges += [(source, k), (k, end)]
    edges.append((cell.states[0], end))
    labels += ["state"] * (len(cell.states) - 1)
    return Graph((*labels, "output"), tuple(sorted(edges)))


def _from_graph(graph: Graph) -> Cell | None:
    first = next((k for k, label in enumerate(graph.nodes) if label != "input"), 0)
    end = len(graph.nodes) - 1
    inner = end - (first - 2)  # one state less than old states goes through a node
    if not 2 <= first <= STATES + 1 or inner <= first:
        return None
    nodes = {k: _labelled(graph, k) for k in range(first, inner)}
    given = [tuple(s for s, e in graph.edges if e == k) for k in range(inner, end)]
    given.append(tuple(s for s, e in graph.edges if e == end and s < inner))
    if any(len(sources) != 1 for sources in given) or None in nodes.values():
        return None
    states = (given[-1][0], *(sources[0] for sources in given[:-1]))
    if len(set(states)) < len(states) or not set(states) <= set(nodes):
        return None
    whole = {k: node for k, node in nodes.items() if node is not None}
    cell = arranged(states, whole, {k: k for k in whole})
    same = len(cell.nodes) == len(whole) and not flaw(cell) and _graph(cell) == graph
    return cell if same else None


def _labelled(graph: Graph, number: int) -> Node | None:
    label = graph.nodes[number]
    sources = tuple(start for start, end in graph.edges if end == number)
    if label in _PLAIN:
        return label, sources
    for order, name in _BLENDS.items():
        if label == name and len(sources) == len(order):
            return "blend", tuple(sources[order.index(role)] for role in "gab")
    return None
