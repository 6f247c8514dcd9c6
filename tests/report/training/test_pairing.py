"""The interval of a paired difference against published ones, laws and simulation."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from holdfast.core.errors import BadValueError
from holdfast.metrics.accuracy import wilson
from holdfast.metrics.pairing import paired_difference
from holdfast.report.training.pairing import paired_samples


def columns(both, first, second, neither):
    """Two columns with so many images right in both, in one alone, and in none."""
    counts = (both, first, second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, Table II, method 10
        ((14, 5, 0, 22), 0.011, 0.226),  # Altman et al. 2000, Statistics with Confidence, Table 6.2
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland et al. 2014, airway data of Bentur et al.
    ],
)
def test_intervals_are_those_that_were_published(table, low, high):
    one, two = columns(*table)
    found = paired_difference(two, one)
    digits = 4 if low == 0.0569 else 3

    assert (low, high) == (round(found.low, digits), round(found.high, digits))
    assert sum(table) == found.count
    assert math.isclose(found.value, (table[1] - table[2]) / sum(table))


def test_the_order_of_the_two_turns_the_interval_round():
    one, two = columns(30, 5, 12, 8)
    there, back = paired_difference(one, two), paired_difference(two, one)

    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low), abs=1e-15
    )
    assert there.value > 0  # after minus before


def test_without_correlation_the_parts_of_wilson_are_added_in_squares():
    one, two = columns(12, 18, 8, 12)  # 12 * 12 = 18 * 8
    found, (low, high), (down, up) = paired_difference(one, two), wilson(30, 50), wilson(20, 50)

    assert math.isclose(found.low, -0.2 - math.hypot(0.4 - down, high - 0.6))
    assert math.isclose(found.high, -0.2 + math.hypot(up - 0.4, 0.6 - low))


def test_networks_that_agree_everywhere_leave_some_doubt():
    same = np.arange(40) < 30
    found = paired_difference(same, same)

    assert 0 == found.value
    assert -0.1 < found.low < 0 < found.high < 0.1


@pytest.mark.parametrize("table", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
@pytest.mark.parametrize("times", [1, 7])
def test_intervals_stay_within_minus_one_and_one_and_hold_the_difference(table, times):
    found = paired_difference(*columns(*(times * count for count in table)))

    assert -1 <= found.low <= found.value <= found.high <= 1


def test_no_image_is_no_difference():
    found = paired_difference([], [])

    assert math.isnan(found.value)
    assert 0 == found.count


def test_columns_of_unlike_length_or_values_are_refused():
    with pytest.raises(BadValueError, match="2 and 3"):
        paired_difference([True, False], [True, False, True])
    with pytest.raises(BadValueError, match="after"):
        paired_difference([True, False], [0.5, 1.0])


def test_the_interval_covers_the_difference_as_often_as_it_says():
    """Against independent intervals too: it is narrower where the two are alike."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(100, [0.5, 0.05, 0.15, 0.3], size=1000)
    found = [paired_difference(*columns(*row)) for row in counts]
    covered = np.mean([one.low <= 0.1 <= one.high for one in found])
    width = np.mean([one.high - one.low for one in found])

    assert 0.935 < covered < 0.975  # 95 % within two standard errors of 1,000 draws, or safer
    assert width < 0.75 * 2 * 1.96 * math.sqrt((0.55 * 0.45 + 0.65 * 0.35) / 100)


def test_samples_are_paired_by_their_ids():
    before = pl.DataFrame({"id": [0, 1, 2, 3], "correct": [True, True, False, False]})
    after = pl.DataFrame({"id": [9, 3, 2, 1], "correct": [False, True, False, True]})

    assert paired_difference([True, False, False], [True, False, True]) == paired_samples(
        before, after
    )
