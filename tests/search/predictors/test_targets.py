import numpy as np
import pytest
from scipy import stats

from holdfast.search.predictors.targets import merits, targets
from holdfast.search.trials import Score, Trial


def history(*values):
    return [Trial(step, 0, f"a{step}", Score(v, (v,))) for step, v in enumerate(values)]


def test_a_trial_without_a_value_counts_as_the_worst():
    actual = merits(history(0.5, -np.inf, 0.2, np.nan))

    assert actual.tolist() == [0.5, 0.2, 0.2, 0.2]


def test_nothing_with_a_value_gives_zeros():
    assert merits(history(-np.inf, np.nan)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", ["merit", "standard", "normal"])
def test_a_scale_keeps_the_order(scale):
    values = np.random.default_rng(0).normal(size=30)

    assert np.array_equal(np.argsort(targets(values, scale)), np.argsort(values))


@pytest.mark.parametrize("scale", ["standard", "normal"])
def test_equal_values_give_zeros(scale):
    assert targets(np.full(4, 0.3), scale) == pytest.approx(np.zeros(4))


def test_standard_has_mean_0_and_variance_1():
    actual = targets(np.array([1.0, 2.0, 6.0]), "standard")

    assert actual.mean() == pytest.approx(0)
    assert actual.var() == pytest.approx(1)


def test_normal_scores_by_hand():
    actual = targets(np.array([-1000.0, 2.0, 2.0, 3.0]), "normal")

    # Ranks 1, 2.5, 2.5, 4 of four: the shares 1/8, 1/2, 1/2, 7/8.
    assert actual == pytest.approx(stats.norm.ppf([1 / 8, 1 / 2, 1 / 2, 7 / 8]))
