"""Networks of DARTS cells: published parameters, what a cell computes."""

from __future__ import annotations

import pytest
import torch

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models.cost import count_parameters
from holdfast.models.darts import DartsCell, Halve, darts_network
from holdfast.search.spaces.darts import OPERATIONS

# The second-order result of Liu et al. 2019.
V2 = (
    [
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)),
    ],
    [
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1)),
        *(("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)),
    ],
)
# A trained architecture that NAS-Bench-301 keeps with its tests.
KEPT = (
    [
        *(("skip_connect", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 1)),
        *(("dil_conv_3x3", 0), ("dil_conv_5x5", 2), ("sep_conv_3x3", 1), ("skip_connect", 2)),
    ],
    [
        *(("max_pool_3x3", 0), ("avg_pool_3x3", 1), ("skip_connect", 0), ("dil_conv_5x5", 1)),
        *(("sep_conv_3x3", 1), ("sep_conv_5x5", 2), ("sep_conv_3x3", 2), ("dil_conv_3x3", 3)),
    ],
)
SKIPS = [("skip_connect", 0), ("skip_connect", 1)] * 4


def test_the_network_of_the_paper_has_the_published_parameters():
    assert 3_349_342 == count_parameters(darts_network(*V2))


def test_a_network_of_nas_bench_301_has_the_published_parameters():
    net = darts_network(*KEPT, channels=50)
    before = net.head.in_features
    # The published number includes the auxiliary head: 1 x 1 to 128, 2 x 2 to 768, linear.
    auxiliary = before * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 768 * 10 + 10
    assert 6_369_358 == count_parameters(net) + auxiliary


def test_a_node_is_a_sum_and_a_cell_gives_all_nodes():
    torch.manual_seed(0)
    pairs = [*SKIPS[:6], ("skip_connect", 2), ("skip_connect", 1)]
    cell = DartsCell(pairs, (5, 7), 4, halves=False, follows=False).eval()
    older, newer = torch.randn(2, 5, 6, 6), torch.randn(2, 7, 6, 6)
    first, second = cell.entries[0](older), cell.entries[1](newer)
    node = first + second
    assert torch.equal(torch.cat((node, node, node, node + second), 1), cell(older, newer))


def test_halving_reads_even_pixels_and_odd_ones():
    torch.manual_seed(0)
    halve = Halve(3, 4).eval()
    images = torch.randn(2, 3, 6, 6)
    even, odd = (halve(images)[:, k : k + 2] for k in (0, 2))
    changed = images.clone()
    changed[:, :, 1::2, 1::2] = -1
    assert torch.equal(even, halve(changed)[:, :2])
    changed = images.clone()
    changed[:, :, ::2, ::2] = -1
    assert torch.equal(odd, halve(changed)[:, 2:])
    assert (2, 4, 3, 3) == tuple(halve(images).shape)


@pytest.mark.parametrize(("size", "last"), [(32, 8), (9, 3)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_halves_the_picture_twice(name, size, last):
    pairs = [(name, 0), (name, 1)] * 4
    net = darts_network(pairs, pairs, channels=4, cells=4, classes=3).eval()
    shapes = []
    net.cells[3].register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    assert (1, 3) == tuple(net(torch.rand(1, 3, size, size)).shape)
    assert [(1, 4 * 16, last, last)] == shapes


def test_an_unknown_operation_is_refused():
    with pytest.raises(UnknownNameError, match="sep_conv_5x5"):
        darts_network([("sep_conv_7x7", 0), ("skip_connect", 1)], SKIPS)


@pytest.mark.parametrize(
    ("pairs", "why"),
    [([], "got 0"), (SKIPS[:3], "got 3"), ([("skip_connect", 2), ("skip_connect", 1)], "below 2")],
)
def test_a_cell_that_cannot_be_is_refused(pairs, why):
    with pytest.raises(BadValueError, match=why):
        darts_network(pairs, SKIPS)
