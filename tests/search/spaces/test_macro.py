"""NAS-Bench-Macro: published sizes, merged identities, networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.core.errors import BadValueError
from holdfast.models.cost import count_parameters
from holdfast.search.spaces import Graph
from holdfast.search.spaces.macro import Macro

SPACE = Macro()


def effective(arch):
    """What a chain computes: the blocks of each stage without identities after its first."""
    stages = arch[:2], arch[2:5], arch[5:]
    return tuple(stage[0] + stage[1:].replace("0", "") for stage in stages)


def test_all_strings_are_listed_and_the_published_number_of_functions_is_left():
    archs = list(SPACE.everything())
    assert (6561, "00000000", "22222222") == (len(set(archs)), archs[0], archs[-1])
    assert 3969 == len({SPACE.canonical(arch) for arch in archs})


def test_the_representative_is_that_of_the_function():
    archs = list(SPACE.everything())
    pairs = {(effective(arch), SPACE.canonical(arch)) for arch in archs}
    assert 3969 == len({function for function, _ in pairs}) == len(pairs)
    assert "10020120" == SPACE.canonical("10002102")


def test_a_network_and_its_representative_have_the_same_parameters():
    for arch in ("02002010", "20010202"):
        nets = [SPACE.build(a, channels=4) for a in (arch, SPACE.canonical(arch))]
        assert count_parameters(nets[0]) == count_parameters(nets[1])


def test_an_identity_within_a_stage_passes_its_input_on():
    torch.manual_seed(0)
    net = SPACE.build("10100100", channels=4).eval()
    other = SPACE.build("10100100", channels=4).eval()
    other.load_state_dict(net.state_dict())
    assert isinstance(net[4], torch.nn.Identity)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(net(images), other(images))


def test_a_step_changes_one_digit():
    near = SPACE.neighbours("01201201")
    assert 16 == len(set(near))
    assert all(1 == sum(a != b for a, b in zip("01201201", n, strict=True)) for n in near)


def test_a_child_takes_each_digit_from_a_parent():
    child = SPACE.cross("00000000", "22222222", np.random.default_rng(0))
    assert {"0", "2"} == set(child)


def test_each_block_is_one_bit():
    encoded = SPACE.encode("01201201").reshape(8, 3)
    assert [0, 1, 2, 0, 1, 2, 0, 1] == encoded.argmax(1).tolist()
    assert 8 == encoded.sum()


def test_only_a_chain_has_an_architecture():
    graph = SPACE.graphs("01201201")[0]
    assert "01201201" == SPACE.from_graphs((graph,))
    assert SPACE.from_graphs((Graph(graph.nodes, graph.edges[:-1]),)) is None
    assert SPACE.from_graphs((Graph(graph.nodes[::-1], graph.edges),)) is None


def test_the_benchmark_trained_every_string():
    assert "00000001" == SPACE.key("00000001") != SPACE.canonical("00000001")


@pytest.mark.parametrize("arch", ["", "0120120", "012012012", "01201203", None])
def test_what_is_no_chain_is_refused(arch):
    with pytest.raises(BadValueError, match="expected 8 digits of 0, 1 and 2"):
        SPACE.check(arch)


def test_another_number_of_blocks_is_refused():
    assert SPACE.build("00000000", channels=4, cells=8)
    with pytest.raises(BadValueError, match="has 8 blocks, not cells=5"):
        SPACE.build("00000000", cells=5)


def test_paths_are_refused():
    with pytest.raises(BadValueError, match="known: one_hot"):
        SPACE.encode("00000000", "path")
