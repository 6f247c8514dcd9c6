"""Analyses of a small table whose answers can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.search.analysis import (
    Questions,
    best,
    condensed,
    correlations,
    describe,
    labels,
    mean_of,
    named_columns,
    neighbourhood,
    operator_counts,
    rank_transfer,
    scores,
    spread_by_column,
    spread_by_operations,
    study,
    with_operations,
)
from holdfast.search.analysis import columns as columns_module
from holdfast.search.analysis.spread import MOST_GROUPS
from holdfast.search.spaces import space_of
from holdfast.search.tables.schema import frame_of
from holdfast.search.tables.table import BenchmarkTable, Card

SPACE = space_of("nb201")
RNG = np.random.default_rng(0)
FIRST = SPACE.canonical("|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|none~2|")
DRAWN = [SPACE.sample(RNG) for _ in range(50)]
ARCHS = list(dict.fromkeys(map(SPACE.canonical, [FIRST, *SPACE.neighbours(FIRST), *DRAWN])))
CONDITIONS = {
    ("cifar10", "clean", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar10", "fog(severity=1)", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar10", "fog(severity=2)", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar10", "pgd(norm=linf, eps=1/255, steps=40)", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar10", "pgd(norm=linf, eps=8/255, steps=40)", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar100", "clean", "accuracy"): RNG.random(len(ARCHS)),
    ("cifar10", "params", "params"): np.arange(len(ARCHS)) // 10 + 1.0,
}
LACKING = 7  # rows that the second data set has no value for


@pytest.fixture(scope="module")
def table():
    rows = []
    for (dataset, condition, metric), values in CONDITIONS.items():
        free = metric == "params"
        start = LACKING if dataset == "cifar100" else 0
        rows += [
            {
                "space": "nb201",
                "arch": arch,
                "dataset": dataset,
                "split": "none" if free else "validation",
                "training": "none" if free else "plain",
                "epochs": None if free else 200,
                "condition": condition,
                "metric": metric,
                "seed": None,
                "value": value,
            }
            for arch, value in zip(ARCHS[start:], values[start:], strict=True)
        ]
    return BenchmarkTable(Card("small", "", ""), frame_of(pl.DataFrame(rows)))


def column(table, condition="clean", dataset="cifar10"):
    return table.pick(condition, dataset=dataset)


def test_scores_keep_gaps_and_turn_costs(table):
    found = scores(table, [column(table, dataset="cifar100"), column(table, "params")])

    assert len(ARCHS) == len(found.archs)
    assert LACKING == np.isnan(found.values[:, 0]).sum()
    assert (-found.values[:, 1]).tolist() == found.better[:, 1].tolist()


def test_means_are_of_those_that_have_every_column(table):
    columns = [column(table), column(table, dataset="cifar100")]
    found = mean_of(table, columns)
    expected = (
        CONDITIONS["cifar10", "clean", "accuracy"] + CONDITIONS["cifar100", "clean", "accuracy"]
    )[LACKING:] / 2

    assert ARCHS[LACKING:] == list(found)
    assert expected == pytest.approx(list(found.values()), abs=1e-6)


def test_labels_say_what_tells_columns_apart_and_no_more(table):
    picked = [column(table), column(table, "pgd(eps=8/255)"), column(table, "fog(severity=2)")]

    assert ["clean", "pgd 8/255", "fog 2"] == labels(picked)
    assert ["clean, cifar10", "clean, cifar100"] == labels(table.matching("clean"))
    assert len(table.columns) == len(set(labels(table.columns)))


def test_condensed_averages_severities_only(table):
    columns = [one for one in table.columns if one.dataset == "cifar10"]
    found = condensed(table, columns)

    assert ["clean", "fog", "pgd 1/255", "pgd 8/255", "params"] == list(found)
    assert mean_of(table, table.matching("fog")) == found["fog"]


def test_correlations_rest_on_what_both_columns_have(table):
    found = correlations(table, table.matching("clean"))
    one, two = (CONDITIONS[name, "clean", "accuracy"][LACKING:] for name in ("cifar10", "cifar100"))
    shared = len(ARCHS) - LACKING

    assert ((len(ARCHS), shared), (shared, shared)) == found.counts
    assert stats.kendalltau(one, two).statistic == pytest.approx(found.kendall[0][1], abs=1e-9)
    assert stats.spearmanr(one, two).statistic == pytest.approx(found.spearman[0][1], abs=1e-9)
    assert found.low[0][1] < found.kendall[0][1] < found.high[0][1]


def test_rank_transfer_compares_datasets_and_refuses_one(table):
    found = rank_transfer(table, "clean")

    assert correlations(table, table.matching("clean")).kendall == found.kendall
    with pytest.raises(BadValueError, match="cifar10 alone"):
        rank_transfer(table, "pgd(eps=8/255)")
    with pytest.raises(BadValueError, match="2 columns of cifar10"):
        rank_transfer(table, "pgd")
    with pytest.raises(UnknownNameError, match="clean"):
        rank_transfer(table, "cleen")


def test_the_best_come_first_with_their_values_elsewhere(table):
    found = best(table, column(table), count=3, others=[column(table, dataset="cifar100")])
    values = CONDITIONS["cifar10", "clean", "accuracy"]
    order = np.argsort(-values, kind="stable")[:3]

    assert [ARCHS[place] for place in order] == [one.arch for one in found.ranked]
    assert values[order] == pytest.approx(
        [one.values["clean, cifar10"] for one in found.ranked], abs=1e-6
    )
    assert SPACE.graphs(ARCHS[order[0]])[0].nodes == found.ranked[0].cells[0].nodes


def test_the_best_of_a_cost_are_the_small(table):
    found = best(table, column(table, "params"), count=10)

    assert set(ARCHS[:10]) == {one.arch for one in found.ranked}


def test_all_changes_of_one_edge_are_neighbours(table):
    found = neighbourhood(table, column(table), ARCHS[0])
    values = table.values(column(table))

    assert SPACE.neighbours(ARCHS[0]) == [one.arch for one in found.near]
    assert not any(math.isnan(one.value) for one in found.near)
    assert any(one.arch not in values for one in found.near)
    assert values[ARCHS[0]] == found.value
    for one in found.near:
        expected = values.get(SPACE.canonical(one.arch), math.nan)
        assert expected == pytest.approx(one.value, nan_ok=True)
        changed = [
            (place, old, new)
            for place, (old, new) in enumerate(
                zip(SPACE.cell(ARCHS[0]), SPACE.cell(one.arch), strict=True), 1
            )
            if old != new
        ]
        assert [one.change] == [f"node {place}: {old} to {new}" for place, old, new in changed]


def test_operations_are_counted_over_the_best(table):
    found = operator_counts(table, column(table), count=5)
    cells = [SPACE.cell(one.arch) for one in best(table, column(table), count=5).ranked]
    expected = [sum(cell.count(name) for cell in cells) for name in found.operators]

    assert expected == list(found.counts)
    assert 30 == sum(found.counts) and 5 == found.top


def test_more_than_there_are_is_all_of_them(table):
    assert len(ARCHS) == operator_counts(table, column(table), count=10_000).top
    with pytest.raises(BadValueError, match="one architecture or more"):
        operator_counts(table, column(table), count=0)


def test_groups_of_equal_operations_hold_each_architecture_once(table):
    names = ("nor_conv_3x3", "nor_conv_1x1")
    found = spread_by_operations(table, [column(table)], names, least=1)
    alike = with_operations(table, {"nor_conv_3x3": 2, "nor_conv_1x1": 0})
    values = dict(zip(found.groups, found.values, strict=True))

    assert len(ARCHS) == sum(map(len, found.values))
    assert all(list(group) == sorted(group) for group in found.values)
    assert [arch for arch in ARCHS if arch.count("3x3~") - arch.count("avg") == 2
            and "1x1" not in arch] == alike  # fmt: skip
    assert len(alike) == len(values.get("2 x nor_conv_3x3, 0 x nor_conv_1x1", ()))


def test_groups_of_equal_size(table):
    found = spread_by_column(table, [column(table)], column(table, "params"))
    values = CONDITIONS["cifar10", "clean", "accuracy"]

    assert "1 params" == found.groups[0]
    assert sorted(values[:10]) == pytest.approx(found.values[0], abs=1e-6)
    with pytest.raises(BadValueError, match="largest group has 10"):
        spread_by_column(table, [column(table)], column(table, "params"), least=11)


def test_a_study_answers_what_was_asked(table):
    picked = [column(table), column(table, "pgd(eps=8/255)")]
    asked = Questions(
        describe=table.columns, correlate=table.columns[:5], best=picked, count=2, top=4
    )
    found = study(table, asked, command="look")
    median = np.median(CONDITIONS["cifar10", "clean", "accuracy"])

    assert len(ARCHS) == found.architectures
    assert len(table.columns) == len(found.described) == len(describe(table, table.columns))
    assert median == pytest.approx(found.described[0].median, abs=1e-6)
    assert ("clean", "pgd 1/255", "pgd 8/255", "fog") == found.correlations[0].columns
    assert ["clean", "pgd 8/255"] == [one.column for one in found.operators]
    assert [one.ranked[0].arch for one in found.best] == [one.arch for one in found.neighbourhoods]
    assert 3 == len(found.spreads)


def test_a_study_compares_data_sets_where_there_are_several(table):
    clean = [column(table)]
    whole = study(table, Questions(correlate=table.columns, best=clean))
    one = [each for each in table.columns if each.dataset == "cifar10"]
    several = study(table, Questions(correlate=table.columns))

    expected = repr((rank_transfer(table, "clean"),))  # NaN equals itself here
    assert expected == repr(whole.correlations[1:]) == repr(several.correlations[1:])
    assert ("clean, cifar10", "clean, cifar100") == whole.correlations[1].columns
    assert 1 == len(study(table, Questions(correlate=one, best=clean)).correlations)
    assert 1 == len(study(table, Questions(correlate=table.matching("clean"))).correlations)


def test_a_study_groups_by_size_or_else_by_operations(table):
    clean = column(table)
    sizeless = BenchmarkTable(table.card, table.frame.filter(pl.col("metric") != "params"))
    found = study(table, Questions(best=[clean])).spreads
    otherwise = study(sizeless, Questions(best=[clean])).spreads

    assert spread_by_column(table, [clean], column(table, "params")) == found[0]
    assert spread_by_operations(table, [clean], ("nor_conv_1x1", "nor_conv_3x3")) == otherwise[0]


def test_operations_without_convolutions_group_too(table):
    space = space_of("nb201(operations=[none, skip_connect, avg_pool_3x3])")
    archs = list(space.everything())[:40]
    small = table.frame.filter(pl.col("condition") == "clean").head(len(archs))
    other = BenchmarkTable(
        table.card,
        frame_of(small.with_columns(space=pl.lit(space.spec), arch=pl.Series("arch", archs))),
    )
    found = study(other, Questions(best=other.columns[:1])).spreads

    assert "avg_pool_3x3" in found[0].groups[0]


def test_no_two_alike_are_no_group(table):
    alone = BenchmarkTable(table.card, table.frame.filter(pl.col("arch") == ARCHS[0]))

    assert () == study(alone, Questions(best=[column(alone)])).spreads


def test_of_many_groups_the_largest_are_kept(table):
    clean = column(table)
    found = spread_by_operations(table, [clean], SPACE.vocabulary, least=1)
    whole = sum(map(len, found.values))

    assert MOST_GROUPS == len(found.groups) and whole < len(ARCHS)
    assert list(found.groups) == sorted(found.groups)


def test_neighbours_need_a_column(table):
    with pytest.raises(BadValueError, match="name a column"):
        study(table, Questions(neighbours=[ARCHS[0]]))


def test_rows_without_a_number_are_told(table):
    gaps = table.frame.with_columns(
        pl.when(pl.col("arch") == ARCHS[0]).then(None).otherwise(pl.col("value")).alias("value")
    )
    found = study(BenchmarkTable(table.card, gaps), Questions())

    assert any("6 rows of the table have no number" in flag for flag in found.flags)
    assert not any("no number" in flag for flag in study(table, Questions()).flags)


def wide(table, count):
    """The clean column, a cost and recalls of `count` classes."""
    clean = table.frame.filter(pl.col("condition") == "clean", pl.col("dataset") == "cifar10")
    recalls = [
        clean.with_columns(metric=pl.lit(f"recall(class={k})").cast(pl.Categorical))
        for k in range(count)
    ]
    sizes = table.frame.filter(pl.col("metric") == "params")
    return BenchmarkTable(table.card, frame_of(pl.concat([clean, sizes, *recalls])))


def test_recalls_of_many_classes_are_left_out_where_the_main_columns_are_wanted(table):
    many, few = wide(table, 70), wide(table, 5)

    assert 72 == len(named_columns(many, (), {}))
    assert ["accuracy", "params"] == [one.metric for one in named_columns(many, (), {}, main=True)]
    assert 7 == len(named_columns(few, (), {}, main=True))
    assert 70 == len(named_columns(many, ["clean"], {"metric": "recall(class=1)"}, main=True)) + 69


def test_labels_parse_each_condition_once(table, monkeypatch):
    parsed = []
    original = columns_module.parse_spec
    monkeypatch.setattr(
        columns_module, "parse_spec", lambda text: parsed.append(text) or original(text)
    )
    labels(wide(table, 70).columns)

    assert 2 == len(parsed)


def test_a_study_of_nothing_is_empty(table):
    found = study(table, Questions())

    assert () == found.best == found.correlations == found.described == found.spreads
