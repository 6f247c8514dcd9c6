"""The causal check: what is held equal, and what is concluded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import HoldfastError, UnknownNameError
from holdfast.core.nested import dotted
from holdfast.explain.causal import Cell, Design, Done, after_a_look, conclude
from holdfast.explain.causal.experiment import training_folder
from holdfast.explain.causal.findings import contrasts, paired_p, variants
from holdfast.metrics.slope import robustness_slope
from holdfast.records.explanations import Trained

SIGMAS = (0.1, 0.2, 0.3)


def trained(cell, accuracies, **changes):
    levels = (0.0, *SIGMAS)
    fields = {
        "stem": cell.stem,
        "pool": cell.pool,
        "seed": cell.seed,
        "accuracies": tuple(zip(levels, map(float, accuracies), strict=True)),
        "slope": robustness_slope(levels, accuracies).value,
        "stem_gain": 1.0 + cell.stem,
        "stem_ratio": 9.0 / cell.stem,
    }
    return Trained(**(fields | changes))


def done(cell, accuracies, **changes):
    return Done(cell, trained(cell, accuracies, **changes), 1.0, False, 500, 1000)


def planted(design, effect, noise=0.004):
    """Accuracies whose line falls by what `effect(cell)` says, with a level a seed and noise."""
    rng = np.random.default_rng(0)
    levels = rng.normal(0.8, 0.02, design.seeds)
    found = []
    for cell in design.cells:
        fall = np.array([0.0, *SIGMAS]) * (effect(cell) - 1)
        found.append(done(cell, levels[cell.seed] + fall + rng.normal(0, noise, 4)))
    return found


@pytest.fixture(name="design", scope="module")
def _design():
    return Design(sigmas=SIGMAS, seeds=5)


@pytest.fixture(name="table", scope="module")
def _table(design):
    return planted(design, lambda cell: 0.05 * cell.stem + 0.2 * (cell.pool == "average"))


def by_name(found, outcome="slope"):
    return {one.what: one for one in found if one.outcome == outcome}


def test_recipes_differ_in_the_network_and_the_seed_alone(design):
    flat = [dotted(design.recipe(cell).body()) for cell in design.cells]
    varied = {key for key in flat[0] if len({str(one[key]) for one in flat}) > 1}

    assert {"model.name", "seed"} == varied
    assert all(cell.seed == design.recipe(cell).seed for cell in design.cells)


def test_no_image_chooses_the_weights():
    assert Design().recipe(Cell(3, "max", 0)).data.validation is None


def test_every_training_has_a_folder_of_its_own(tmp_path):
    first, second = Design(), Design(epochs=3)
    names = {training_folder(tmp_path, one, cell) for one in (first, second) for cell in one.cells}

    assert 36 == len(names)


def test_variants_are_means_with_students_interval(design, table):
    found = variants(design, [one.trained for one in table])
    slopes = [one.trained.slope for one in table if one.cell.stem == 5 and one.cell.pool == "max"]
    chosen = next(one for one in found if (one.stem, one.pool) == (5, "max"))
    low, high = stats.t.interval(0.95, 4, np.mean(slopes), stats.sem(slopes))

    assert (5, 5) == (chosen.seeds, chosen.slope.count)
    assert np.allclose([np.mean(slopes), low, high], list(chosen.slope.model_dump().values())[:3])
    assert 6 == len(found)


def test_contrasts_are_paired_t_tests_over_seeds(design, table):
    found = by_name(contrasts(design, [one.trained for one in table]))

    def means(**wanted):
        return [
            np.mean(
                [
                    one.trained.slope
                    for one in table
                    if one.cell.seed == seed
                    and all(getattr(one.cell, key) == value for key, value in wanted.items())
                ]
            )
            for seed in range(5)
        ]

    for what, first, second in (
        ("stem 5 against 3", {"stem": 5}, {"stem": 3}),
        ("stem 7 against 3", {"stem": 7}, {"stem": 3}),
        ("average against max", {"pool": "average"}, {"pool": "max"}),
    ):
        judge = stats.ttest_rel(means(**first), means(**second))
        bounds = judge.confidence_interval()
        one = found[what]
        assert np.isclose(judge.pvalue, one.p_value)
        assert np.allclose(
            [*bounds, np.mean(means(**first)) - np.mean(means(**second))],
            [one.difference.low, one.difference.high, one.difference.value],
        )


def test_p_values_are_corrected_within_an_outcome(design, table):
    found = contrasts(design, [one.trained for one in table])
    for outcome in {one.outcome for one in found}:
        some = sorted((one for one in found if one.outcome == outcome), key=lambda one: one.p_value)
        least, middle, most = (one.p_value for one in some)
        first = min(3 * least, 1)
        second = max(first, min(2 * middle, 1))

        assert np.allclose([first, second, max(second, most)], [one.p_holm for one in some])


def test_the_outcomes_are_slope_clean_and_the_middle_sigma(design, table):
    found = contrasts(design, [one.trained for one in table])

    assert ["slope"] * 3 + ["clean accuracy"] * 3 + ["accuracy at sigma 0.2"] * 3 == [
        one.outcome for one in found
    ]


def test_what_a_seed_does_to_all_changes_no_contrast(design, table):
    moved = [
        trained(one.cell, [value + 0.05 * one.cell.seed for _, value in one.trained.accuracies])
        for one in table
    ]
    before = contrasts(design, [one.trained for one in table])
    for one, other in zip(before, contrasts(design, moved), strict=True):
        assert np.isclose(one.p_value, other.p_value)
        assert np.isclose(one.difference.value, other.difference.value)


def test_a_seed_that_lacks_a_training_is_left_out_of_its_contrasts(design, table):
    kept = [one.trained for one in table if one.cell != Cell(7, "max", 2)]
    found = by_name(contrasts(design, kept))

    assert [5, 4, 4] == [one.difference.count for one in found.values()]


def test_p_of_equal_differences_needs_no_scatter():
    assert 1.0 == paired_p([0.0, 0.0, 0.0])
    assert 0.0 == paired_p([0.1, 0.1, 0.1])
    assert math.isnan(paired_p([0.1]))


def test_no_effect_is_found_where_there_is_none():
    """At 5 % of 400 experiments of noise alone: 20, give or take 4.4."""
    rng = np.random.default_rng(1)
    hits = sum(paired_p(rng.normal(0, 1, 3)) < 0.05 for _ in range(400))

    assert 20 - 3 * 4.4 < hits < 20 + 3 * 4.4


def test_a_planted_effect_is_caused_and_its_size_told(design, table):
    found = conclude(design, table)
    slope = by_name(found.contrasts)["average against max"].difference

    assert slope.low < 0.2 < slope.high
    assert found.verdict.startswith("Caused, since nothing else differed: for each 0.1 of sigma")
    assert f"{10 * slope.value:.1f} points less" in found.verdict
    assert "with average instead of max pooling (p " in found.verdict


def test_noise_alone_is_undecided(design):
    found = conclude(design, planted(design, lambda _: 0.0, noise=0.02))

    assert found.verdict.startswith("Undecided, since no effect is within the interval:")
    assert "aused" not in found.verdict


def test_what_correction_takes_away_is_probable_alone():
    design = Design(sigmas=SIGMAS, seeds=3)
    falls = (-0.207, -0.3, -0.393)  # t = 5.6 at two degrees of freedom
    table = planted(design, lambda cell: falls[cell.seed] * (cell.pool == "max"), noise=0)
    found = conclude(design, table)
    one = by_name(found.contrasts)["average against max"]

    assert np.isclose(stats.ttest_1samp(falls, 0).pvalue, one.p_value)
    assert one.p_value < 0.05 < one.p_holm
    assert found.verdict.startswith("Probably caused, but not beyond doubt")
    assert "nothing else differed" not in found.verdict


def test_more_is_called_less_where_the_first_choice_is_worse(design):
    found = conclude(design, planted(design, lambda cell: -0.3 * (cell.pool == "average")))

    assert "2.9 points more [" in found.verdict


def test_a_choice_without_two_seeds_is_told_apart(design, table):
    kept = [one for one in table if one.cell.stem != 7 or one.cell.seed == 0]

    assert "Too few finished trainings to tell: a stem of 7" in conclude(design, kept).verdict


def test_three_seeds_are_said_to_be_few():
    design = Design(sigmas=SIGMAS)

    few = conclude(design, planted(design, lambda _: 0.0)).verdict

    assert "On three seeds each: so few miss all but large effects; p is of t-tests" in few
    assert "for three contrasts" in few


def test_seeds_added_after_a_look_are_flagged_for_good(design, table):
    few = conclude(Design(sigmas=SIGMAS, seeds=3), [one for one in table if one.cell.seed < 3])
    more = conclude(design, table)
    flagged = after_a_look(more, few)

    assert "Seeds were added after three had been looked at, so p-values are too small." in (
        flagged.flags
    )
    assert flagged.flags == after_a_look(more, flagged).flags
    assert more == after_a_look(more, more)
    assert more == after_a_look(more, few.model_copy(update={"data": "other images"}))


def test_accuracies_that_differ_are_told_though_the_slope_does_not(design):
    table = [
        done(one.cell, [value + 0.02 * (one.cell.stem == 7) for _, value in one.trained.accuracies])
        for one in planted(design, lambda _: 0.0, noise=0.001)
    ]
    told = conclude(design, table).verdict

    assert "Clean accuracy is 2.0 points higher [" in told
    assert "Accuracy at sigma 0.2 is 2.0 points higher [" in told
    assert told.count("a stem of 7 instead of 3 pixels (p below 0.001)") == 2


def test_accuracies_that_differ_before_holm_alone_are_probable():
    design = Design(sigmas=SIGMAS, seeds=3)
    gains = (0.0207, 0.03, 0.0393)  # t = 5.6 at two degrees of freedom
    table = [
        done(
            one.cell,
            [value + gains[one.cell.seed] * (one.cell.pool == "max")
             for _, value in one.trained.accuracies],
        )
        for one in planted(design, lambda _: 0.0, noise=0)
    ]  # fmt: skip
    found = conclude(design, table)
    clean = next(
        one for one in found.contrasts
        if (one.outcome, one.what) == ("clean accuracy", "average against max")
    )  # fmt: skip

    assert clean.p_value < 0.05 < clean.p_holm
    assert "Clean accuracy is probably 3.0 points lower [" in found.verdict


def test_one_seed_concludes_nothing():
    design = Design(sigmas=SIGMAS, seeds=1)
    found = conclude(design, planted(design, lambda cell: 0.1 * cell.stem))

    assert "cannot tell a cause from chance" in found.verdict
    assert all(math.isnan(one.difference.low) for one in found.contrasts)


def test_failures_and_bends_are_flags(design, table):
    cell = design.cells[0]
    bent = [one for one in table if one.cell != cell]
    bent.append(
        Done(cell, Trained(stem=3, pool="average", seed=0, accuracies=(), status="failed",
                           error="the loss is no number"), 1.0, False, 0, 0)
    )  # fmt: skip
    last = design.cells[-1]
    bent = [one if one.cell != last else done(last, [0.9, 0.2, 0.2, 0.2]) for one in bent]
    flags = conclude(design, bent).flags

    assert "Stem 3 with average pooling, seed 0, failed: the loss is no number" in flags
    assert any("no straight line in 1 of 29" in flag for flag in flags)


def test_measuring_what_was_trained_on_is_a_flag():
    design = Design(sigmas=SIGMAS, test_split="train")

    assert any("trained on" in flag for flag in conclude(design, []).flags)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kernels": (3,), "pools": ("max",)}, "nothing is varied"),
        ({"kernels": (3, 4)}, "odd number"),
        ({"kernels": (3, 3)}, "different from each other"),
        ({"pools": ()}, "different from each other"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"sigmas": (0.1,)}, "two or more different levels"),
        ({"overrides": ("data.n=3",)}, "the experiment sets itself"),
        ({"overrides": ("train.epochs=3",)}, "the experiment sets itself"),
        ({"overrides": ("optimizer.lr=-1",)}, "optimizer.lr"),
    ],
)
def test_a_design_that_says_nothing_is_refused(changes, told):
    with pytest.raises(HoldfastError, match=told):
        Design(**changes)


def test_an_unknown_pooling_is_refused_with_those_known():
    with pytest.raises(UnknownNameError, match="average"):
        Design(pools=("averge", "max"))
