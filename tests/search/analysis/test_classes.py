"""Members of one class: each has a value of its own, or else that of the class, everywhere."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError
from holdfast.search.analysis import (
    Questions,
    best,
    condensed,
    correlate,
    correlations,
    mean_of,
    neighbourhood,
    scores,
    spread_by_column,
    study,
)
from holdfast.search.spaces import space_of
from holdfast.search.tables.schema import frame_of
from holdfast.search.tables.table import BenchmarkTable, Card

SPACE = space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])")
ARCHS = list(SPACE.everything())
CLASSES = list(dict.fromkeys(map(SPACE.canonical, ARCHS)))
MEMBER = next(arch for arch in ARCHS if SPACE.canonical(arch) != arch)  # of a class of several
RNG = np.random.default_rng(0)
CLEAN = dict(zip(ARCHS, RNG.permutation(len(ARCHS)) / len(ARCHS), strict=True))
ATTACKED = dict(zip(CLASSES, RNG.permutation(len(CLASSES)) / len(CLASSES), strict=True))
SIZES = {arch: float(arch.count("conv")) for arch in CLASSES}


@pytest.fixture(scope="module")
def table():
    """Each architecture has its own clean accuracy; what is attacked is one a class."""
    columns = (
        ("clean", "accuracy", CLEAN),
        ("pgd(eps=8/255)", "accuracy", ATTACKED),
        ("fog(severity=1)", "accuracy", CLEAN),
        ("fog(severity=2)", "accuracy", ATTACKED),
        ("params", "params", SIZES),
    )
    rows = [
        {
            "space": SPACE.spec,
            "arch": arch,
            "dataset": "toys",
            "split": "validation",
            "training": "plain",
            "epochs": 1,
            "condition": condition,
            "metric": metric,
            "seed": None,
            "value": value,
        }
        for condition, metric, values in columns
        for arch, value in values.items()
    ]
    return BenchmarkTable(Card("classes", "", ""), frame_of(pl.DataFrame(rows)))


@pytest.fixture(scope="module")
def clean(table):
    return table.pick("clean")


@pytest.fixture(scope="module")
def attacked(table):
    return table.pick("pgd")


def test_a_value_is_its_own_or_else_that_of_the_class(table, clean, attacked):
    first = SPACE.canonical(MEMBER)

    assert CLEAN[MEMBER] != pytest.approx(CLEAN[first])
    assert CLEAN[MEMBER] == pytest.approx(table.lookup(clean, MEMBER))
    assert ATTACKED[first] == pytest.approx(table.lookup(attacked, MEMBER))
    assert table.value(attacked, MEMBER) == table.lookup(attacked, MEMBER)
    with pytest.raises(BadValueError):
        table.lookup(clean, "no cell")


def test_what_has_no_value_is_told_as_none_and_refused(table, clean):
    small = BenchmarkTable(table.card, table.frame.filter(pl.col("arch") != CLASSES[0]))
    alone = BenchmarkTable(table.card, table.frame.filter(pl.col("arch") == CLASSES[0]))

    assert len(ARCHS) - 1 == len(small.values(clean))
    assert alone.lookup(clean, CLASSES[1]) is None
    with pytest.raises(BadValueError, match="it has 1 architectures"):
        alone.value(clean, CLASSES[1])


def test_the_best_have_their_values_under_columns_of_classes(table, clean, attacked):
    found = best(table, clean, count=100, others=[attacked])

    assert any(SPACE.canonical(one.arch) != one.arch for one in found.ranked)
    for one in found.ranked:
        assert ATTACKED[SPACE.canonical(one.arch)] == pytest.approx(one.values["pgd 8/255"])
        assert CLEAN[one.arch] == pytest.approx(one.values["clean"])


def test_a_neighbourhood_centres_on_the_cells_own_value(table, clean):
    found = neighbourhood(table, clean, MEMBER)

    assert CLEAN[MEMBER] == pytest.approx(found.value)
    assert [CLEAN[one.arch] for one in found.near] == pytest.approx(
        [one.value for one in found.near]
    )


def test_members_pair_with_the_value_of_their_class(table, clean, attacked):
    found = scores(table, [attacked, clean])
    matrix = correlations(table, [clean, attacked])
    expected = [ATTACKED[SPACE.canonical(arch)] for arch in ARCHS]
    judge = stats.kendalltau(list(CLEAN.values()), expected).statistic

    assert set(ARCHS) == set(found.archs)
    assert not np.isnan(found.values).any()
    assert ((len(ARCHS),) * 2,) * 2 == matrix.counts
    assert judge == pytest.approx(matrix.kendall[0][1], abs=1e-9)
    averaged = condensed(table, [attacked, clean])
    assert ((len(ARCHS),) * 2,) * 2 == correlate(averaged).counts


def test_means_and_groups_hold_every_member(table, clean, attacked):
    means = mean_of(table, [clean, attacked])
    severities = condensed(table, table.matching("fog"))["fog"]
    spread = spread_by_column(table, [clean], table.pick("params"), least=1)

    assert len(ARCHS) == len(means) == sum(map(len, spread.values))
    for found in (means, severities):
        mean = (CLEAN[MEMBER] + ATTACKED[SPACE.canonical(MEMBER)]) / 2
        assert mean == pytest.approx(found[MEMBER])


def test_a_study_of_members_has_no_gaps(table, clean, attacked):
    asked = Questions(best=[clean], others=[attacked], correlate=[clean, attacked])
    found = study(table, asked)
    told = [value for one in found.best[0].ranked for value in one.values.values()]

    assert not any(map(math.isnan, [*told, found.neighbourhoods[0].value]))
    assert found.best[0].ranked[0].values["clean"] == found.neighbourhoods[0].value
    assert "params" in found.spreads[0].groups[0]
