"""What measurements decide: the best weights, and the end of a run before its time."""

import json

import pytest

from holdfast.training.watching import Watch
from training_toys import recipe

FAST = {"objective": "fast"}


def row(step, validation=None, robust=None, train_robust=None):
    return {
        "epoch": step / 5,
        "step": step,
        "validation_accuracy": validation,
        "validation_robust": robust,
        "train_robust": train_robust,
    }


def watch(patience=None, **train):
    return Watch(recipe(train=train, validate={"train_n": 0, "patience": patience}))


def bests(one, *scores):
    return [one.take(row(5 * place, *score)) for place, score in enumerate(scores)]


def test_the_best_is_the_highest_and_of_equals_the_first():
    one = watch()

    assert [False, True, False, True, False] == bests(one, [0.9], [0.5], [0.5], [0.6], [0.1])
    assert (0.6, 3.0) == (one.best_score, one.best_epoch)
    assert not one.stop and not one.flags


def test_the_start_is_no_result():
    one = watch()
    one.take(row(0, 0.9))

    assert one.best_score is None is one.best_epoch
    assert one.take(row(5, 0.1))


def test_the_robust_score_goes_before_the_clean_one():
    one = watch()

    assert [True, True, False] == bests(one, [0.9, 0.9], [0.9, 0.1], [0.2, 0.3], [1.0, 0.2])[1:]
    assert 0.3 == one.best_score


def test_a_robust_score_of_zero_is_a_score():
    one = watch()
    bests(one, [0.5, 0.0], [0.9, 0.0])

    assert 0.0 == one.best_score


def test_nothing_measured_decides_nothing():
    one = watch(patience=1)

    assert [False] * 4 == bests(one, [], [], [], [])
    assert not one.stop


def test_patience_counts_measurements_without_a_better_one():
    one = watch(patience=2)
    bests(one, [0.1], [0.5], [0.4], [0.6], [0.6])
    assert not one.stop
    one.take(row(25, 0.3))

    assert "no better score than 0.600 of epoch 3 in 2 measurements (validate.patience)" == one.stop


def test_without_patience_it_goes_on():
    one = watch()
    bests(one, *[[1 / place] for place in range(1, 30)])

    assert not one.stop


def test_a_collapse_under_the_attack_is_noted():
    one = watch(**FAST)
    for place, held in enumerate([0.1, 0.4, 0.5, 0.31]):
        one.take(row(5 * place, 0.5, 0.5, held))
    assert not one.flags  # 19 points are none
    one.take(row(20, 0.5, 0.5, 0.29))

    assert {"catastrophic_overfitting"} == one.flags
    assert not one.stop


def test_the_collapse_ends_a_run_that_wants_it():
    one = watch(stop_on_overfitting=True, **FAST)
    for place, held in enumerate([0.1, 0.5, 0.2]):
        one.take(row(5 * place, 0.5, 0.5, held))

    assert one.stop.startswith("catastrophic overfitting in epoch 2")
    assert one.stop.endswith("fell from 0.500 to 0.200")


@pytest.mark.parametrize("objective", ["cross_entropy", "adversarial", "trades"])
def test_only_one_step_training_overfits_catastrophically(objective):
    one = watch(stop_on_overfitting=True, objective=objective)
    for place, held in enumerate([0.9, 0.9, 0.0]):
        one.take(row(5 * place, 0.5, 0.5, held))

    assert not one.flags and not one.stop


@pytest.mark.parametrize("after", range(6))
def test_a_watch_taken_up_again_goes_on_where_it_was(after):
    rows = [
        row(5 * place, clean, robust, robust)
        for place, (clean, robust) in enumerate(
            [(0.1, 0.1), (0.5, 0.6), (0.6, 0.55), (0.7, 0.2), (0.7, 0.1), (0.8, 0.1)]
        )
    ]
    settings = {"patience": 4, "stop_on_overfitting": False, **FAST}
    whole, part, again = watch(**settings), watch(**settings), watch(**settings)
    expected = [whole.take(one) for one in rows]
    found = [part.take(one) for one in rows[:after]]
    again.restore(json.loads(json.dumps(part.state())))
    found += [again.take(one) for one in rows[after:]]

    assert expected == found
    assert whole.state() == again.state()
    assert whole.flags == again.flags == {"catastrophic_overfitting"}
    assert whole.stop == again.stop != ""


def test_settings_are_the_recipes_even_after_a_restart():
    body = watch(patience=9).state()
    one = watch(patience=1)
    one.restore(body)
    bests(one, [0.1], [0.5], [0.4])

    assert one.stop
