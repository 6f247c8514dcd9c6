"""Laws that every search space keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import SPACES, space_of
from holdfast.search.spaces.base import ENCODINGS

EVERY = pytest.mark.parametrize("space", [space_of(name) for name in SPACES], ids=lambda s: s.spec)


def drawn(space, count=20, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


@EVERY
def test_what_is_drawn_is_a_member(space):
    assert [space.check(arch) for arch in drawn(space)] == drawn(space)


@EVERY
def test_another_seed_draws_others(space):
    assert drawn(space) != drawn(space, seed=1)


@EVERY
def test_neighbours_are_members_and_none_is_the_cell_itself(space):
    for arch in drawn(space, 4):
        near = space.neighbours(arch)

        assert near
        assert len(set(near)) == len(near)
        assert arch not in near
        assert [space.check(other) for other in near] == near


@EVERY
def test_neighbours_come_in_a_fixed_order(space):
    arch = drawn(space, 1)[0]

    assert space.neighbours(arch) == space.neighbours(arch)


@EVERY
def test_a_mutation_is_a_neighbour(space):
    rng = np.random.default_rng(3)
    for arch in drawn(space, 4):
        assert space.mutate(arch, rng) in space.neighbours(arch)


@EVERY
def test_a_representative_represents_itself(space):
    for arch in drawn(space):
        first = space.canonical(arch)

        assert space.check(first) == first
        assert space.canonical(first) == first


@EVERY
def test_encodings_are_numbers_of_one_length(space):
    known = [how for how in ENCODINGS if _has(space, how)]

    assert "one_hot" in known or "adjacency" in known
    for how in known:
        encoded = [space.encode(arch, how) for arch in drawn(space, 5)]
        assert {(one.dtype, one.ndim) for one in encoded} == {(np.dtype(np.float32), 1)}
        assert len({len(one) for one in encoded}) == 1
        assert all(np.isfinite(one).all() for one in encoded)


def _has(space, how):
    try:
        space.encode(drawn(space, 1)[0], how)
    except BadValueError:
        return False
    return True


@EVERY
def test_an_unknown_encoding_is_refused(space):
    with pytest.raises(BadValueError, match="no encoding 'fourier'"):
        space.encode(drawn(space, 1)[0], "fourier")


@EVERY
def test_graphs_lead_back_to_the_architecture(space):
    for arch in drawn(space):
        graphs = space.graphs(arch)

        assert len(graphs) == space.graphs_each
        for graph in graphs:
            assert len(graph.nodes) <= space.most_nodes
            assert set(graph.nodes) <= set(space.vocabulary)
            assert all(start < end for start, end in graph.edges)
        if space.spec.startswith("nb201_hw"):
            continue  # a graph has no device
        back = space.from_graphs(graphs)
        assert back is not None
        assert space.canonical(back) == space.canonical(arch)


@EVERY
@pytest.mark.parametrize("text", ["", "|||", "nonsense", "(", "0" * 10_000])
def test_nonsense_is_no_architecture(space, text):
    with pytest.raises(BadValueError, match="no architecture"):
        space.check(text)


@EVERY
def test_a_listing_is_as_long_as_the_space(space):
    if space.size is None or space.size > 20_000:
        pytest.skip("too large to be listed in a quick test")
    listed = list(space.everything())

    assert len(listed) == len(set(listed)) == space.size


@EVERY
def test_a_space_says_what_it_is(space):
    assert space.about
    assert space_of(space.spec) == space


@pytest.mark.parametrize(
    ("text", "channels", "cells"),
    [
        ("nb201", 16, 5),
        ("nb201_hw(device=fpga)", 16, 5),
        ("nb101", 128, 3),
        ("darts", 36, 20),
        ("macro", 32, 8),
    ],
)
def test_networks_have_the_published_sizes_unless_others_are_asked_for(text, channels, cells):
    space = space_of(text)
    arch = drawn(space, 1)[0]

    def shapes(**sizes):
        with torch.device("meta"):
            state = space.build(arch, **sizes).state_dict()
        return {name: weight.shape for name, weight in state.items()}

    published = shapes()
    assert published == shapes(channels=channels, cells=cells, classes=10)
    assert published != shapes(channels=channels + 4)
    assert published != shapes(classes=11)
    with pytest.raises(BadValueError, match="channels >= 1, got 0"):
        space.build(arch, channels=0)
    with pytest.raises(BadValueError, match="cells"):
        space.build(arch, cells=0)


@pytest.mark.parametrize("name", ["nlp", "nares"])
def test_a_space_without_networks_says_so(name):
    space = space_of(name)
    with pytest.raises(BadValueError, match=f"{name} has no networks that could be built"):
        space.build(drawn(space, 1)[0], channels=4)
