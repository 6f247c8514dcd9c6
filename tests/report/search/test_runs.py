"""Trials as curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError
from holdfast.metrics.pareto import hypervolume
from holdfast.records.searches import Asked, Optimum
from holdfast.report.search.runs import Findings
from report.search.make_search import make_search, make_trials, make_values


def test_the_curve_is_the_mean_of_the_best_so_far():
    values = np.random.default_rng(1).random((1, 4, 6, 1))
    search = make_search(optimum=None)
    run = Findings.of(search, make_trials(["random"], values)).runs[0]
    best = np.maximum.accumulate(values[0, :, :, 0], axis=1)
    judge = stats.ttest_1samp(best[:, 3], 0).confidence_interval(0.95)

    assert best.mean(axis=0).tolist() == pytest.approx([one.value for one in run.curve()])
    assert (judge.low, judge.high) == pytest.approx((run.after(4).low, run.after(4).high))


def test_trials_in_any_order_give_the_same_curve():
    trials = make_trials(["random", "local"], make_values())
    mixed = trials.sample(fraction=1, shuffle=True, seed=3)
    one, two = (Findings.of(make_search(), rows).runs for rows in (trials, mixed))

    assert ["random", "local"] == [run.spec for run in two]
    assert [run.value.tolist() for run in one] == [run.value.tolist() for run in two]


def test_less_than_the_optimum_by_the_last_digit_is_not_the_optimum():
    values = np.array([[[[0.9 - 1e-12], [0.9]]]])
    run = Findings.of(make_search(), make_trials(["random"], values)).runs[0]

    assert [2] == run.first_at(0.9).tolist()


def test_a_smaller_is_better_objective_is_shown_as_the_table_has_it():
    values = -np.array([[[[5.0], [7.0], [3.0]]]])
    search = make_search(objectives=(Asked(text="params", direction="minimize"),), optimum=None)
    run = Findings.of(search, make_trials(["random"], values)).runs[0]

    assert [5.0, 5.0, 3.0] == run.value[0, :, 0].tolist()


def test_what_misses_a_constraint_is_no_incumbent():
    values = np.array([[[[0.9], [0.5], [0.6]]]])
    trials = make_trials(["random"], values, feasible=np.array([[[False, True, True]]]))
    run = Findings.of(make_search(optimum=None), trials).runs[0]

    assert math.isnan(run.value[0, 0, 0])
    assert [0.5, 0.6] == run.value[0, 1:, 0].tolist()


def test_a_repetition_that_ended_early_keeps_what_it_had():
    trials = make_trials(["random"], make_values()[:1])
    cut = trials.filter((trials["repetition"] != 1) | (trials["step"] < 2))
    run = Findings.of(make_search(), cut).runs[0]

    assert {run.value[1, 1, 0]} == set(run.value[1, 1:, 0].tolist())
    assert 3 == run.after(8).count


def test_the_optimum_is_met_at_the_first_query_that_has_it():
    runs = Findings.of(make_search(), make_trials(["random", "local"], make_values())).runs

    assert [0, 0, 0] == runs[0].first_at(0.9).tolist()
    assert [8, 8, 8] == runs[1].first_at(0.9).tolist()


def test_no_interval_passes_the_best_of_the_table():
    values = np.array([0.1, 0.9, 0.9]).reshape(1, 3, 1, 1)
    search = make_search(optimum=Optimum(merit=0.9, values=(0.9,)))
    found = Findings.of(search, make_trials(["random"], values)).runs[0].after(1)

    assert 0.9 == found.high and found.low < found.value


def test_volumes_are_shares_of_the_box_of_all_searchers():
    values = np.random.default_rng(2).random((2, 1, 9, 2))
    search = make_search(objectives=(Asked(text="a"), Asked(text="b")), optimum=None)
    volumes = Findings.of(search, make_trials(["random", "local"], values)).volumes()
    low, high = values.min(axis=(0, 1, 2)), values.max(axis=(0, 1, 2))
    expected = hypervolume((values[1, 0, :5] - low) / (high - low), [0, 0])

    assert expected == pytest.approx(volumes[1][1][4].value)


def test_a_search_without_trials_has_no_page():
    with pytest.raises(BadValueError, match="trial or more"):
        Findings.of(make_search(), make_trials(["random", "local"], make_values()).clear())
