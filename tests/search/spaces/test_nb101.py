"""NAS-Bench-101: published hashes and counts, orders of vertices, steps, encodings."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import Graph, space_of
from holdfast.search.spaces.nb101 import NB101

SPACE = NB101()
C1, C3, POOL = "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"
# A row of the published table: its matrix, its operations and its hash.
ROW_MATRIX = [
    [0, 1, 0, 0, 1, 1, 0],
    [0, 0, 1, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 1],
    [0, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0],
]
ROW_OPERATIONS = ["input", C3, POOL, C3, C3, C1, "output"]
ROW_HASH = "00005c142e6f48ac74fdcf73e3439874"
ROW = f"100110100001001010101|{C3},{POOL},{C3},{C3},{C1}"


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def drawn_graph(arch):
    return SPACE.graphs(arch)[0]


def relabelled(arch, rng):
    """The same module with its vertices in another topological order."""
    graph = drawn_graph(arch)
    left, order = set(range(len(graph.nodes))), []
    while left:
        ready = [v for v in sorted(left) if not any(e == v and s in left for s, e in graph.edges)]
        ready = [v for v in ready if v != len(graph.nodes) - 1] or ready
        order.append(ready[int(rng.integers(len(ready)))])
        left.remove(order[-1])
    place = {vertex: k for k, vertex in enumerate(order)}
    moved = tuple(sorted((place[s], place[e]) for s, e in graph.edges))
    return SPACE.from_graphs((Graph(tuple(graph.nodes[v] for v in order), moved),))


def whole_matrices(vertices, edges=9):
    """Upper triangular matrices, bool [N, V, V], with every vertex entered and left."""
    spots = np.triu_indices(vertices, 1)
    bits = np.arange(1 << len(spots[0]))[:, None] >> np.arange(len(spots[0])) & 1
    bits = bits[bits.sum(1) <= edges].astype(bool)
    matrices = np.zeros((len(bits), vertices, vertices), dtype=bool)
    matrices[:, spots[0], spots[1]] = bits
    entered = matrices.any(1)[:, 1:].all(1)
    left = matrices.any(2)[:, :-1].all(1)
    return matrices[entered & left]


def counted_by_burnside(vertices):
    """Modules of as many vertices that are not isomorphic, without looking at any operation.

    Each class of matrices counts the mean of 3 ** (cycles) over the orders that leave it as it is.
    """
    inner = range(1, vertices - 1)
    orders = [(0, *order, vertices - 1) for order in itertools.permutations(inner)]
    found, total = set(), 0
    for matrix in whole_matrices(vertices):
        copies = [matrix[np.ix_(order, order)].tobytes() for order in orders]
        if min(copies) in found:
            continue
        found.add(min(copies))
        same = [
            order for order, copy in zip(orders, copies, strict=True) if copy == matrix.tobytes()
        ]
        total += sum(3 ** cycles(order) for order in same) // len(same)
    return total


def cycles(order):
    """Circles of the inner part of a permutation."""
    left, count = set(order[1:-1]), 0
    while left:
        count += 1
        vertex = left.pop()
        while order[vertex] in left:
            vertex = order[vertex]
            left.remove(vertex)
    return count


def texts(vertices):
    """All modules of as many vertices in all orders."""
    for matrix in whole_matrices(vertices):
        bits = "".join(str(int(bit)) for bit in matrix[np.triu_indices(vertices, 1)])
        for operations in itertools.product((C1, C3, POOL), repeat=vertices - 2):
            yield f"{bits}|{','.join(operations)}"


def test_the_hash_of_a_published_row_is_the_published_one():
    assert ROW_HASH == SPACE.hash_of(SPACE.from_matrix(ROW_MATRIX, ROW_OPERATIONS))


def test_a_matrix_is_printed_row_by_row():
    assert ROW == SPACE.from_matrix(ROW_MATRIX, ROW_OPERATIONS)


@pytest.mark.parametrize("vertices", [2, 3, 4, 5])
def test_small_modules_are_as_many_as_an_independent_count_says(vertices):
    classes = {SPACE.canonical(text) for text in texts(vertices)}
    assert counted_by_burnside(vertices) == len(classes)


def test_modules_of_one_hash_are_those_of_one_representative():
    found = [(SPACE.hash_of(text), SPACE.canonical(text)) for text in texts(4)]
    assert len({pair[0] for pair in found}) == len({pair[1] for pair in found}) == len(set(found))


@pytest.mark.slow
def test_the_independent_count_over_all_sizes_is_the_published_one():
    assert 423_624 == SPACE.size == sum(map(counted_by_burnside, range(2, 8)))


@pytest.mark.slow
def test_the_whole_space_has_as_many_representatives_as_published():
    found = Counter(text.count(",") for v in range(2, 8) for text in texts(v) if is_first(text))
    assert 423_624 == sum(found.values())


def is_first(text):
    return SPACE.canonical(text) == text


def test_the_order_of_vertices_changes_no_representative():
    rng = np.random.default_rng(1)
    others = [(arch, relabelled(arch, rng)) for arch in samples(200)]
    assert [SPACE.canonical(other) for _, other in others] == [arch for arch, _ in others]
    assert any(other != arch for arch, other in others)


def test_the_order_of_vertices_changes_no_hash():
    rng = np.random.default_rng(2)
    others = [(arch, relabelled(arch, rng)) for arch in samples(50)]
    assert [SPACE.hash_of(a) for a, _ in others] == [SPACE.hash_of(b) for _, b in others]


def test_the_order_of_vertices_is_kept_by_check():
    assert ROW == SPACE.check(f" {ROW} ")
    assert ROW != SPACE.canonical(ROW)


def test_vertices_on_no_path_are_dropped():
    # Vertex 2 leads nowhere, vertex 3 comes from nowhere.
    assert f"101|{C1}" == SPACE.check(f"1100001001|{C1},{C3},{POOL}")


def test_input_to_output_alone_is_a_module():
    assert "1|" == SPACE.check("1|")


def test_steps_go_both_ways():
    for arch in [*samples(12), "1|", f"101|{C1}"]:
        for near in SPACE.neighbours(arch):
            assert arch in SPACE.neighbours(near), (arch, near)


def test_steps_lead_to_every_small_module():
    wanted = {SPACE.canonical(text) for v in (2, 3, 4) for text in texts(v)}
    found, queue = {"1|"}, ["1|"]
    while queue:
        near = set(SPACE.neighbours(queue.pop())) & wanted - found
        found |= near
        queue += sorted(near)
    assert wanted == found


def test_a_neighbour_is_another_module_of_the_space():
    for arch in samples(20):
        near = SPACE.neighbours(arch)
        assert len(set(near)) == len(near) and arch not in near
        assert near == [SPACE.canonical(other) for other in near]


def test_steps_from_two_orders_of_a_module_are_the_same():
    assert SPACE.neighbours(ROW) == SPACE.neighbours(SPACE.canonical(ROW))


def test_every_module_is_drawn_as_often_as_another():
    share = np.mean([arch.count(",") == 4 for arch in samples(3000)])
    small = sum(map(counted_by_burnside, range(2, 7)))
    expected = 1 - small / 423_624
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 3000)


def test_the_benchmarks_matrices_are_mostly_small():
    rng = np.random.default_rng(0)
    space = space_of("nb101(matrices=True)")
    sizes = [space.sample(rng).count(",") for _ in range(500)]
    assert np.mean([size < 4 for size in sizes]) > 0.95


def test_a_path_is_counted_by_its_operations():
    # Input to output directly, and through conv3x3 then maxpool3x3.
    encoded = SPACE.encode(f"101101|{C3},{POOL}", "path")
    assert [0, 1 + 3 + 1 * 3 + 2] == np.flatnonzero(encoded).tolist()


def test_two_orders_of_a_module_are_encoded_alike():
    rng = np.random.default_rng(3)
    for arch in samples(20):
        for how in ("one_hot", "adjacency", "path"):
            other = relabelled(arch, rng)
            assert SPACE.encode(arch, how).tolist() == SPACE.encode(other, how).tolist()


def test_modules_that_differ_are_encoded_differently():
    archs = sorted(set(samples(300)))
    encoded = {SPACE.encode(arch).tobytes() for arch in archs}
    assert len(archs) == len(encoded)


def test_missing_vertices_stand_before_the_output():
    encoded = SPACE.encode(f"101|{C3}", "adjacency")
    assert [0, 10] == np.flatnonzero(encoded[:21]).tolist()  # 0 to 1 and 1 to 6
    assert [2, 0, 0, 0, 0] == encoded[21:].tolist()


def test_a_graph_is_pruned_before_it_becomes_a_module():
    graph = Graph(("input", C1, POOL, "output"), ((0, 1), (0, 2), (1, 3)))
    assert f"101|{C1}" == SPACE.from_graphs((graph,))


@pytest.mark.parametrize(
    "graph",
    [
        Graph(("input", "output", C1), ((0, 1),)),
        Graph(("input", "none", "output"), ((0, 1), (1, 2))),
        Graph(("input", C1, "output"), ((0, 1),)),
        Graph(("input", *[C1] * 6, "output"), tuple((k, k + 1) for k in range(7))),
        Graph(("input", *[C1] * 3, "output"), tuple(itertools.combinations(range(5), 2))),
    ],
)
def test_a_graph_that_is_no_module_is_refused(graph):
    assert SPACE.from_graphs((graph,)) is None


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("", "a bar and the operations"),
        ("101", "a bar and the operations"),
        ("101|conv", "no operation named 'conv'"),
        (f"10|{C1}", "3 digits"),
        (f"102|{C1}", "3 digits"),
        (f"100|{C1}", "no path"),
        (f"{'1' * 28}|{','.join([C1] * 6)}", "8 vertices, 7 are the most"),
        (f"{'1' * 10}|{','.join([C1] * 3)}", "10 edges, 9 are the most"),
        (7, "a text is expected"),
        ([], "a text is expected"),
    ],
)
def test_what_is_no_module_is_refused(arch, why):
    with pytest.raises(BadValueError, match=why):
        SPACE.check(arch)


@pytest.mark.parametrize(
    ("matrix", "operations", "why"),
    [
        ([[0, 1], [0, 0]], ["input", C1, "output"], "a row for each"),
        ([[0, 1], [0, 0]], ["output", "input"], "a row for each"),
        ([[0, 1], [1, 0]], ["input", "output"], "not upper triangular"),
    ],
)
def test_a_matrix_that_is_no_module_is_refused(matrix, operations, why):
    with pytest.raises(BadValueError, match=why):
        SPACE.from_matrix(matrix, operations)


def test_an_unknown_encoding_is_refused():
    with pytest.raises(BadValueError, match="known: one_hot, path, adjacency"):
        SPACE.encode("1|", "words")
