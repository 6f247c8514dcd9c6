"""Networks of NAS-Bench-101: published parameters and channels, what a module computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models.cost import count_parameters
from holdfast.models.nb101 import NB101_OPERATIONS, NB101Module, nb101_network, vertex_channels

C1, C3, POOL = NB101_OPERATIONS
# The Inception-like cell of the benchmark's introduction, and the first row of its table.
INCEPTION = (
    [C1, C3, C3, C3, POOL],
    [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)],
)
FIRST_ROW = (
    [C3, POOL, C3, C3, C1],
    [(0, 1), (0, 4), (0, 5), (1, 2), (2, 3), (2, 6), (3, 5), (4, 5), (5, 6)],
)


@pytest.mark.parametrize(("cell", "published"), [(INCEPTION, 2_694_282), (FIRST_ROW, 8_555_530)])
def test_a_network_has_the_published_parameters(cell, published):
    assert published == count_parameters(nb101_network(*cell))


@pytest.mark.parametrize(
    ("edges", "before", "after", "published"),
    [
        ([(0, 1), (1, 2), (2, 3)], 8, 16, [8, 16, 16, 16]),
        ([(0, 1)], 1, 5, [1, 5]),
        ([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 16, 8, [16, 8, 8, 8, 8]),
        ([(0, 1), (0, 2), (1, 3), (2, 3)], 8, 15, [8, 8, 7, 15]),
        ([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], 8, 8, [8, 3, 3, 2, 8]),
        ([(0, 1), (1, 2), (1, 3), (2, 4), (3, 4)], 8, 9, [8, 5, 5, 4, 9]),
        ([(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (3, 4)], 8, 15, [8, 8, 7, 7, 15]),
    ],
)
def test_channels_are_split_as_published(edges, before, after, published):
    assert published == vertex_channels(edges, len(published), before, after)


def test_the_output_is_a_concatenation_and_the_projected_input_is_added():
    torch.manual_seed(0)
    edges = [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    module = NB101Module([POOL, POOL], edges, 4, 5).eval()
    images = torch.randn(2, 4, 6, 6)
    first, second, whole = (module.projections[str(v)](images) for v in (1, 2, 3))
    pooled = [F.max_pool2d(F.pad(p, (1, 1, 1, 1), value=-9), 3, 1) for p in (first, second)]
    assert [3, 2] == [p.shape[1] for p in pooled]
    assert torch.equal(torch.cat(pooled, 1) + whole, module(images))


def test_a_vertex_takes_the_first_channels_of_a_wider_one():
    torch.manual_seed(0)
    # Vertex 1 gives 2 channels to the output of 3, vertex 2 takes the first of them only.
    edges = [(0, 1), (1, 2), (1, 3), (2, 3)]
    module = NB101Module([POOL, POOL], edges, 4, 3).eval()
    images = torch.randn(2, 4, 6, 6)
    once = F.max_pool2d(module.projections["1"](images), 3, 1, 1)
    expected = torch.cat((once, F.max_pool2d(once[:, :1], 3, 1, 1)), 1)
    assert torch.equal(expected, module(images))


def test_input_to_output_alone_is_a_projection():
    module = NB101Module([], [(0, 1)], 4, 6).eval()
    images = torch.randn(2, 4, 3, 3)
    assert torch.equal(module.projections["1"](images), module(images))


@pytest.mark.parametrize(("size", "last"), [(32, 8), (9, 3)])
def test_stacks_halve_the_picture_twice_and_double_the_channels(size, last):
    net = nb101_network([C1], [(0, 1), (1, 2)], channels=4, cells=1, classes=3).eval()
    shapes = []
    net.stacks[2].register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    assert (2, 3) == tuple(net(torch.rand(2, 3, size, size)).shape)
    assert [(2, 16, last, last)] == shapes


def test_an_unknown_operation_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean conv3x3-bn-relu"):
        nb101_network(["conv3x3"], [(0, 1), (1, 2)])


@pytest.mark.parametrize("edges", [[(0, 2)], [(0, 1)], [(1, 0), (1, 2)], [(0, 1), (1, 3)]])
def test_a_module_that_is_not_pruned_is_refused(edges):
    with pytest.raises(BadValueError, match="prune the module first"):
        nb101_network([C1], edges)


@pytest.mark.parametrize("sizes", [{"channels": 0}, {"cells": 0}, {"classes": 1}])
def test_sizes_that_no_network_has_are_refused(sizes):
    with pytest.raises(BadValueError, match=f"needs {next(iter(sizes))} >="):
        nb101_network([C1], [(0, 1), (1, 2)], **sizes)
