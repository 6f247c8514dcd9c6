import sys

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import MissingError
from holdfast.search.predictors.boosting import Trees


def data(rows=80, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.random((rows, 10)) < 0.5).astype(np.float32)
    return x, x @ np.arange(10.0)


@pytest.mark.parametrize(("goal", "rounds"), [("value", 100), ("order", 100)])
def test_trees_order_what_they_did_not_see(goal, rounds):
    pytest.importorskip("xgboost")
    x, y = data()

    said = Trees(goal, rounds=rounds).predict(x[:60], y[:60], x[60:], 0)

    assert stats.spearmanr(said, y[60:]).statistic > 0.7


@pytest.mark.parametrize("goal", ["value", "order"])
def test_same_seed_same_trees(goal):
    pytest.importorskip("xgboost")
    x, y = data()

    first, second = (Trees(goal, rounds=20).predict(x, y, x, 7).tolist() for _ in range(2))

    assert first == second


def test_order_sees_no_values():
    pytest.importorskip("xgboost")
    x, y = data()
    trees = Trees("order", rounds=20)

    assert trees.predict(x, y, x, 0).tolist() == trees.predict(x, -np.exp(-y), x, 0).tolist()


def test_one_tree_of_full_step_gives_shrunken_means():
    pytest.importorskip("xgboost")
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    y = np.array([-1.0, -3.0, 2.0, 2.0])

    said = Trees(depth=1, rate=1.0, rounds=1).predict(x, y, x, 0)

    # From the mean 0, a leaf of n rows moves to their sum over n + 1 (unit L2 penalty).
    assert said == pytest.approx([-4 / 3, -4 / 3, 4 / 3, 4 / 3])


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)

    with pytest.raises(MissingError, match=r"pip install 'holdfast\[search\]'"):
        Trees().predict(np.ones((2, 1)), np.ones(2), np.ones((1, 1)), 0)
