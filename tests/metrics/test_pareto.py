"""Fronts and hypervolumes against brute force and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.metrics.pareto import hypervolume, pareto_front


def dominates(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def volume_by_inclusion(points, reference):
    """Inclusion and exclusion over the boxes between each point and the reference."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            sides = np.maximum(np.min(some, axis=0) - reference, 0)
            total += (-1) ** (size + 1) * float(np.prod(sides))
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_front_is_what_nothing_dominates(objectives):
    points = np.random.default_rng(objectives).integers(5, size=(80, objectives)).astype(float)
    expected = [not any(dominates(other, point) for other in points) for point in points]

    assert expected == pareto_front(points).tolist()
    assert 0 < sum(expected) < 80


def test_equal_points_stand_on_the_front_together():
    assert [True, True, False] == pareto_front([[1, 2], [1, 2], [1, 1]]).tolist()


def test_a_point_without_a_value_is_on_no_front():
    assert [False, True] == pareto_front([[9, math.nan], [1, 1]]).tolist()


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_volume_is_that_of_inclusion_and_exclusion(objectives):
    rng = np.random.default_rng(10 + objectives)
    reference = np.full(objectives, 0.25)
    for _ in range(10):
        points = rng.integers(8, size=(9, objectives)) / 7
        expected = volume_by_inclusion(points, reference)

        assert pytest.approx(expected, abs=1e-12) == hypervolume(points, reference)


def test_the_volume_does_not_hang_on_order_or_on_dominated_points():
    points = np.random.default_rng(3).random((60, 3))
    whole = hypervolume(points, [0, 0, 0])

    assert whole == pytest.approx(hypervolume(points[::-1], [0, 0, 0]), abs=1e-12)
    assert whole == pytest.approx(hypervolume(points[pareto_front(points)], [0] * 3), abs=1e-12)
    assert 0.5 < whole < 1


def test_points_below_the_reference_add_nothing():
    assert 0.0 == hypervolume([[2, -1], [math.nan, 3]], [0, 0])
    assert 0.0 == hypervolume(np.empty((0, 2)), [0, 0])
    assert 6.0 == hypervolume([[2, 3], [5, -1], [9, 0]], [0, 0])


def test_what_is_no_table_or_no_reference_is_refused():
    with pytest.raises(BadValueError, match="objectives"):
        pareto_front([1, 2])
    with pytest.raises(BadValueError, match="reference"):
        hypervolume([[1, 2]], [0])
    with pytest.raises(BadValueError, match="reference"):
        hypervolume([[1, 2]], [0, -math.inf])
