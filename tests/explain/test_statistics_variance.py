"""Analyses of variance, Tukey's letters, Holm's correction and odds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError
from holdfast.explain.statistics import (
    compact_letters,
    grouped,
    holm,
    nested,
    one_way,
    sign_test,
    tukey,
    win_odds,
)
from holdfast.explain.statistics.variance import differing


def drawn(seed: int, groups: int, count: int, shift: float = 1.0):
    rng = np.random.default_rng(seed)
    names = [f"g{one}" for one in [*range(groups), *rng.integers(0, groups, count - groups)]]
    values = rng.normal(size=count) + shift * np.array([int(one[1:]) for one in names])
    return values, names


@pytest.mark.parametrize("seed", range(4))
def test_one_way_agrees_with_scipy(seed):
    values, names = drawn(seed, 4, 40, 0.4)
    parts = [[v for v, n in zip(values, names, strict=True) if n == g] for g in sorted(set(names))]
    judge = stats.f_oneway(*parts)

    found = one_way(values, names)

    assert math.isclose(found.f_value, judge.statistic, rel_tol=1e-9)
    assert math.isclose(found.p_value, judge.pvalue, rel_tol=1e-9)
    assert list(found.means) == sorted(found.means, reverse=True)
    assert sum(found.counts) == 40


@pytest.mark.parametrize("seed", range(3))
def test_tukey_agrees_with_scipy_for_unequal_counts(seed):
    values, names = drawn(seed, 4, 30, 0.5)
    found = grouped(values, names)
    parts = [[v for v, n in zip(values, names, strict=True) if n == g] for g in found.names]

    judge = stats.tukey_hsd(*parts).pvalue

    np.testing.assert_allclose(tukey(found), judge, atol=1e-6)


def test_many_groups_are_judged_by_the_critical_value_alike():
    values, names = drawn(5, 20, 90, 0.1)
    found = grouped(values, names)
    p = tukey(found)

    strict, loose = differing(found, 0.05), differing(found, 0.2)

    assert 20 * 19 / 2 > 150  # else this would compare a thing with itself
    np.testing.assert_array_equal(strict, p < 0.05)
    np.testing.assert_array_equal(loose, p < 0.2)
    assert 0 < strict.sum() < loose.sum() and not loose.all()


def test_letters_of_one_way_follow_statsmodels_decisions():
    multi = pytest.importorskip("statsmodels.stats.multicomp")
    values, names = drawn(7, 6, 90, 0.45)
    found = one_way(values, names, 0.1)
    judged = multi.pairwise_tukeyhsd(values, names, alpha=0.1)
    pairs = itertools.combinations(judged.groupsunique, 2)
    letters = dict(zip(found.groups, found.letters, strict=True))

    decisions = set(judged.reject.tolist())
    for (first, second), differ in zip(pairs, judged.reject, strict=True):
        assert differ == (not set(letters[first]) & set(letters[second]))
    assert decisions == {True, False}


@pytest.mark.parametrize("seed", range(30))
def test_two_groups_share_a_letter_if_and_only_if_they_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    upper = np.triu(rng.random((count, count)) < rng.random(), 1)
    differ = upper | upper.T

    letters = compact_letters(differ)

    for first, second in itertools.combinations(range(count), 2):
        assert differ[first, second] == (not set(letters[first]) & set(letters[second]))
    assert all(letters)
    columns = [
        {place for place, one in enumerate(letters) if letter in one}
        for letter in sorted(set("".join(letters)))
    ]
    assert not any(one < other for one in columns for other in columns)


def test_letters_by_hand():
    first_differs_from_last = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)

    assert ("a", "ab", "b") == compact_letters(first_differs_from_last)
    assert () == compact_letters(np.zeros((0, 0)))
    with pytest.raises(BadValueError, match="symmetric"):
        compact_letters(np.array([[0, 1], [0, 0]]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_nested_is_type_two_of_statsmodels(seed):
    api = pytest.importorskip("statsmodels.formula.api")
    anova_lm = pytest.importorskip("statsmodels.stats.anova").anova_lm
    rng = np.random.default_rng(seed)
    outer = [*"aaaabbbbcccc", *rng.choice(list("abc"), 30)]
    inner = [*"xxyyxxyyxxyy", *rng.choice(list("xy"), 30)]
    values = rng.normal(size=42) + np.array([{"a": 0, "b": 0.5, "c": 1}[one] for one in outer])
    frame = {"value": values, "outer": outer, "inner": inner}
    judge = anova_lm(api.ols("value ~ C(outer) / C(inner)", frame).fit(), typ=2)

    above, below = nested(values, outer, inner)

    assert math.isclose(above.f_value, judge["F"].iloc[0], rel_tol=1e-8)
    assert math.isclose(above.p_value, judge["PR(>F)"].iloc[0], rel_tol=1e-8)
    assert math.isclose(below.f_value, judge["F"].iloc[1], rel_tol=1e-8)
    assert math.isclose(below.p_value, judge["PR(>F)"].iloc[1], rel_tol=1e-8)
    assert (2, 3) == (above.upper, below.upper)


def test_nested_takes_cells_without_values():
    """Three cells of four: the inner groups of `b` are one."""
    above, below = nested([0, 1, 4, 5, 9, 10], [*"aaaabb"], [*"xxyyxx"])

    # Cells have the means 0.5, 4.5, 9.5 and each a scatter of 0.5 over one degree of freedom.
    assert (1, 1) == (above.upper, below.upper)
    assert math.isclose(below.f_value, 16 / 0.5)  # 4 * 2^2 about the mean of a
    assert math.isclose(above.f_value, 6 * (2 / 9) * 49 / 0.5)  # means 2.5 and 9.5
    assert 3 == below.lower


def test_one_way_without_a_test_says_no_data():
    alone = one_way([1.0, 2.0, math.nan], ["a", "a", "b"])
    singles = one_way([1.0, 2.0], ["a", "b"])
    same = one_way([1.0, 1.0, 1.0, 1.0], [*"aabb"])
    sure = one_way([1.0, 1.0, 2.0, 2.0], [*"aabb"])

    assert ("a",) == alone.groups and math.isnan(alone.p_value)
    assert () == singles.letters and math.isnan(singles.f_value)
    assert ("a", "a") == same.letters and math.isnan(same.p_value)
    assert ("a", "b") == sure.letters and 0 == sure.p_value
    with pytest.raises(BadValueError, match="one group a value"):
        one_way([1.0], ["a", "b"])
    with pytest.raises(BadValueError, match="alpha"):
        one_way([1.0, 2.0, 3.0, 4.0], [*"aabb"], 0)


def test_holm_agrees_with_statsmodels_and_leaves_out_nan():
    judge = pytest.importorskip("statsmodels.stats.multitest").multipletests
    p = np.random.default_rng(0).random(12) ** 3

    found = holm([*p, math.nan])

    np.testing.assert_allclose(found[:-1], judge(p, method="holm")[1])
    assert math.isnan(found[-1])
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    with pytest.raises(BadValueError, match=r"\[0, 1\]"):
        holm([1.5])


def test_odds_of_wins():
    found = win_odds([2, 2, 2, 1, math.nan, 1], [1, 1, 1, 2, 0, 1])
    never_lost = win_odds([1, 1], [0, 0])

    assert (3, 1) == (found.wins, found.losses)
    assert 9 == found.odds_ratio
    assert math.isclose(found.p_value, stats.fisher_exact([[3, 1], [1, 3]])[1])
    assert math.isinf(never_lost.odds_ratio)
    assert math.isnan(win_odds([1], [1]).p_value)
    assert math.isclose(sign_test(3, 0), 0.25)
