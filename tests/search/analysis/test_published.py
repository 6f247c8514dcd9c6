"""Numbers that papers and a talk printed, from the tables that they published."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from holdfast.metrics.rank import kendall, spearman
from holdfast.search.analysis import (
    best,
    correlations,
    mean_of,
    operator_counts,
    spread_by_operations,
    top,
    with_operations,
)

pytestmark = pytest.mark.shared

ADVERSARIAL = {"training": "adversarial"}
RADII = ("1/2550", "1/510", "1/255", "2/255", "3/255", "4/255", "8/255")


def cell(table, column, count=1):
    """Published id of the best architecture of a column."""
    return table.space.id_of(top(table.values(column), column, count)[-1])


def best_id(table, values):
    return table.space.id_of(max(values, key=values.get))


def paired(one, two):
    """Two dictionaries as columns over the architectures of both."""
    archs = [arch for arch in one if arch in two]
    return [one[arch] for arch in archs], [two[arch] for arch in archs]


# Wu et al. 2024, Table 1: Spearman on CIFAR-10 at 8/255; the last three on standard training.
TABLE_1 = (
    (0.985, 0.989, 0.977, 0.313, 0.898),
    (0.998, 0.970, 0.382, 0.937),
    (0.974, 0.371, 0.931),
    (0.322, 0.891),
    (0.487,),
)


@pytest.fixture(scope="session")
def six(joined, robustness):
    """The columns of Table 1."""
    return [
        joined.values(joined.pick("clean", **ADVERSARIAL)),
        joined.values(joined.pick("pgd(eps=8/255)", **ADVERSARIAL)),
        joined.values(joined.pick("fgsm(eps=8/255)", **ADVERSARIAL)),
        robustness.values(robustness.pick("clean")),
        robustness.values(robustness.pick("pgd(eps=8/255)")),
        robustness.values(robustness.pick("fgsm(eps=8/255)")),
    ]


@pytest.mark.parametrize(("row", "column"), list(itertools.combinations(range(6), 2)))
def test_table_1_of_robust_search_under_adversarial_training(six, row, column):
    found = spearman(*paired(six[row], six[column]))

    assert pytest.approx(found.value, abs=0.002) == TABLE_1[row][column - row - 1]
    assert 6466 == found.count


def test_the_tables_agree_on_what_both_hold(joined, robustness):
    for condition in ("pgd(eps=1/255)", "fgsm(eps=1/255)", "apgd_ce(eps=1/255)"):
        one = joined.values(joined.pick(condition, training="plain"))
        two = robustness.values(robustness.pick(condition))

        assert two == one


# Keuper's talk, row "Optimum", in percent; the table keeps three decimals of a fraction.
OPTIMUM = {"clean": 94.68, "fgsm": 69.24, "pgd": 58.85, "apgd_ce": 54.02, "square": 73.61}


@pytest.mark.parametrize(("condition", "percent"), OPTIMUM.items(), ids=list(OPTIMUM))
def test_the_optimum_of_each_column(robustness, condition, percent):
    asked = condition if condition == "clean" else f"{condition}(eps=1/255)"
    highest = max(robustness.values(robustness.pick(asked)).values())

    assert pytest.approx(percent / 100, abs=0.001) == highest


def test_the_optimum_of_the_mean_over_corruptions(robustness):
    means = mean_of(robustness, robustness.matching("corruptions"))

    assert pytest.approx(0.5855, abs=1e-4) == max(means.values())
    assert 3456 == best_id(robustness, means)


TAU = {
    "fgsm": (0.87, 0.61, 0.63, 0.68, 0.70, 0.71, 0.71),
    "pgd": (0.88, 0.30, 0.17, 0.24, 0.28, 0.31, 0.26),
    "apgd_ce": (0.85, 0.02, -0.11, -0.03, -0.01, -0.11, -0.11),
    "square": (0.95, 0.74, 0.45, 0.24, 0.23, 0.25, 0.13),
}


@pytest.mark.parametrize("attack", TAU)
def test_tau_of_clean_and_attacked_accuracy(robustness, attack):
    columns = [robustness.pick(f"{attack}(eps={eps})") for eps in RADII]
    found = correlations(robustness, [robustness.pick("clean"), *columns])

    assert pytest.approx(TAU[attack], abs=0.01) == found.kendall[0][1:]
    assert {6466} == set(itertools.chain.from_iterable(found.counts))


PAIRS = {
    ("apgd_ce", "pgd"): 0.70,
    ("square", "fgsm"): 0.57,
    ("pgd", "fgsm"): 0.51,
    ("apgd_ce", "fgsm"): 0.21,
}


@pytest.mark.parametrize(("pair", "tau"), PAIRS.items(), ids=map("-".join, PAIRS))
def test_tau_between_attacks_of_one_radius(robustness, pair, tau):
    columns = [robustness.pick(f"{name}(eps=1/255)") for name in pair]

    assert pytest.approx(tau, abs=0.01) == correlations(robustness, columns).kendall[0][1]


CORRUPTED = {
    "brightness": 0.88, "fog": 0.77, "snow": 0.75, "contrast": 0.72, "elastic_transform": 0.65,
    "frost": 0.52, "defocus_blur": 0.51, "pixelate": 0.40, "motion_blur": 0.37,
    "impulse_noise": 0.35, "jpeg_compression": 0.20, "zoom_blur": 0.19, "glass_blur": 0.14,
    "shot_noise": 0.08, "gaussian_noise": -0.04, "corruptions": 0.62,
}  # fmt: skip


@pytest.mark.parametrize(("corruption", "tau"), CORRUPTED.items(), ids=list(CORRUPTED))
def test_tau_of_clean_and_corrupted_accuracy(robustness, corruption, tau):
    clean = robustness.values(robustness.pick("clean"))
    means = mean_of(robustness, robustness.matching(corruption))

    assert pytest.approx(tau, abs=0.01) == kendall(*paired(clean, means)).value


MEDIANS = {
    "pgd": (0.871, 0.625, 0.347, 0.092),
    "fgsm": (0.867, 0.665, 0.507, 0.374),
    "apgd_ce": (0.863, 0.527, 0.167, 0.011),
    "square": (0.896, 0.794, 0.635, 0.333),
}


@pytest.mark.parametrize("attack", MEDIANS)
def test_medians_of_attacked_accuracy(robustness, attack):
    columns = [robustness.pick(f"{attack}(eps={eps})") for eps in RADII[:4]]
    found = [float(np.median(list(robustness.values(column).values()))) for column in columns]

    assert pytest.approx(MEDIANS[attack], abs=5e-4) == tuple(found)


MAXIMA = {  # of NAS-RobBench-201 on CIFAR-10, with the published id of the cell
    "clean": (0.7956, 9930),
    "fgsm(eps=3/255)": (0.6973, 13714),
    "pgd(eps=3/255)": (0.6924, 9930),
    "fgsm(eps=8/255)": (0.5351, 2581),
    "pgd(eps=8/255)": (0.4811, 2581),
    "autoattack": (0.4438, 9930),
}


@pytest.mark.parametrize(("condition", "maximum"), MAXIMA.items(), ids=list(MAXIMA))
def test_the_best_of_adversarial_training(joined, condition, maximum):
    column = joined.pick(condition, **ADVERSARIAL)
    value, number = maximum

    assert pytest.approx(value, abs=5e-5) == max(joined.values(column).values())
    assert number == cell(joined, column)


def test_the_best_cells_by_their_operations(joined):
    column = joined.pick("pgd(eps=8/255)", **ADVERSARIAL)
    found = best(joined, column, count=2).ranked[0]
    three, one = "nor_conv_3x3", "nor_conv_1x1"

    assert f"|{three}~0|+|{one}~0|{three}~1|+|skip_connect~0|{three}~1|{three}~2|" == found.arch
    assert ("input", three, one, three, "skip_connect", three, three, "output") == (
        found.cells[0].nodes
    )


def test_the_best_of_standard_training(robustness):
    clean = robustness.pick("clean")
    attacks = robustness.matching("attacks")

    assert 13714 == cell(robustness, clean)
    assert 32 == len(attacks)
    assert 6118 == best_id(robustness, mean_of(robustness, attacks))


def test_the_best_mean_over_attacks_up_to_eight_levels(robustness):
    attacks = [one for one in robustness.matching("attacks") if "eps=1/1)" not in one.condition]
    means = [
        mean_of(robustness, [one for one in attacks if one.condition.startswith(name)])
        for name in ("fgsm", "pgd", "apgd_ce", "square")
    ]
    overall = {arch: sum(one[arch] for one in means) / 4 for arch in means[0]}

    assert 31 == len(attacks)
    assert 9890 == best_id(robustness, overall)


def test_operations_of_the_hundred_best_under_pgd(joined):
    found = operator_counts(joined, joined.pick("pgd(eps=8/255)", **ADVERSARIAL), count=100)
    expected = {"nor_conv_3x3": 356, "nor_conv_1x1": 131, "skip_connect": 70}

    assert {**expected, "none": 29, "avg_pool_3x3": 14} == dict(
        zip(found.operators, found.counts, strict=True)
    )


def test_cells_of_equal_size_differ_twofold_in_robustness(robustness):
    """Jung, Lukasik and Keuper 2023: two 3x3 convolutions and no 1x1, 21 % to 40 %."""
    names = ("nor_conv_3x3", "nor_conv_1x1")
    alike = with_operations(robustness, {names[0]: 2, names[1]: 0})
    found = spread_by_operations(robustness, robustness.matching("attacks"), names)
    values = dict(zip(found.groups, found.values, strict=True))[
        "2 x nor_conv_3x3, 0 x nor_conv_1x1"
    ]

    assert 405 == len(alike) == len(values)
    assert (0.211, 0.399) == pytest.approx((values[0], values[-1]), abs=5e-4)
