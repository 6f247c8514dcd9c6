"""What is read from trials, from proxies and from latents."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.analysis import (
    front_of,
    hypervolume_curve,
    incumbent_curve,
    incumbent_values,
    proxy_importance,
    regret_curve,
    tsne,
)
from holdfast.search.analysis.pareto import hypervolume
from holdfast.search.trials import Score, Trial


def trials(merits, *, feasible=None):
    able = feasible or [True] * len(merits)
    return [
        Trial(step, step, str(step), Score(merit, (merit,), feasible=ok))
        for step, (merit, ok) in enumerate(zip(merits, able, strict=True))
    ]


def test_the_incumbent_rises_and_waits_for_the_feasible():
    found = incumbent_values(trials([0.9, 0.2, 0.1, 0.4], feasible=[False, True, True, True]))

    assert math.isnan(found[0])
    assert [0.2, 0.2, 0.4] == found[1:].tolist()


def test_regret_is_what_lies_between_the_incumbent_and_the_best():
    repetitions = [trials([0.1, 0.5, 0.3]), trials([0.3, 0.2])]
    found, curve = regret_curve(repetitions, 0.9), incumbent_curve(repetitions)

    assert [0.7, 0.5, 0.5] == pytest.approx([one.value for one in found])
    assert [2, 2, 2] == [one.count for one in found]
    assert [0.9 - one.high for one in curve] == pytest.approx([one.low for one in found])


def test_a_curve_of_nothing_is_refused():
    with pytest.raises(BadValueError, match="one repetition"):
        incumbent_curve([])
    with pytest.raises(BadValueError, match="one repetition"):
        incumbent_curve([trials([1.0]), []])


def test_front_and_volume_leave_the_infeasible_out():
    points = [(1.0, 3.0), (9.0, 9.0), (3.0, 1.0), (1.0, 1.0)]
    history = [
        Trial(step, step, str(step), Score(0.0, point, feasible=step != 1))
        for step, point in enumerate(points)
    ]

    assert ["0", "2"] == [trial.arch for trial in front_of(history)]
    assert [3.0, 3.0, hypervolume(points[::2], [0, 0]), 5.0] == pytest.approx(
        hypervolume_curve(history, [0, 0]).tolist()
    )
    assert [] == front_of(history[1:2])


def test_a_forest_finds_the_proxy_that_decides():
    rng = np.random.default_rng(0)
    proxies = rng.normal(size=(150, 3))
    proxies[4, 0] = math.nan
    proxies[9, 2] = math.inf
    target = 3 * np.nan_to_num(proxies[:, 1]) + 0.1 * rng.normal(size=150)
    found = proxy_importance(proxies, ("a", "b", "c"), target)

    assert (118, 30) == (found.train, found.test)
    assert 1 == pytest.approx(sum(found.impurity))
    assert "b" == found.names[int(np.argmax(found.impurity))]
    assert found.impurity[1] > 0.9 and found.permutation[1] > 0.5
    assert max(abs(found.permutation[0]), abs(found.permutation[2])) < 0.1
    assert found.train_r2 > found.test_r2 > 0.8 and found.out_of_bag_r2 > 0.8
    assert found == proxy_importance(proxies, ("a", "b", "c"), target[:, None])


def test_two_targets_make_one_forest():
    rng = np.random.default_rng(1)
    proxies = rng.normal(size=(80, 2))
    found = proxy_importance(proxies, ("a", "b"), proxies + 0.01)

    assert all(0.2 < part < 0.8 for part in found.impurity)


def test_a_forest_needs_rows():
    with pytest.raises(BadValueError, match="0 of 20"):
        proxy_importance(np.full((20, 2), np.nan), ("a", "b"), np.zeros(20))
    with pytest.raises(BadValueError, match="a column a name"):
        proxy_importance(np.zeros((20, 2)), ("a",), np.zeros(20))


def test_points_far_apart_stay_apart_in_the_plane():
    rng = np.random.default_rng(0)
    latents = np.concatenate([rng.normal(size=(20, 8)), rng.normal(size=(20, 8)) + 30])
    placed = tsne(latents, seed=1)
    one, two = placed[:20], placed[20:]
    spread = max(np.linalg.norm(part - part.mean(0), axis=1).mean() for part in (one, two))

    assert (40, 2) == placed.shape
    assert np.linalg.norm(one.mean(0) - two.mean(0)) > 2 * spread
    assert np.array_equal(placed, tsne(latents, seed=1))


def test_too_few_points_are_refused():
    with pytest.raises(BadValueError, match="four finite points"):
        tsne(np.zeros((3, 2)))
