"""Laws that every searcher keeps, on a small table."""

from __future__ import annotations

import dataclasses
import functools
import random

import numpy as np
import pytest
import torch

from holdfast.core.errors import UnknownNameError
from holdfast.search.loop import Problem, incumbents, rounds, search
from holdfast.search.objectives import build_objective
from holdfast.search.searchers import SEARCHERS, searcher
from holdfast.search.searchers.base import Remembers, spec_of
from search_toys import toy_table

OBJECTIVE = build_objective(toy_table(), ["clean"])
PROBLEM = Problem(OBJECTIVE.space, OBJECTIVE)
BUDGET = 40
# Settings that make a learned searcher quick; the laws do not depend on them.
QUICK = {
    "agnet": "agnet(pretraining=200, ticks=2)",
    "bananas": "bananas(epochs=10)",
    "te_nas": "te_nas(repeats=1, batch=4, crops=20)",
    "xgb": "xgb(rounds=20)",
}
SLOW = {"te_nas"}  # trains nothing but differentiates real networks
EVERY = pytest.mark.parametrize(
    "text",
    [
        pytest.param(QUICK.get(name, name), id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in SEARCHERS
    ],
)


@functools.cache
def found(text, repetition=0):
    return list(rounds(PROBLEM, searcher(text), budget=BUDGET, key=(0, repetition)))


def archs(some):
    return [trial.arch for one in some for trial in one.trials]


@EVERY
def test_the_budget_is_used_up_and_no_more(text):
    assert len(archs(found(text))) == BUDGET


@EVERY
def test_the_seed_decides_everything(text):
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    again = list(rounds(PROBLEM, searcher(text), budget=BUDGET))

    assert archs(again) == archs(found(text))


@EVERY
def test_another_repetition_finds_others(text):
    assert archs(found(text, 1)) != archs(found(text))


@EVERY
def test_the_global_generators_are_left_alone(text):
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    search(PROBLEM, searcher(text), budget=20, key=(0, 7))
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())

    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


@EVERY
def test_all_that_is_asked_is_in_the_space(text):
    assert all(PROBLEM.space.check(arch) == arch for arch in archs(found(text)))


@EVERY
def test_nothing_is_asked_twice(text):
    if text == "evolution":
        pytest.skip("as published, a child may be its parent; the query counts")
    classes = [PROBLEM.space.canonical(arch) for arch in archs(found(text))]

    assert len(set(classes)) == len(classes)


@EVERY
def test_going_on_after_any_round_is_as_if_nothing_had_happened(text):
    whole = found(text)
    for cut in sorted({1, len(whole) // 2, len(whole) - 1}):
        rest = rounds(PROBLEM, searcher(text), budget=BUDGET, done=whole[:cut])

        assert archs([*whole[:cut], *rest]) == archs(whole)


@EVERY
def test_a_searcher_sees_scores_of_the_objective_alone(text):
    """One that could reach the test split would not need this objective."""
    asked = []

    def objective(arch):
        asked.append(arch)
        return OBJECTIVE(arch)

    trials = search(Problem(PROBLEM.space, objective), searcher(text), budget=20)

    assert asked == [trial.arch for trial in trials]


@EVERY
def test_a_small_space_ends_the_search(text):
    if text.startswith("te_nas"):
        pytest.skip("takes minutes")
    table = toy_table()
    small = Problem(
        dataclasses.replace(table.space, operations=("none", "skip_connect"), unique=True),
        build_objective(table, ["clean"]),
    )
    budget = 60 if "evolution" in text else 1_000
    trials = search(small, searcher(text), budget=budget)
    classes = {small.space.canonical(arch) for arch in small.space.everything()}

    assert {trial.arch for trial in trials} <= classes
    if "evolution" not in text:
        assert len(trials) == len(classes)


@EVERY
def test_the_text_of_a_searcher_makes_it_again(text):
    one = searcher(text)

    assert spec_of(searcher(spec_of(one))) == spec_of(one)
    assert one.about


@EVERY
def test_what_is_kept_is_arrays(text):
    one = searcher(text)
    if not isinstance(one, Remembers):
        pytest.skip("keeps nothing beside the history")

    assert all(
        isinstance(value, np.ndarray) and value.dtype != object
        for value in found(text)[-1].kept.values()
    )


@pytest.mark.parametrize("text", ["local", "evolution(again=False)", "bayesian", "bananas", "xgb"])
def test_it_beats_random_draws(text):
    """Means of six repetitions; the best cell of all has 0.85."""
    text = QUICK.get(text, text)

    def mean(name):
        best = [
            incumbents(search(PROBLEM, searcher(name), budget=30, key=(9, rep)))[-1]
            for rep in range(6)
        ]
        return np.mean([trial.score.merit for trial in best])

    assert mean(text) > mean("random") + 0.01


def test_an_unknown_searcher_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean random"):
        searcher("randon")
