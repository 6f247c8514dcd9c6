"""DARTS: published genotypes, orders of nodes, steps, encodings, graphs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.models.cost import count_parameters
from holdfast.search.spaces.darts import OPERATIONS, Darts

SPACE = Darts()
# The second-order result of Liu et al. 2019.
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def printed(normal, reduce):
    return (
        f"Genotype(normal={normal}, normal_concat=[2, 3, 4, 5], "
        f"reduce={reduce}, reduce_concat=[2, 3, 4, 5])"
    )


def relabelled(cell, order):
    """Cell with node k at the place order[k]; None where a node comes before one that it reads."""
    place = {0: 0, 1: 1} | {2 + k: 2 + order[k] for k in range(4)}
    nodes = [[(name, place[s]) for name, s in cell[2 * k : 2 * k + 2]] for k in range(4)]
    moved = [pair for _, node in sorted(zip(order, nodes, strict=True)) for pair in node[::-1]]
    valid = all(source < 2 + k // 2 for k, (_, source) in enumerate(moved))
    return moved if valid else None


def named(arch):
    return [[(OPERATIONS[op], source) for op, source in cell] for cell in SPACE.cells(arch)]


def sources_of(arch):
    return [[source for _, source in cell] for cell in SPACE.cells(arch)]


def test_a_published_genotype_is_printed_as_it_was():
    assert V2 == SPACE.check(V2)


def test_ranges_and_tuples_and_spaces_are_read_as_lists():
    other = V2.replace("[2, 3, 4, 5]", "range(2, 6)", 1).replace("[2, 3, 4, 5]", "(2,3,4,5)")
    assert V2 == SPACE.check(f"\n{other.replace(', ', ' ,')}\n".strip())


def test_the_network_of_a_published_genotype_has_the_published_parameters():
    assert 3_349_342 == count_parameters(SPACE.build(V2))


def test_the_space_has_the_size_that_its_choices_give():
    choices = [len(list(itertools.combinations(range(node), 2))) * 49 for node in range(2, 6)]
    assert np.prod(choices, dtype=object) ** 2 == SPACE.size == 1_076_746_950_455_072_400


def test_every_order_of_nodes_has_one_representative():
    changed = 0
    for arch in samples(40):
        normal, reduce = named(arch)
        for order in itertools.permutations(range(4)):
            moved = relabelled(normal, order)
            if moved is not None:
                other = printed(moved, reduce)
                assert SPACE.canonical(arch) == SPACE.canonical(other)
                changed += order != (0, 1, 2, 3)
    assert changed > 0


def test_cells_that_differ_in_an_operation_have_two_representatives():
    sources = [[s for _, s in cell] for cell in named(V2)]
    near = [
        arch for arch in SPACE.neighbours(V2) if sources == [[s for _, s in c] for c in named(arch)]
    ]
    assert 96 == len(near)
    assert SPACE.canonical(V2) not in {SPACE.canonical(other) for other in near}


def test_the_reduction_cell_is_not_the_normal_cell():
    normal, reduce = named(V2)
    assert SPACE.canonical(V2) != SPACE.canonical(printed(reduce, normal))


def test_a_genotype_has_120_neighbours_and_steps_go_both_ways():
    for arch in [V2, *samples(2)]:
        near = SPACE.neighbours(arch)
        assert 120 == len(set(near))
        assert all(arch in SPACE.neighbours(other) for other in near)


def test_a_child_has_every_node_of_a_parent():
    first, second = samples(2)
    child = SPACE.cross(first, second, np.random.default_rng(0))
    for a, b, c in zip(SPACE.cells(first), SPACE.cells(second), SPACE.cells(child), strict=True):
        assert all(c[k : k + 2] in (a[k : k + 2], b[k : k + 2]) for k in range(0, 8, 2))
    assert child not in (first, second)


def test_a_pair_is_one_bit_on_its_edge():
    encoded = SPACE.encode(V2).reshape(2, 14, 7)
    assert [1, 1] == [encoded[0, 0, 3], encoded[0, 1, 3]]  # node 2 reads 0 and 1 by sep_conv_3x3
    assert 8 == encoded[0].sum() == encoded[1].sum()


def test_the_order_of_a_nodes_two_edges_is_not_encoded():
    other = V2.replace(
        "('sep_conv_3x3', 1), ('skip_connect', 0)", "('skip_connect', 0), ('sep_conv_3x3', 1)"
    )
    for how in ("one_hot", "adjacency", "path"):
        assert SPACE.encode(V2, how).tolist() == SPACE.encode(other, how).tolist()
    assert SPACE.canonical(other) == SPACE.canonical(V2)


def test_paths_are_those_of_the_inputs_to_all_nodes():
    normal = SPACE.encode(V2, "path")[:5600]
    # By input and operations: sep from 0 and 1, skip from 0, then dil after each sep of node 2.
    expected = {3, 7 + 3, 2, 14 + 3 * 7 + 5, 14 + (7 + 3) * 7 + 5}
    assert expected == set(np.flatnonzero(normal).tolist())


def test_graphs_have_the_published_shape():
    normal, _ = SPACE.graphs(V2)
    assert 11 == len(normal.nodes) == SPACE.most_nodes
    assert ((0, 2), (0, 4), (0, 7), (0, 8)) == tuple(e for e in normal.edges if e[0] == 0)
    assert [(2, 9), (3, 9)] == [e for e in normal.edges if e[1] == 9]  # reads node 2


def test_graphs_lead_back_to_the_very_genotype():
    for arch in [V2, *samples(30)]:
        assert arch == SPACE.from_graphs(SPACE.graphs(arch))


def test_no_other_graph_has_a_genotype():
    normal, reduce = SPACE.graphs(V2)
    for start, end in itertools.combinations(range(11), 2):
        edges = set(normal.edges) ^ {(start, end)}
        other = replace(normal, edges=tuple(sorted(edges)))
        found = SPACE.from_graphs((other, reduce))
        assert found is None or SPACE.graphs(found) == (other, reduce)
    assert SPACE.from_graphs((normal,)) is None
    assert SPACE.from_graphs((replace(normal, nodes=(*normal.nodes[:-1], "input")), reduce)) is None


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("", "expected Genotype"),
        ("Genotype(", "expected Genotype"),
        ("(" * 1900, "expected Genotype"),
        ("Genotype()", "expected the fields"),
        (V2.replace("normal_concat", "normal"), "expected"),
        (V2.replace("sep_conv_3x3", "sep_conv_7x7"), "no operation named 'sep_conv_7x7'"),
        (V2.replace("concat=[2, 3, 4, 5]", "concat=[3, 4, 5]", 1), "normal_concat must be"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "reads one source twice"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"), "source of 0 to 4"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3',)"), "pair 7 of normal"),
        (V2.replace("('dil_conv_3x3', 2)", "open('a')"), "list of constants"),
        (V2.replace(", ('dil_conv_3x3', 2)", ""), "list of 8"),
        (V2 + "x" * 3000, "up to 2000 characters"),
        (V2.replace("sep", "\\d"), "backslash"),
        (None, "a text is expected"),
    ],
)
def test_what_is_no_genotype_is_refused(arch, why):
    with pytest.raises(BadValueError, match=why):
        SPACE.check(arch)


def test_an_unknown_encoding_is_refused():
    with pytest.raises(BadValueError, match="known: one_hot, adjacency, path"):
        SPACE.encode(V2, "words")
