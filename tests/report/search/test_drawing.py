"""Cells as pictures."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.records.searches import Cell
from holdfast.report.search.drawing import draw, swatches

NODES = ("input", "nor_conv_3x3", "nor_conv_1x1", "none", "avg_pool_3x3", "my_op", "output")


def parsed(cell):
    return ET.fromstring(str(draw(cell, {one.name: one.color for one in swatches([cell])})))  # noqa: S314


def random_cell(nodes, seed):
    rng = np.random.default_rng(seed)
    edges = [(i, j) for j in range(1, nodes) for i in range(j) if rng.random() < 0.3]
    names = ("input", *(NODES[1 + place % 5] for place in range(nodes - 2)), "output")
    return Cell(nodes=names, edges=tuple(edges))


def boxes(tree):
    return [
        tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in tree.iter("rect")
    ]


@pytest.mark.parametrize("nodes", [2, 3, 8, 26])
@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_within_the_picture_and_apart(nodes, seed):
    tree = parsed(random_cell(nodes, seed))
    _, _, width, height = map(float, tree.get("viewBox").split())
    found = boxes(tree)

    assert nodes == len(found)
    for place, (x, y, w, h) in enumerate(found):
        assert x >= 0 and y >= 0 and x + w <= width + 1 and y + h <= height + 1
        for a, b, c, d in found[:place]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y


@pytest.mark.parametrize("seed", range(5))
def test_every_edge_runs_from_left_to_right_between_its_boxes(seed):
    cell = random_cell(12, seed)
    tree = parsed(cell)
    found = boxes(tree)
    number = r"(-?[\d.]+)"
    ends = []
    for path in tree.iter("path"):
        text = path.get("d")
        start = re.match(rf"M{number} {number}", text)
        last = re.search(rf"L{number} {number}L", text)
        ends.append(tuple(float(one) for one in (*start.groups(), *last.groups())))
    expected = [
        (found[i][0] + found[i][2], found[i][1] + 12, found[j][0], found[j][1] + 12)
        for i, j in cell.edges
    ]

    assert len(cell.edges) == len(ends)
    for one, other in zip(expected, ends, strict=True):
        assert one == pytest.approx(other, abs=0.15)
        assert one[0] < one[2]


def test_operations_have_colors_of_their_own_and_ends_none():
    cell = Cell(nodes=NODES, edges=((0, 1),))
    found = {one.name: one.color for one in swatches([cell, cell])}

    assert {"conv 3x3", "conv 1x1", "none", "avg pool 3x3", "my op"} == set(found)
    assert len(found) == len(set(found.values()))


def test_the_same_cell_is_drawn_the_same():
    assert draw(random_cell(20, 1), {}) == draw(random_cell(20, 1), {})


def test_a_label_is_text_and_never_markup():
    tree = parsed(Cell(nodes=("input", "<b>&\"'", "output"), edges=((0, 1), (1, 2))))

    assert "<b>&\"'" in [text.text for text in tree.iter("text")]


def test_edges_that_run_back_are_refused():
    with pytest.raises(BadValueError, match="earlier to a later"):
        draw(Cell(nodes=("input", "output"), edges=((1, 0),)), {})
