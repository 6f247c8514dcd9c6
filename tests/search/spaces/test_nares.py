"""The space of NARes."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of

SPACE = space_of("nares")
WRN_34_10 = "Arch(D1=5, W1=10, D2=5, W2=10, D3=5, W3=10)"


def test_there_are_15625_networks_all_of_the_space_and_different():
    everything = list(SPACE.everything())
    assert len(set(everything)) == len(everything) == SPACE.size == 15_625
    assert all(SPACE.check(arch) == arch for arch in everything[::97])


def test_every_network_has_24_neighbours_and_is_one_of_theirs():
    near = SPACE.neighbours(WRN_34_10)
    assert len(set(near)) == 24
    assert all(WRN_34_10 in SPACE.neighbours(arch) for arch in near)


def test_encoding_has_one_bit_a_number_and_differs_by_two_between_neighbours():
    own = SPACE.encode(WRN_34_10)
    assert own.shape == (30,)
    assert own.reshape(6, 5).sum(1).tolist() == [1] * 6
    assert {np.abs(own - SPACE.encode(a)).sum() for a in SPACE.neighbours(WRN_34_10)} == {2}


def test_graphs_go_back_to_their_network():
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = SPACE.sample(rng)
        assert SPACE.from_graphs(SPACE.graphs(arch)) == arch


def test_a_graph_with_depth_and_width_exchanged_is_no_network():
    (graph,) = SPACE.graphs(WRN_34_10)
    nodes = ("input", "width10", *graph.nodes[2:])
    assert SPACE.from_graphs((type(graph)(nodes, graph.edges),)) is None


def test_order_and_blanks_do_not_matter():
    assert SPACE.check("Arch(W1=10,D1=5, D2=5,W2=10,D3=5,W3=10) ") == WRN_34_10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("WRN-34-10", "expected Arch"),
        ("Arch(D1=5)", "expected the parts"),
        (WRN_34_10.replace("D2=5", "D2=6"), "D2 must be one of 4, 5, 7, 9, 11, got 6"),
        (5, "expected Arch"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(BadValueError, match="is no architecture of nares") as caught:
        SPACE.check(text)
    assert message in str(caught.value)
