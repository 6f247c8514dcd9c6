"""The loop: budget, record, and going on after a stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.loop import Problem, generator, incumbents, rounds, search
from holdfast.search.objectives import build_objective
from holdfast.search.searchers import searcher
from holdfast.search.trials import Score, Trial
from search_toys import toy_table

OBJECTIVE = build_objective(toy_table(), ["clean"])
PROBLEM = Problem(OBJECTIVE.space, OBJECTIVE)


@dataclass
class Counting:
    """Proposes three at a time, by a number that it keeps and a draw."""

    about: ClassVar[str] = ""
    _count: int = field(default=0, init=False)

    def propose(self, space, history, rng):
        self._count += 1
        listed = list(space.everything())
        return [listed[(self._count * 10 + int(rng.integers(5)) + k) % 729] for k in range(3)]

    def save(self):
        return {"count": np.array(self._count)}

    def load(self, kept):
        self._count = int(kept["count"])


@dataclass(frozen=True)
class Silent:
    about: ClassVar[str] = ""

    def propose(self, space, history, rng):
        return []


@dataclass(frozen=True)
class Foreign:
    about: ClassVar[str] = ""

    def propose(self, space, history, rng):
        return ["|conv~0|"]


def test_the_budget_cuts_the_last_round():
    found = list(rounds(PROBLEM, Counting(), budget=8))

    assert [len(one.trials) for one in found] == [3, 3, 2]


def test_steps_count_and_rounds_begin_where_they_begin():
    trials = search(PROBLEM, Counting(), budget=8)

    assert [trial.step for trial in trials] == list(range(8))
    assert [trial.round for trial in trials] == [0, 0, 0, 3, 3, 3, 6, 6]


def test_trials_carry_what_the_objective_says():
    assert all(
        trial.score == OBJECTIVE(trial.arch) for trial in search(PROBLEM, Counting(), budget=8)
    )


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_going_on_is_as_if_nothing_had_happened(cut):
    whole = list(rounds(PROBLEM, Counting(), budget=8))
    rest = list(rounds(PROBLEM, Counting(), budget=8, done=whole[:cut]))

    assert [*whole[:cut], *rest] == whole


def test_what_a_searcher_kept_is_needed_to_go_on():
    whole = list(rounds(PROBLEM, Counting(), budget=9))
    forgot = [type(one)(one.trials, {"count": np.array(0)}) for one in whole[:1]]

    assert next(rounds(PROBLEM, Counting(), budget=9, done=forgot)) != whole[1]


def test_a_finished_search_asks_nothing():
    whole = list(rounds(PROBLEM, Counting(), budget=6))

    assert list(rounds(PROBLEM, Silent(), budget=6, done=whole)) == []


def test_the_searcher_that_is_given_is_left_alone():
    mine = Counting()
    search(PROBLEM, mine, budget=6)

    assert mine == Counting()


def test_a_searcher_with_nothing_left_ends_the_search():
    assert search(PROBLEM, Silent(), budget=6) == []


def test_what_is_not_in_the_space_is_refused():
    with pytest.raises(BadValueError, match="is no architecture"):
        search(PROBLEM, Foreign(), budget=6)


def test_a_budget_is_needed():
    with pytest.raises(BadValueError, match="budget must be 1"):
        search(PROBLEM, Silent(), budget=0)


def test_searchers_of_one_seed_begin_alike():
    first = search(PROBLEM, searcher("local"), budget=10, key=(3, 1))
    other = search(PROBLEM, searcher("evolution"), budget=10, key=(3, 1))

    assert [trial.arch for trial in first] == [trial.arch for trial in other]


def test_repetitions_differ():
    first = search(PROBLEM, searcher("random"), budget=10, key=(3, 1))
    other = search(PROBLEM, searcher("random"), budget=10, key=(3, 2))

    assert [trial.arch for trial in first] != [trial.arch for trial in other]


def test_each_round_draws_anew():
    draws = {generator(0, 0, step).random() for step in range(5)}

    assert len(draws) == 5


def test_incumbents_by_hand():
    merits = [1.0, 3.0, 2.0, 3.0, 4.0]
    trials = [Trial(step, 0, str(step), Score(m, (m,))) for step, m in enumerate(merits)]

    assert [trial.step for trial in incumbents(trials)] == [0, 1, 1, 1, 4]
