"""What all searchers that learn a model promise, and that each finds what chance does not."""

import numpy as np
import pytest
import torch

from holdfast.core.errors import BadValueError
from holdfast.search.searchers.base import SEARCHERS, searcher, unseen
from holdfast.search.searchers.candidates import best_first, mutants, path_or_next
from holdfast.search.spaces.base import space_of
from holdfast.search.trials import Score, Trial

NB201 = space_of("nb201")
UNIQUE = space_of("nb201(unique=True)")
# Few epochs and trees: these tests ask what is proposed, not how well.
SPECS = ["bayesian", "bananas(epochs=10)", "xgb(rounds=20)", "xgb_ranking(rounds=20)", "nsga2"]


def worth(arch):
    """Each operation counts by itself; the best cell has value 0."""
    ranks = ("none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    return sum(weight * (ranks.index(op) - 4) for weight, op in enumerate(NB201.cell(arch), 1))


@pytest.fixture(params=SPECS)
def one(request):
    if request.param.startswith("xgb"):
        pytest.importorskip("xgboost")
    return searcher(request.param)


def history_of(count, space=NB201, seed=0):
    archs = unseen(space, [], np.random.default_rng(seed), count)
    return [
        Trial(step, step // 20 * 20, arch, Score(worth(arch), (worth(arch),)))
        for step, arch in enumerate(archs)
    ]


def run(one, budget, space=NB201, seed=0):
    history = []
    while len(history) < budget:
        start = len(history)
        for arch in one.propose(space, history, np.random.default_rng([seed, start])):
            if len(history) < budget:
                history.append(Trial(len(history), start, arch, Score(worth(arch), (worth(arch),))))
    return history


@pytest.mark.parametrize("space", [NB201, UNIQUE], ids=["all", "unique"])
def test_only_valid_architectures_that_were_not_asked(one, space):
    history = history_of(40, space)

    proposed = one.propose(space, history, np.random.default_rng(1))

    keys = [space.canonical(space.check(arch)) for arch in proposed]
    assert proposed
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {space.canonical(trial.arch) for trial in history}


def test_it_begins_with_random_architectures(one):
    first = one.propose(NB201, [], np.random.default_rng(3))

    assert first == unseen(NB201, [], np.random.default_rng(3), len(first))


def test_same_seed_same_proposals_and_another_seed_others(one):
    history = history_of(40)

    same, again, other = (
        one.propose(NB201, history, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )

    assert same == again
    assert same != other


def test_global_generators_are_left_alone(one):
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    one.propose(NB201, history_of(40), np.random.default_rng(1))

    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_a_space_that_is_used_up_gives_nothing(one):
    small = space_of("nb201(operations=[none, skip_connect])")
    archs = list({small.canonical(arch): arch for arch in small.everything()}.values())
    history = [Trial(s, s // 16 * 16, arch, Score(0.0, (0.0,))) for s, arch in enumerate(archs)]

    assert one.propose(small, history, np.random.default_rng(0)) == []
    assert len(one.propose(small, history[:-1], np.random.default_rng(0))) == 1


def test_trials_without_a_value_do_no_harm(one):
    history = [
        Trial(trial.step, trial.round, trial.arch, Score(-np.inf, (-np.inf,), feasible=False))
        if trial.step % 3
        else trial
        for trial in history_of(40)
    ]

    assert one.propose(NB201, history, np.random.default_rng(0))


@pytest.mark.parametrize(
    "spec", ["xgb(rounds=50)", "xgb_ranking(rounds=50)", "nsga2(population=10)"]
)
def test_it_comes_closer_to_the_optimum_than_chance(spec):
    if spec.startswith("xgb"):
        pytest.importorskip("xgboost")
    seeds, budget = range(4), 100

    best = [max(t.score.merit for t in run(searcher(spec), budget, seed=s)) for s in seeds]

    chance = [max(t.score.merit for t in history_of(budget, seed=s)) for s in seeds]
    assert np.mean(best) > np.mean(chance) + 3


@pytest.mark.parametrize("spec", ["bayesian(batch=10)", "bananas(epochs=40)"])
def test_it_finds_the_optimum(spec):
    assert max(t.score.merit for t in run(searcher(spec), 100)) == 0


@pytest.mark.parametrize(
    "spec",
    [
        "bayesian(initial=1)",
        "bayesian(batch=0)",
        "bayesian(changes=-1)",
        "bananas(members=0)",
        "bananas(paths=0)",
        "bananas(epochs=0)",
        "xgb(rounds=0)",
        "xgb(rate=0)",
        "xgb_ranking(depth=0)",
        "nsga2(population=1)",
        "nsga2(mutation=1.5)",
        "nsga2(crossover=-0.1)",
    ],
)
def test_settings_without_sense_are_refused(spec):
    with pytest.raises(BadValueError, match=r"must be at (least|most)"):
        searcher(spec)


def test_a_space_that_lacks_paths_is_seen_by_its_edges():
    class Pathless(type(NB201)):
        def encode(self, arch, how="one_hot"):
            if how == "path":
                raise BadValueError("no paths")
            return super().encode(arch, how)

    arch = NB201.text(("none",) * 6)

    assert path_or_next(NB201, arch, "path") == "path"
    assert path_or_next(Pathless(), arch, "path") == "adjacency"
    assert path_or_next(Pathless(), arch, "one_hot") == "one_hot"


def test_bananas_can_leave_out_long_paths():
    history, pool = history_of(20), unseen(NB201, [], np.random.default_rng(9), 5)
    one = searcher("bananas(paths=30, epochs=5)")
    changed = [NB201.text((*cell[:2], "none", *cell[3:])) for cell in map(NB201.cell, pool)]

    said, blind = (
        one.opinions(NB201, history, p, np.random.default_rng(0)) for p in (pool, changed)
    )

    # The edge from node 1 to node 2 lies only on the path of three edges.
    assert said.tolist() == blind.tolist()


def test_best_first_keeps_the_order_of_equals():
    values = [0.1, 0.5, 0.5, -np.inf, 0.9]
    history = [Trial(s, 0, f"a{s}", Score(v, (v,))) for s, v in enumerate(values)]

    assert best_first(history) == ["a4", "a1", "a2", "a0", "a3"]


def test_mutants_lie_one_change_away_unless_more_are_asked_for():
    parent = NB201.text(("skip_connect",) * 6)
    near = set(NB201.neighbours(parent))
    rng = np.random.default_rng(0)

    single, several = (
        mutants(NB201, [parent], {NB201.canonical(parent)}, rng, 200, extra) for extra in (0.0, 2.0)
    )

    assert set(single) <= near
    assert sorted(map(NB201.canonical, single)) == sorted({NB201.canonical(arch) for arch in near})
    assert set(several) - near


def test_all_are_registered():
    assert {"bananas", "bayesian", "nsga2", "xgb", "xgb_ranking"} <= set(SEARCHERS)
