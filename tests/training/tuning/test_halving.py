from __future__ import annotations

import math
import random

import optuna
import pytest

from holdfast.core.errors import BadValueError
from holdfast.training.tuning import Halving


def test_the_rule_by_hand():
    rule = Halving(grace=1, reduction=2)

    # The first at a rung goes on; one behind the best of two ends; one of four among two goes on.
    assert (False, [0.5]) == rule.decide(1, 0.5, [], [])
    assert (True, [0.4]) == rule.decide(1, 0.4, [], [[0.5]])
    assert (False, [0.6]) == rule.decide(1, 0.6, [], [[0.5]])
    assert (False, [0.45]) == rule.decide(1, 0.45, [], [[0.5], [0.4], [0.3]])
    assert (True, [0.39]) == rule.decide(1, 0.39, [], [[0.5], [0.4], [0.3]])
    # Of five, 5 // 2 = 2 go on.
    assert (True, [0.39]) == rule.decide(1, 0.39, [], [[0.5], [0.4], [0.3], [0.2]])


def test_rungs_grow_by_the_factor():
    rule = Halving(grace=2, reduction=3)
    reached = []
    for epoch in range(1, 20):
        ends, after = rule.decide(epoch, 0.5, reached, [])
        if len(after) > len(reached):
            reached = after
            assert epoch == 2 * 3 ** (len(reached) - 1)
        assert not ends

    assert 3 == len(reached)  # at 2, 6, 18


def test_a_measurement_that_skips_rungs_counts_for_each():
    rule = Halving()

    assert (False, [0.5, 0.5, 0.5]) == rule.decide(5, 0.5, [], [])
    assert (True, [0.5, 0.5]) == rule.decide(5, 0.5, [], [[0.4, 0.6, 0.9]])


def test_where_less_is_better_the_least_go_on():
    rule = Halving(maximize=False)

    assert not rule.decide(1, 0.4, [], [[0.5]])[0]
    assert rule.decide(1, 0.6, [], [[0.5]])[0]


def test_equals_of_the_worst_that_goes_on_go_on():
    assert not Halving().decide(1, 0.5, [], [[0.5], [0.5], [0.5]])[0]


def test_no_number_ends_at_a_rung_only():
    assert (True, []) == Halving(grace=2).decide(2, math.nan, [], [])
    assert (False, []) == Halving(grace=2).decide(1, math.nan, [], [])


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize(("grace", "reduction", "every"), [(1, 2, 1), (2, 3, 1), (1, 4, 3)])
def test_decisions_are_those_of_optuna(grace, reduction, every, maximize):
    rng = random.Random(7)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(grace, reduction),
    )
    rule = Halving(grace, reduction, maximize=maximize)
    ours, seen = {}, set()
    running = []
    for _ in range(600):  # trials begin, report and end in any order
        if not running or rng.random() < 0.2:
            running.append((study.ask(), [0]))
            ours[running[-1][0].number] = []
        trial, epochs = rng.choice(running)
        epochs[0] += every
        value = rng.choice([rng.random(), round(rng.random(), 1), math.nan])
        value = value if rng.random() < 0.9 else rng.random()
        trial.report(value, epochs[0])
        others = [rungs for number, rungs in ours.items() if number != trial.number]
        ends, ours[trial.number] = rule.decide(epochs[0], value, ours[trial.number], others)

        assert trial.should_prune() == ends
        seen.add(ends)
        if ends:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            running = [one for one in running if one[0].number != trial.number]

    assert {True, False} == seen


@pytest.mark.parametrize("wrong", [{"grace": 0}, {"reduction": 1}, {"grace": 1.5}])
def test_settings_that_make_no_rungs(wrong):
    with pytest.raises(BadValueError, match=next(iter(wrong))):
        Halving(**wrong)
