"""Rank correlations against scipy, closed forms and their own laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.metrics.rank import kendall, rank_matrix, spearman


def columns(seed, rows, levels):
    """Two related columns with `levels` distinct values or so, hence with ties."""
    rng = np.random.default_rng(seed)
    x = rng.integers(levels, size=rows)
    return x / levels, (x + rng.integers(levels, size=rows)) / levels


@pytest.mark.parametrize("levels", [2, 5, 10_000])
@pytest.mark.parametrize("rows", [8, 100, 1000])
def test_both_equal_scipys_with_and_without_ties(rows, levels):
    x, y = columns(rows + levels, rows, levels)

    assert stats.kendalltau(x, y).statistic == pytest.approx(kendall(x, y).value, abs=1e-12)
    assert stats.spearmanr(x, y).statistic == pytest.approx(spearman(x, y).value, abs=1e-12)


def test_tau_counts_pairs_as_its_definition_does():
    x, y = columns(3, 40, 7)
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i in range(40) for j in range(i)]
    concordance = sum(a * b for a, b in signs)
    untied = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))

    assert concordance / untied == pytest.approx(kendall(x, y).value, abs=1e-12)


@pytest.mark.parametrize("correlate", [kendall, spearman])
def test_a_rising_transform_changes_nothing_and_a_falling_one_the_sign(correlate):
    x, y = columns(1, 60, 20)
    found = correlate(x, y)

    assert found == correlate(np.exp(x), y**3)
    assert -found.value == pytest.approx(correlate(x, -y).value, abs=1e-15)
    assert found == correlate(y, x)


@pytest.mark.parametrize("correlate", [kendall, spearman])
def test_equal_order_is_one_without_an_interval(correlate):
    found = correlate(np.arange(30), np.arange(30) ** 2)

    assert pytest.approx(1) == found.value
    assert math.isnan(found.low) and 30 == found.count


@pytest.mark.parametrize("correlate", [kendall, spearman])
def test_gaps_are_left_out_by_pair(correlate):
    x, y = columns(2, 50, 30)
    gone = x.copy()
    gone[[3, 7]] = math.nan
    lacking = y.copy()
    lacking[[7, 11, 12]] = math.nan
    kept = np.setdiff1d(np.arange(50), [3, 7, 11, 12])

    assert correlate(x[kept], y[kept]) == correlate(gone, lacking)


@pytest.mark.parametrize("correlate", [kendall, spearman])
@pytest.mark.parametrize(
    ("x", "count"), [([1, 1, 1, 1], 4), ([1, math.nan, math.nan, math.nan], 1)]
)
def test_a_constant_or_a_single_pair_gives_no_number(correlate, x, count):
    found = correlate(x, [1, 2, 3, 4])

    assert math.isnan(found.value) and count == found.count


def test_infinities_rank_at_the_ends():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 5, 3])

    assert kendall(x, y) == kendall([-math.inf, 2, 3, 4, math.inf], y)


def test_the_intervals_are_those_of_their_sources():
    x, y = columns(4, 103, 40)
    rho, tau = spearman(x, y), kendall(x, y)
    rho_half = 1.959964 * math.sqrt((1 + rho.value**2 / 2) / 100)
    tau_half = 1.959964 * math.sqrt(0.437 / 99)

    assert math.tanh(math.atanh(rho.value) - rho_half) == pytest.approx(rho.low, abs=1e-6)
    assert math.tanh(math.atanh(rho.value) + rho_half) == pytest.approx(rho.high, abs=1e-6)
    assert math.tanh(math.atanh(tau.value) - tau_half) == pytest.approx(tau.low, abs=1e-6)
    assert math.tanh(math.atanh(tau.value) + tau_half) == pytest.approx(tau.high, abs=1e-6)


@pytest.mark.parametrize(
    ("correlate", "truth"),
    [
        (kendall, lambda r: 2 / math.pi * math.asin(r)),  # Greiner's relation
        (spearman, lambda r: 6 / math.pi * math.asin(r / 2)),
    ],
)
def test_intervals_cover_the_truth_of_a_normal_pair(correlate, truth):
    rng, r = np.random.default_rng(0), 0.5
    covered = 0
    for _ in range(400):
        x, noise = rng.normal(size=(2, 40))
        found = correlate(x, r * x + math.sqrt(1 - r**2) * noise)
        covered += found.low <= truth(r) <= found.high

    assert 0.92 < covered / 400 < 0.98


@pytest.mark.parametrize(("how", "correlate"), [("kendall", kendall), ("spearman", spearman)])
def test_a_matrix_holds_what_each_pair_gives(how, correlate):
    x, y = columns(5, 40, 15)
    table = np.stack([x, y, -(x**2)], axis=1)
    table[:4, 1] = math.nan
    found = rank_matrix(table, how)

    for row in range(3):
        for column in range(3):
            pair = correlate(table[:, row], table[:, column])
            cell = found.values, found.low, found.high, found.counts
            expected = pair.value, pair.low, pair.high, pair.count
            assert expected == pytest.approx(
                tuple(part[row, column] for part in cell), nan_ok=True, abs=1e-15
            )
    assert [[40, 36, 40], [36, 36, 36], [40, 36, 40]] == found.counts.tolist()


def test_what_is_no_pair_of_columns_is_refused():
    with pytest.raises(BadValueError, match="one length"):
        kendall([1, 2], [1, 2, 3])
    with pytest.raises(BadValueError, match="table"):
        rank_matrix([1, 2, 3])
    with pytest.raises(UnknownNameError, match="spearman"):
        rank_matrix([[1, 2]], "spearmann")
    with pytest.raises(BadValueError, match="level"):
        spearman([1, 2], [1, 2], level=95)
