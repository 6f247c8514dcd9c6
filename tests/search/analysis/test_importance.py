"""What is read from proxies and from latents."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.analysis import importance_of, proxy_importance, tsne
from holdfast.search.proxies.run import frame_of
from search_toys import toy_table


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


def rows_of(archs, **proxies):
    return frame_of(
        {"arch": arch, "proxy": name, "sign": 1, "seed": 0, "batch": None}
        | {"value": score(arch), "seconds": 0.0, "error": None}
        for name, score in proxies.items()
        for arch in archs
    )


def test_scores_by_proxies_are_held_against_a_table():
    table = toy_table()
    attacked, archs = table.pick("pgd"), list(table.space.everything())[:300]
    rows = rows_of(
        archs,
        convolutions=lambda arch: float(arch.count("conv")),
        broken=lambda _: None,
        edges=lambda arch: float(arch.count("none")),
    )
    shuffled = rows.sample(fraction=1, shuffle=True, seed=0)
    found = importance_of(rows, table, [attacked])
    twice = importance_of(rows.vstack(rows), table, [attacked])

    assert ("convolutions", "edges") == found.names
    assert 300 == found.train + found.test
    assert found.impurity[0] > 0.9 and found.test_r2 > 0.9
    assert found == twice
    assert set(found.names) == set(importance_of(shuffled, table, [attacked]).names)


def test_a_forest_of_scores_needs_a_column():
    with pytest.raises(BadValueError, match="one column"):
        importance_of(rows_of(["a"], one=lambda _: 1.0), toy_table(), [])


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


def test_values_beyond_float32_are_taken_by_their_order():
    rng = np.random.default_rng(0)
    targets = rng.random(60)
    noise = rng.random(60)
    huge = 10.0 ** (40 + 20 * targets)
    found = proxy_importance(np.column_stack((huge, noise)), ["huge", "noise"], targets)
    plain = proxy_importance(np.column_stack((targets, noise)), ["plain", "noise"], targets)

    assert found.test_r2 == pytest.approx(plain.test_r2, abs=0.05)
    assert found.impurity[0] > 0.9
