import numpy as np
import pytest

from holdfast.search.searchers.base import searcher, unseen
from holdfast.search.searchers.nsga2 import (
    Nsga2,
    crowding,
    dominance,
    fronts,
    survivors,
)
from holdfast.search.spaces.base import space_of
from holdfast.search.trials import Score, Trial

NB201 = space_of("nb201")


def trials(values, feasible=None, merit=None, generation=1000):
    feasible = [True] * len(values) if feasible is None else feasible
    merit = [0.0] * len(values) if merit is None else merit
    return [
        Trial(step, step // generation * generation, f"a{step}", Score(m, tuple(v), feasible=f))
        for step, (v, f, m) in enumerate(zip(values, feasible, merit, strict=True))
    ]


def beats(one, other):
    if one.score.feasible != other.score.feasible:
        return one.score.feasible
    if not one.score.feasible:
        return one.score.merit > other.score.merit
    pairs = list(zip(one.score.values, other.score.values, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def some(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 8, size=(rows, 2)).astype(float)  # with many equal ones
    return trials(values, feasible=rng.random(rows) < 0.7, merit=rng.normal(size=rows))


def test_domination_is_that_of_each_pair():
    both = some()

    expected = [[beats(one, other) for other in both] for one in both]

    assert dominance(both).tolist() == expected


def test_fronts_are_those_of_peeling_one_by_one():
    both = some()
    left, expected = list(range(len(both))), []
    while left:
        front = [i for i in left if not any(beats(both[j], both[i]) for j in left)]
        expected.append(front)
        left = [i for i in left if i not in front]

    assert fronts(dominance(both)) == expected


def test_nothing_measured_is_dominated_by_all_that_are():
    both = trials([(np.nan, np.nan), (0.1, 0.1)])

    assert dominance(both).tolist() == [[False, False], [True, False]]


def test_crowding_by_hand():
    values = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [5.0, 0.0]])

    # The second has 4 of 5 and 5 of 10 between its neighbours, the third 4 of 5 and 6 of 10.
    assert crowding(values).tolist() == pytest.approx([np.inf, 1.3, 1.4, np.inf])


def test_crowding_of_equal_values_leaves_the_ends_infinite():
    assert crowding(np.zeros((3, 2))).tolist() == [np.inf, 0.0, np.inf]


def test_survivors_are_the_best_of_parents_and_children():
    first = [(0.0, 0.0), (3.0, 3.0), (1.0, 1.0)]
    second = [(4.0, 0.0), (2.0, 2.0), (0.0, 4.0)]

    alive, standing = survivors(trials(first + second, generation=3), 4)

    assert {trial.arch for trial in alive} == {"a1", "a3", "a5", "a4"}
    assert [front for front, _ in standing] == [0, 0, 0, 1]


def test_who_died_does_not_come_back():
    # With places for two, a1 dies in the first round; alone it would outlive the second.
    values = [(3.0, 0.0), (1.5, 1.4), (0.0, 3.0), (0.5, 0.5)]
    history = [
        Trial(step, 0 if step < 3 else 3, f"a{step}", Score(0.0, v))
        for step, v in enumerate(values)
    ]

    alive, _ = survivors(history, 2)

    assert {trial.arch for trial in alive} == {"a0", "a2"}


def test_children_without_mutation_take_each_edge_from_a_parent():
    parents = [NB201.text(("none",) * 6), NB201.text(("nor_conv_3x3",) * 6)]
    history = [Trial(i, 0, arch, Score(0.0, (i, -i))) for i, arch in enumerate(parents)]
    one = Nsga2(population=6, crossover=1.0, mutation=0.0)

    children = one.propose(NB201, history, np.random.default_rng(0))

    assert all(set(NB201.cell(child)) == {"none", "nor_conv_3x3"} for child in children)
    assert len(set(children)) == 6


def test_it_finds_more_of_a_front_than_random_search():
    def objectives(arch):
        cell = NB201.cell(arch)
        return cell.count("nor_conv_3x3"), cell.count("skip_connect")

    def found(propose):
        history = []
        while len(history) < 200:
            start = len(history)
            for arch in propose(history, np.random.default_rng(start))[: 200 - start]:
                values = objectives(arch)
                history.append(Trial(len(history), start, arch, Score(0.0, values)))
        reached = {trial.score.values for trial in history}
        return len(reached & {(k, 6 - k) for k in range(7)})

    by_evolution = found(lambda history, rng: Nsga2().propose(NB201, history, rng))
    by_chance = found(lambda history, rng: unseen(NB201, history, rng, 200))

    assert by_evolution == 7
    assert by_chance < 4


def test_it_is_registered():
    assert searcher("nsga2(population=8)") == Nsga2(population=8)
