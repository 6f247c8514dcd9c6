"""NAS-Bench-201: its strings, ids, classes and encodings."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.search.spaces import space_of

SPACE = space_of("nb201")
# Architecture 0 of every release of the benchmark.
FIRST = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)
CONVOLUTIONS = SPACE.text(("nor_conv_3x3",) * 6)


def test_sizes():
    assert SPACE.size == 15_625
    assert space_of("nb201(unique=True)").size == 6_466
    assert space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])").size == 729


def test_the_first_id_is_the_published_one():
    assert SPACE.from_id(0) == FIRST
    assert SPACE.id_of(FIRST) == 0


def test_ids_and_strings_go_both_ways():
    assert all(SPACE.id_of(arch) == number for number, arch in enumerate(SPACE.everything()))


@pytest.mark.parametrize("number", [-1, 15_625])
def test_there_is_no_other_id(number):
    with pytest.raises(BadValueError, match="0 to 15624"):
        SPACE.from_id(number)


def test_a_skip_connection_moves_nothing():
    one = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
    other = "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"

    assert SPACE.canonical(one) == SPACE.canonical(other)


def test_another_operation_makes_another_class():
    one = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"

    assert SPACE.canonical(one) != SPACE.canonical(one.replace("3x3", "1x1"))


def test_what_the_output_cannot_see_makes_no_class_of_its_own():
    one = "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    other = "|avg_pool_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"

    assert SPACE.canonical(one) == SPACE.canonical(other)


def test_the_representative_has_the_smallest_id_of_its_class():
    for arch in list(SPACE.everything())[::37]:
        assert SPACE.id_of(SPACE.canonical(arch)) <= SPACE.id_of(arch)


def test_a_reduced_space_has_representatives_of_its_own():
    reduced = space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])")

    assert all(set(reduced.cell(reduced.canonical(arch))) <= set(reduced.choices)
               for arch in reduced.everything())  # fmt: skip


def test_a_cell_has_24_neighbours_and_a_reduced_one_12():
    assert len(SPACE.neighbours(CONVOLUTIONS)) == 24
    reduced = space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])")
    assert len(reduced.neighbours(CONVOLUTIONS)) == 12


def test_unique_draws_representatives_evenly():
    unique = space_of("nb201(unique=True)")
    rng = np.random.default_rng(0)
    drawn = [unique.sample(rng) for _ in range(4_000)]

    assert all(unique.canonical(arch) == arch for arch in drawn)
    # Four thousand even draws of 6,466 hit about 6466 (1 - exp(-4000 / 6466)) = 2,983 classes.
    assert 2_850 < len(set(drawn)) < 3_120


def test_paths_of_a_cell_by_hand():
    encoded = SPACE.encode(CONVOLUTIONS, "path")

    assert len(encoded) == 5 + 25 + 125
    # nor_conv_3x3 is operation 3: one path of one edge, two of two that are equal, one of three.
    assert np.flatnonzero(encoded).tolist() == [3, 5 + 18, 5 + 25 + 93]


def test_paths_of_a_cell_without_two_equal_edges_by_hand():
    """Edges 01 02 12 03 13 23 carry operations 2 3 4 1 0 2 of five."""
    cell = "|nor_conv_1x1~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    direct, first, second, long = 1, 5 + 10, 5 + 17, 30 + 72

    assert np.flatnonzero(SPACE.encode(cell, "path")).tolist() == [direct, first, second, long]


def test_one_hot_and_adjacency_by_hand():
    cell = "|none~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"

    assert np.flatnonzero(SPACE.encode(cell)).tolist() == [0, 6, 10, 15, 20, 29]
    assert np.flatnonzero(SPACE.encode(cell, "adjacency")).tolist() == [4, 23]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|", "did you mean nor_conv"),
        ("|none~0|+|none~0|none~1|", "expected"),
        ("", "expected"),
        (None, "expected"),
        (7, "expected"),
    ],
)
def test_a_string_that_is_no_cell_is_refused(text, why):
    with pytest.raises(BadValueError, match=why):
        SPACE.check(text)


def test_an_operation_outside_a_reduced_space_is_refused():
    with pytest.raises(BadValueError, match="it uses avg_pool_3x3"):
        space_of("nb201(operations=[none, skip_connect])").check(
            FIRST.replace("nor_conv_1x1", "none")
        )


def test_operations_must_be_known_and_several():
    with pytest.raises(UnknownNameError, match="conv"):
        space_of("nb201(operations=[none, conv])")
    with pytest.raises(BadValueError, match="two or more"):
        space_of("nb201(operations=[none, none])")


def test_a_child_takes_each_edge_from_a_parent():
    rng = np.random.default_rng(0)
    child = SPACE.cell(SPACE.cross(FIRST, CONVOLUTIONS, rng))

    assert all(op in pair for op, *pair in
               zip(child, SPACE.cell(FIRST), SPACE.cell(CONVOLUTIONS), strict=True))  # fmt: skip


def test_another_flow_is_no_cell():
    graph = SPACE.graphs(FIRST)[0]

    assert SPACE.from_graphs((type(graph)(graph.nodes, graph.edges[1:]),)) is None
    assert SPACE.from_graphs((type(graph)(("output", *graph.nodes[1:]), graph.edges),)) is None
