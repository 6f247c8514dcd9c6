"""Incumbents, growing volumes, and means over repetitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import Estimate
from holdfast.metrics.pareto import hypervolume
from holdfast.metrics.trajectories import hypervolumes, incumbents, regrets, repeated_mean


def test_the_incumbent_is_the_first_of_the_best_so_far():
    merits = [-math.inf, math.nan, 0.2, 0.1, 0.2, 0.5, -math.inf, 0.4]

    assert [-1, -1, 2, 2, 2, 5, 5, 5] == incumbents(merits).tolist()


def test_no_query_has_no_incumbent():
    assert [] == incumbents([]).tolist()


@pytest.mark.parametrize("objectives", [2, 3])
def test_volumes_grow_as_those_of_the_first_rows(objectives):
    values = np.random.default_rng(objectives).random((25, objectives))
    values[4, 0] = math.nan
    reference = np.full(objectives, 0.2)
    expected = [hypervolume(values[: place + 1], reference) for place in range(25)]

    assert pytest.approx(expected, abs=1e-12) == hypervolumes(values, reference).tolist()


def test_a_first_row_without_value_has_no_volume():
    assert [0.0, 2.0] == hypervolumes([[math.nan, 1], [1, 2]], [0, 0]).tolist()


def test_the_mean_of_repetitions_has_students_interval():
    values = np.random.default_rng(0).normal(size=7)
    found = repeated_mean([*values, math.nan, -math.inf])
    judge = stats.ttest_1samp(values, 0).confidence_interval(0.95)

    assert (values.mean(), judge.low, judge.high) == pytest.approx(
        (found.value, found.low, found.high), abs=1e-12
    )
    assert 7 == found.count


def test_an_interval_ends_where_the_quantity_does():
    whole = repeated_mean([0.2, 0.9, 1.0])
    cut = repeated_mean([0.2, 0.9, 1.0], bounds=(0.0, 1.0))

    assert (0.0, 1.0) == (cut.low, cut.high) and whole.low < 0 and whole.high > 1


def test_one_repetition_has_a_mean_alone_and_none_has_nothing():
    alone, none = repeated_mean([3.0]), repeated_mean([math.nan])

    assert 3.0 == alone.value and math.isnan(alone.low)
    assert math.isnan(none.value) and 0 == none.count


@pytest.mark.parametrize("sign", [1, -1])
def test_regret_is_what_lies_between_the_mean_and_the_best(sign):
    curve = [Estimate(sign * value, sign * value - 0.1, math.nan, 2) for value in (0.2, 0.5)]
    curve.append(Estimate(sign * 0.6, sign * 0.6 - 0.2, sign * 0.6 + 0.1, 3))
    found = regrets(curve, sign * 0.9, scale=10.0 * sign)

    assert [7, 4, 3] == pytest.approx([one.value for one in found])
    assert [2, 2, 3] == [one.count for one in found]
    ends = (2, 5) if sign > 0 else (1, 4)
    assert ends == pytest.approx((found[2].low, found[2].high))


def test_a_level_in_percent_is_refused():
    with pytest.raises(BadValueError, match="level"):
        repeated_mean([1, 2], level=95)
