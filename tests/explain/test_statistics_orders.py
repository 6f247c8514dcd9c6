"""Places, Borda counts, constant answers, effective robustness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from holdfast.core.errors import BadValueError
from holdfast.explain.statistics import (
    borda,
    constant_answers,
    effective_robustness,
    fair_borda,
    geometric_mean,
    product_sum,
    rank_diff,
    rank_places,
    score_sum,
)


def test_places_break_ties_by_top5_then_by_name():
    places = rank_places([0.5, 0.7, 0.5, 0.5], ["d", "c", "b", "a"], [0.9, 0.9, 0.9, math.nan])

    assert [3, 1, 2, 4] == places.tolist()
    assert [4, 1, 3, 2] == rank_places([0.5, 0.7, 0.5, 0.5], ["d", "c", "b", "a"]).tolist()
    with pytest.raises(BadValueError, match="top-1"):
        rank_places([math.nan], ["a"])
    with pytest.raises(BadValueError, match="one name"):
        rank_places([0.1], ["a", "b"])


def test_rank_difference_is_positive_for_who_moved_up():
    found = rank_diff(["a", "b", "c"], [1, 2, 3], ["c", "a", "x"], [1, 2, 3])

    assert {"c": 2, "a": -1} == found
    with pytest.raises(BadValueError, match="a occurs twice"):
        rank_diff(["a", "a"], [1, 2], ["a"], [1])


def test_rank_differences_of_one_set_of_models_sum_to_zero():
    rng = np.random.default_rng(1)
    names = [f"m{one}" for one in range(50)]
    before, after = (rank_places(rng.random(50).round(1), names) for _ in range(2))

    found = rank_diff(names, before, names, after)

    assert 0 == sum(found.values())
    assert set(range(1, 51)) == set(before.tolist())


def test_borda_by_hand():
    table = [[0.1, 0.0], [0.1, 0.5], [0.3, 0.0]]

    # Ties at their least place: 1 1 3 and 1 3 1.
    assert [2, 4, 4] == borda(table).tolist()
    # Mid-ranks: 1.5 1.5 3 and 1.5 3 1.5.
    assert [3, 4.5, 4.5] == fair_borda(table, [False] * 3).tolist()


def test_borda_without_ties_is_the_sum_of_ranks():
    table = np.random.default_rng(0).random((20, 7))

    np.testing.assert_array_equal(borda(table), stats.rankdata(table, axis=0).sum(1))
    np.testing.assert_array_equal(borda(table), fair_borda(table, np.zeros(20, bool)))
    assert 7 * 20 * 21 / 2 == borda(table).sum()


def test_a_constant_answer_wins_by_borda_and_loses_by_fair_borda():
    attacked = [[0.6, 0.0, 0.0, 0.0]] * 5
    table = np.array([*attacked, [0.05, 0.05, 0.05, 0.05]])
    constant = constant_answers(table)

    assert [False] * 5 + [True] == constant.tolist()
    assert borda(table).argmax() == 5
    assert fair_borda(table, constant).argmin() == 5
    assert 4 == fair_borda(table, constant)[5]


def test_a_model_that_lacks_a_condition_has_no_borda():
    found = borda([[0.1, 0.2], [0.3, math.nan], [0.2, 0.1]])

    assert [1 + 2, 2 + 1] == [found[0], found[2]]
    assert math.isnan(found[1])


@pytest.mark.parametrize(
    ("row", "constant"),
    [
        ([0.048, 0.048, 0.048, 0.048, 0.019], True),  # the last over three workers of four
        ([0.092, 0.092, 0.079, 0.079, 0.091], True),
        ([0.016, 0.0, 0.0, 0.0, 0.010], False),  # weak, and attacks show it
        ([0.60, 0.60, 0.60, 0.60, 0.60], False),  # robust
        ([0.05, 0.05], False),  # two conditions tell nothing
        ([0.05, 0.05, math.nan, 0.05], True),
        ([0.05, 0.05, 0.01], False),  # of three none may stray
        ([0.0, 0.0, 0.0, 0.0], True),
    ],
)
def test_what_looks_like_a_constant_answer(row, constant):
    assert [constant] == constant_answers([row]).tolist()


def test_sums_and_products():
    table = np.array([[0.5, 0.5], [0.9, 0.0], [0.4, math.nan]])

    np.testing.assert_allclose(score_sum(table)[:2], [1.0, 0.9])
    np.testing.assert_allclose(geometric_mean(table)[:2], [0.5, 0.0])
    assert math.isnan(score_sum(table)[2]) and math.isnan(geometric_mean(table)[2])
    np.testing.assert_allclose(product_sum([[[0.5, 0.5], [0.2, 0.1]]]), [0.27])


def test_effective_robustness_of_models_on_a_line_is_none():
    clean = np.linspace(0.3, 0.9, 12)
    shifted = special.expit(-0.7 + 1.3 * special.logit(clean))

    found = effective_robustness(clean, shifted)

    np.testing.assert_allclose([found.line.intercept, found.line.slope], [-0.7, 1.3])
    np.testing.assert_allclose(found.above, 0, atol=1e-12)
    assert math.isclose(found.line.r_squared, 1)


def test_a_model_above_the_line_has_positive_effective_robustness():
    rng = np.random.default_rng(2)
    clean = rng.uniform(0.4, 0.9, 60)
    shifted = special.expit(-0.5 + special.logit(clean))
    shifted[0] += 0.1
    judge = stats.linregress(special.logit(clean), special.logit(shifted))

    found = effective_robustness(clean, shifted)

    assert math.isclose(found.line.slope, judge.slope)
    assert math.isclose(found.line.r_squared, judge.rvalue**2)
    assert 0 == found.above.argmax()
    assert 0.05 < found.above[0] < 0.1


def test_accuracies_of_zero_and_one_are_cut_at_half_an_image():
    clean, shifted = np.array([0.5, 0.7, 1.0, 0.6]), np.array([0.0, 0.4, 0.8, math.nan])
    counts = [10, 100, 1000, 10]
    x = special.logit([0.5, 0.7, 1 - 0.5 / 1000])
    y = special.logit([0.05, 0.4, 0.8])

    found = effective_robustness(clean, shifted, counts)

    assert math.isclose(found.line.slope, stats.linregress(x, y).slope)
    assert 3 == found.line.count
    assert math.isnan(found.above[3]) and math.isfinite(found.expected[3])


def test_too_few_models_or_equal_ones_give_no_line():
    assert math.isnan(effective_robustness([0.5, 0.6], [0.4, 0.5]).line.slope)
    assert math.isnan(effective_robustness([0.5] * 4, [0.1, 0.2, 0.3, 0.4]).line.slope)
    assert 0 == effective_robustness([], []).line.count
    with pytest.raises(BadValueError, match="divide percent"):
        effective_robustness([50.0], [40.0])


def test_of_several_constant_answers_each_has_the_least_place():
    table = np.array([[0.1, 0.1], [0.1, 0.1], [0.5, 0.0]])
    found = fair_borda(table, np.array([True, True, False]))

    assert found.tolist() == [2.0, 2.0, 6.0]
