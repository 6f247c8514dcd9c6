"""Random search, local search and evolution: what each does, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.loop import Problem, search
from holdfast.search.objectives import build_objective
from holdfast.search.searchers import searcher
from holdfast.search.trials import Score, Trial
from search_toys import toy_table

OBJECTIVE = build_objective(toy_table(), ["clean"])
PROBLEM = Problem(OBJECTIVE.space, OBJECTIVE)


@pytest.mark.parametrize(
    "text", ["random(round=0)", "local(starts=0)", "evolution(population=0)", "evolution(rate=0)"]
)
def test_settings_that_cannot_be_are_refused(text):
    with pytest.raises(BadValueError, match=r"must be|needs"):
        searcher(text)


def test_local_search_moves_to_the_first_better_neighbour():
    trials = search(PROBLEM, searcher("local(starts=1)"), budget=30)
    at = trials[0]
    for trial in trials[1:]:
        near = PROBLEM.space.neighbours(at.arch)
        seen = {one.arch for one in trials[: trial.step]}
        if trial.arch not in near:  # a summit, from which a new climb begins
            assert not [arch for arch in near if OBJECTIVE(arch).merit > at.score.merit
                        and arch not in seen]  # fmt: skip
            at = trial
        elif trial.score.merit > at.score.merit:
            at = trial

    assert len({trial.arch for trial in trials}) == 30


def test_parents_of_evolution_are_alive():
    """With one survivor a child descends from the query before it, however bad that was."""
    chain = search(PROBLEM, searcher("evolution(initial=1, population=1, rate=100.0)"), budget=12)
    one = searcher("evolution(initial=1, population=1, rate=0.000001)")
    still = search(PROBLEM, one, budget=12)

    assert len({trial.arch for trial in chain}) > 6
    assert len({trial.arch for trial in still}) == 1


def _history(*merits):
    archs = list(PROBLEM.space.everything())
    return [
        Trial(step, 0, archs[100 * step], Score(merit, (merit,)))
        for step, merit in enumerate(merits)
    ]


def test_the_best_of_the_living_is_the_parent():
    """Changes are so rare that the child is its parent."""
    still = searcher("evolution(initial=1, population=3, tournament=10, rate=0.000001)")
    history = _history(0.9, 0.1, 0.6, 0.3)

    assert still.propose(PROBLEM.space, history, np.random.default_rng(0)) == [history[2].arch]


def test_the_oldest_dies_not_the_worst():
    trials = search(
        PROBLEM, searcher("evolution(initial=1, population=2, tournament=1)"), budget=200
    )
    merits = [trial.score.merit for trial in trials]

    # Without selection pressure the walk comes down again from its best.
    assert min(merits[100:]) < max(merits[:100])


def test_local_search_begins_anew_at_a_summit():
    """From any of 60 queries on, this smooth space has been climbed more than once."""
    trials = search(PROBLEM, searcher("local(starts=2)"), budget=200)
    best = [trial.step for trial in trials if trial.score.merit > 0.8499]

    assert best
    # The climb is over there; what follows begins with two random starts.
    assert len({trial.arch for trial in trials[best[0] :]}) == len(trials) - best[0]


def test_random_search_asks_nothing_twice_and_ends_with_the_space():
    small = dataclasses.replace(PROBLEM.space, operations=("none", "skip_connect"), unique=True)
    trials = search(Problem(small, OBJECTIVE), searcher("random"), budget=1_000)
    classes = {small.canonical(arch) for arch in small.everything()}

    assert len(trials) == len(classes)
    assert {trial.arch for trial in trials} == classes


def test_random_search_finds_the_last_class_of_a_space():
    """A class of one cell in 729 is not drawn in a hundred draws more often than not."""
    trials = search(PROBLEM, searcher("random"), budget=1_000)
    classes = {PROBLEM.space.canonical(arch) for arch in PROBLEM.space.everything()}

    assert {PROBLEM.space.canonical(trial.arch) for trial in trials} == classes
