"""Recurrent cells of NAS-Bench-NLP as numbered nodes: checked, put in order, changed and drawn."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from random import Random

ACTIVATIONS = ("activation_tanh", "activation_sigm", "activation_leaky_relu")
OPERATIONS = ("linear", "blend", "elementwise_prod", "elementwise_sum", *ACTIVATIONS)
STATES = 3  # hidden states at most
# How many inputs an operation takes; a linear node sums a matrix times each of its inputs.
INPUTS = {
    "linear": (1, 2, 3),
    "blend": (3,),
    "elementwise_prod": (2,),
    "elementwise_sum": (2,),
    **dict.fromkeys(ACTIVATIONS, (1,)),
}
_X = 0

Node = tuple[str, tuple[int, ...]]  # operation and where its inputs come from


@dataclass(frozen=True)
class Cell:
    """A recurrent cell; sources are numbers: 0 is x, 1 to S the old states, then the nodes.

    Attributes:
        states: Which source becomes each new state; none twice.
        nodes: In topological order. Inputs are sorted, but for blend, where the order matters:
            blend(g, a, b) = g a + (1 - g) b.
    """

    states: tuple[int, ...]
    nodes: tuple[Node, ...]

    @property
    def first(self) -> int:
        """Source number of the first node."""
        return 1 + len(self.states)

    @cached_property
    def uses(self) -> tuple[int, ...]:
        """How often each source is read, as a new state too."""
        counts = [0] * (self.first + len(self.nodes))
        for source in (*self.states, *(s for _, inputs in self.nodes for s in inputs)):
            counts[source] += 1
        return tuple(counts)


def flaw(cell: Cell) -> str:
    """What a cell without unused nodes breaks; empty where it is valid."""
    for name, inputs in cell.nodes:
        if len(inputs) not in INPUTS[name] or len(set(inputs)) < len(inputs):
            known = " or ".join(map(str, INPUTS[name]))
            return f"{name} takes {known} different inputs, got {len(inputs)}"
        if _X in inputs and name != "linear":
            return f"x may only enter linear nodes, here it enters {name}"
    idle = [source for source in range(cell.first) if not cell.uses[source]]
    return f"it never reads {', '.join(base_name(s) for s in idle)}" if idle else ""


def base_name(source: int) -> str:
    """Name of x or of an old state."""
    return "x" if source == _X else f"h_prev_{source - 1}"


def in_order(states: tuple[int, ...], nodes: dict[int, Node], rank: dict[int, int]) -> list[int]:
    """Numbers of the nodes that lead to a state, in topological order, ties by rank.

    Raises:
        ValueError: A circle.
    """
    first = 1 + len(states)
    needed, queue = set(states), list(states)
    while queue:
        fresh = {s for s in nodes[queue.pop()][1] if s >= first} - needed
        needed |= fresh
        queue += fresh
    readers: dict[int, list[int]] = {number: [] for number in needed}
    missing = {}
    for number in needed:
        inside = [source for source in nodes[number][1] if source >= first]
        missing[number] = len(inside)
        for source in inside:
            readers[source].append(number)
    ready = [(rank[number], number) for number, count in missing.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        order.append(heapq.heappop(ready)[1])
        for reader in readers[order[-1]]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, (rank[reader], reader))
    if len(order) < len(needed):
        raise ValueError("its nodes form a circle")
    return order


def arranged(states: tuple[int, ...], nodes: dict[int, Node], rank: dict[int, int]) -> Cell:
    """Cell of nodes under any numbers, in the order of `in_order`; unused ones are dropped."""
    first = 1 + len(states)
    order = in_order(states, nodes, rank)
    place = {source: source for source in range(first)}
    place |= {number: first + k for k, number in enumerate(order)}
    moved = ((nodes[n][0], tuple(place[s] for s in nodes[n][1])) for n in order)
    return Cell(tuple(place[s] for s in states), tuple(map(_sorted_inputs, moved)))


def _sorted_inputs(node: Node) -> Node:
    name, inputs = node
    return node if name == "blend" else (name, tuple(sorted(inputs)))


@lru_cache(maxsize=1 << 16)
def canonical_cell(cell: Cell) -> Cell:
    """The same cell with its nodes in an order that does not depend on the order given.

    Nodes are coloured by what they are, read and are read by, until nothing changes. Where nodes
    stay alike, each in turn is told apart and the smallest result counts.
    """
    starts = [(-1, source) for source in range(cell.first)]
    state = {source: k for k, source in enumerate(cell.states)}
    for k, (name, _) in enumerate(cell.nodes):
        starts.append((OPERATIONS.index(name), state.get(cell.first + k, STATES)))
    return min(_orders(cell, _ranks(starts)), key=lambda found: (found.states, found.nodes))


def _orders(cell: Cell, colours: list[int]) -> Iterator[Cell]:
    colours = _refined(cell, colours)
    groups: dict[int, list[int]] = {}
    for number, colour in enumerate(colours):
        groups.setdefault(colour, []).append(number)
    alike = next((groups[colour] for colour in sorted(groups) if len(groups[colour]) > 1), None)
    if alike is None:
        nodes = {cell.first + k: node for k, node in enumerate(cell.nodes)}
        yield arranged(cell.states, nodes, dict(enumerate(colours)))
        return
    tried: set[object] = set()
    for number in alike:
        twin = _surroundings(cell, number)  # exchanging twins changes nothing
        if twin not in tried:
            tried.add(twin)
            apart = [2 * colour + 1 for colour in colours]
            apart[number] -= 1
            yield from _orders(cell, apart)


def _surroundings(cell: Cell, number: int) -> object:
    readers = tuple(
        (k, inputs.index(number) if name == "blend" else -1)
        for k, (name, inputs) in enumerate(cell.nodes)
        if number in inputs
    )
    return cell.nodes[number - cell.first], readers


def _refined(cell: Cell, colours: list[int]) -> list[int]:
    while True:
        seen: list[tuple[object, ...]] = [(colour,) for colour in colours]
        readers: list[list[tuple[int, int]]] = [[] for _ in colours]
        for k, (name, inputs) in enumerate(cell.nodes, start=cell.first):
            seen[k] = (colours[k], *sorted(colours[s] for s in inputs))
            for place, source in enumerate(inputs):
                readers[source].append((colours[k], place if name == "blend" else -1))
        finer = _ranks([(seen[k], *sorted(read)) for k, read in enumerate(readers)])
        if finer == colours:
            return colours
        colours = finer


def _ranks(keys: Sequence[tuple[object, ...]]) -> list[int]:
    order = {key: place for place, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def changes(cell: Cell, most: int) -> Iterator[Cell]:
    """Valid cells one change away, with repetitions, in any order of nodes.

    Args:
        cell: A valid cell.
        most: Nodes that a cell may have.
    """
    nodes = {cell.first + k: node for k, node in enumerate(cell.nodes)}
    below = _below(cell)
    for number, (name, inputs) in nodes.items():
        for node in (*_other_operations(name, inputs), *_other_inputs(cell, number, below)):
            yield from _valid(cell.states, {**nodes, number: node})
        for place, source in enumerate(inputs if len(nodes) < most else ()):
            read = (*inputs[:place], max(nodes) + 1, *inputs[place + 1 :])
            yield from _longer(cell.states, {**nodes, number: (name, read)}, source)
        yield from _shorter(cell, nodes, number)
    for place, old in enumerate(cell.states):
        yield from _other_states(cell, nodes, place)
        if len(nodes) < most:
            states = (*cell.states[:place], max(nodes) + 1, *cell.states[place + 1 :])
            yield from _longer(states, nodes, old)


def _other_states(cell: Cell, nodes: dict[int, Node], place: int) -> Iterator[Cell]:
    """Another node becomes the new state of this place."""
    if cell.uses[cell.states[place]] > 1:
        for other in sorted(nodes.keys() - set(cell.states)):
            yield from _valid((*cell.states[:place], other, *cell.states[place + 1 :]), nodes)


def _valid(states: tuple[int, ...], nodes: dict[int, Node]) -> Iterator[Cell]:
    """The cell of these nodes, if it is valid and uses all of them."""
    read = {s for _, inputs in nodes.values() for s in inputs} | set(states)
    if len(read) == 1 + len(states) + len(nodes):
        found = arranged(states, nodes, {number: number for number in nodes})
        if len(found.nodes) == len(nodes) and not flaw(found):
            yield found


def _other_operations(name: str, inputs: tuple[int, ...]) -> Iterator[Node]:
    for other, counts in INPUTS.items():
        if len(inputs) in counts and other == "blend":
            yield from ((other, order) for order in permutations(inputs) if order != inputs)
            if name != "blend":
                yield other, inputs
        elif len(inputs) in counts and other != name:
            yield other, inputs


def _other_inputs(cell: Cell, number: int, below: list[set[int]]) -> Iterator[Node]:
    name, inputs = cell.nodes[number - cell.first]
    free = [
        source
        for source in range(0 if name == "linear" else 1, cell.first + len(cell.nodes))
        if source not in inputs and source != number and source not in below[number]
    ]
    for place, old in enumerate(inputs):
        if cell.uses[old] > 1:
            yield from ((name, (*inputs[:place], s, *inputs[place + 1 :])) for s in free)
            if name == "linear" and len(inputs) > 1:
                yield name, (*inputs[:place], *inputs[place + 1 :])
    if name == "linear" and len(inputs) < max(INPUTS[name]):
        yield from ((name, (*inputs, source)) for source in free)


def _longer(states: tuple[int, ...], nodes: dict[int, Node], source: int) -> Iterator[Cell]:
    """A linear or activation node more, of the next number, that reads `source`."""
    new = 1 + len(states) + len(nodes)
    for op in ("linear", *ACTIVATIONS):
        yield from _valid(states, {**nodes, new: (op, (source,))})


def _shorter(cell: Cell, nodes: dict[int, Node], number: int) -> Iterator[Cell]:
    """A node less that has one input and is read once."""
    _, inputs = nodes[number]
    if len(inputs) != 1 or cell.uses[number] != 1:
        return
    source = inputs[0]
    if number in cell.states and (source < cell.first or source in cell.states):
        return
    # The last number takes the place of the one that goes, so that numbers stay without a gap.
    last = max(nodes)
    swap = {last: number}
    swap[number] = swap.get(source, source)
    kept = {
        swap.get(other, other): (name, tuple(swap.get(s, s) for s in sources))
        for other, (name, sources) in nodes.items()
        if other != number
    }
    yield from _valid(tuple(swap.get(s, s) for s in cell.states), kept)


def _below(cell: Cell) -> list[set[int]]:
    """Nodes that depend on each source."""
    below: list[set[int]] = [set() for _ in range(cell.first + len(cell.nodes))]
    for k in range(len(cell.nodes) - 1, -1, -1):
        number = cell.first + k
        for source in cell.nodes[k][1]:
            below[source] |= {number} | below[number]
    return below


def draw(random: Random, states: int, size: int) -> Cell | None:
    """Draw as the benchmark does (see `NLP.sample`); None where the draw is not valid.

    Args:
        random: Where chance comes from.
        states: Hidden states.
        size: Nodes besides the new states, before unused ones are dropped.
    """
    first = 1 + states
    nodes: dict[int, Node] = {}
    active: list[int] = []
    while len(nodes) < states + size:
        new = first + len(nodes)
        name = random.choices(OPERATIONS[:4], weights=(3, 1, 1, 1))[0]
        if name == "linear":
            pool = [*range(first), *active]
            count = min(random.choices((2, 3), weights=(4, 1))[0], len(pool))
            nodes[new] = (name, tuple(random.sample(pool, count)))
            nodes[new + 1] = (random.choice(ACTIVATIONS), (new,))
            active.append(new + 1)
            continue
        pool = list(range(1, new))
        if len(pool) >= INPUTS[name][0]:
            nodes[new] = (name, tuple(random.sample(pool, INPUTS[name][0])))
    chosen = tuple(random.sample(sorted(nodes), states))
    direct = any(0 < source < first for state in chosen for source in nodes[state][1])
    cell = arranged(chosen, nodes, {number: number for number in nodes})
    return None if direct or flaw(cell) else cell
