"""Partial effects against known ones, and against statsmodels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from statsmodels.api import OLS, add_constant
from statsmodels.regression.mixed_linear_model import MixedLM

from explain.rules.make_table import TRUTH, effect, make_models, observe
from holdfast.explain.rules import describe, held_out, outcomes_of, regress
from holdfast.explain.rules.features import Feature, design_of
from holdfast.explain.rules.mixed import fit
from holdfast.metrics.rank import spearman


def data(seed, count=120, families=12, spread=1.0):
    rng = np.random.default_rng(seed)
    place = rng.integers(families, size=count)
    columns = np.column_stack([rng.normal(size=count), rng.normal(size=families)[place]])
    values = 2 + columns @ [0.5, -0.3] + rng.normal(0, spread, families)[place]
    return columns, values + rng.normal(size=count), [f"f{one}" for one in place]


def regression_of(rows):
    seen = observe(rows)
    outcomes = outcomes_of(seen, "gaussian_noise")
    described = describe(seen)
    return regress(described, "slope", outcomes.values["slope"], outcomes.clean)


def test_the_mixed_fit_agrees_with_statsmodels():
    columns, values, families = data(1)
    ours = fit(columns, values, families)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MixedLM(values, add_constant(columns), groups=families).fit(reml=True)

    assert ours.method == "mixed"
    assert ours.coefficients == pytest.approx(theirs.fe_params, abs=1e-4)
    assert ours.errors == pytest.approx(theirs.bse_fe, rel=1e-3)
    assert ours.ratio == pytest.approx(float(np.squeeze(theirs.cov_re)) / theirs.scale, rel=1e-2)


def test_degrees_of_freedom_are_of_families_for_what_is_the_same_within_them():
    columns, values, families = data(1)
    found = fit(columns, values, families)

    assert found.freedom[1] == len(values) - len(set(families)) - 1
    assert found.freedom[2] == len(set(families)) - 2


def test_without_variance_between_families_errors_are_the_larger_of_clustered_and_ordinary():
    columns, values, families = data(0, spread=0.0)
    place = np.array([int(family[1:]) for family in families])
    values += columns[:, 0] * np.where(place % 2, 2.0, -2.0)  # families differ in their slope
    for family in range(12):
        values[place == family] -= values[place == family].mean()
    ours = fit(columns, values, families)
    groups = np.unique(families, return_inverse=True)[1]
    plain = OLS(values, add_constant(columns)).fit()
    clustered = plain.get_robustcov_results("cluster", groups=groups, use_t=True)

    assert ours.method == "clustered" and "no variance" in ours.why
    assert ours.coefficients == pytest.approx(plain.params)
    assert clustered.bse[1] > 1.2 * plain.bse[1] and clustered.bse[2] < plain.bse[2]
    assert ours.errors == pytest.approx(np.maximum(clustered.bse, plain.bse))
    assert (ours.freedom == len(set(families)) - 1).all()


def test_one_family_is_an_ordinary_regression():
    columns, values, _ = data(3)
    ours = fit(columns, values, ["one"] * len(values))
    theirs = OLS(values, add_constant(columns)).fit()

    assert ours.method == "plain"
    assert ours.errors == pytest.approx(theirs.bse)
    assert ours.p_value(1) == pytest.approx(theirs.pvalues[1])
    assert ours.interval(1) == pytest.approx(theirs.conf_int()[1])


def test_known_effects_are_found_and_nothing_else():
    found = regression_of(make_models(5))

    for attribute, truth in TRUTH.items():
        one = effect(found.effects, attribute)
        assert one.effect.low < truth < one.effect.high
        assert one.effect.value == pytest.approx((one.effect.low + one.effect.high) / 2)
        assert one.p_holm < 0.001
        assert one.effect.count == 200
    assert effect(found.effects, "parameters").p_holm > 0.05
    assert not any("least squares" in flag for flag in found.flags)


@pytest.mark.slow
def test_intervals_cover_the_truth_and_holm_keeps_its_level():
    covered, false, repetitions = [], 0, 40
    for seed in range(repetitions):
        found = regression_of(make_models(100 + seed, count=150, families=20))
        for attribute, truth in TRUTH.items():
            one = effect(found.effects, attribute)
            covered.append(one.effect.low < truth < one.effect.high)
        nothing = regression_of(make_models(500 + seed, count=150, families=20, effects={}))
        false += any(one.p_holm < 0.05 for one in nothing.effects)

    assert 0.85 <= np.mean(covered) < 1
    assert false <= 6  # of 40 at 5 %: more has a chance of 0.3 %


def test_rules_predict_other_families_as_well_as_the_truth_does():
    rows = make_models(7, count=300, families=30)
    seen = observe(rows)
    outcomes = outcomes_of(seen, "gaussian_noise")
    described = describe(seen)
    slopes = outcomes.values["slope"]
    known = [
        TRUTH["stem_kernel"] * np.log2(row["stem_kernel"])
        + TRUTH["input_size"] * np.log2(row["input_size"])
        + TRUTH["average_pooling"] * (row["stem_pool"] == "average")
        for row in rows
    ]
    best = spearman(known, slopes).value
    found = held_out(described, "slope", slopes)

    assert found.families == 30 and found.splits == 20
    assert found.spearman.value == pytest.approx(best, abs=0.06)
    assert found.spearman.low < found.spearman.value < found.spearman.high
    assert found.within.value >= found.spearman.value - 0.05
    assert held_out(described, "slope", slopes) == found
    assert held_out(described, "slope", slopes, seed=1) != found


def test_rules_made_of_noise_predict_no_other_family():
    rows = make_models(7, count=300, families=30)
    seen = observe(rows)
    noise = np.random.default_rng(0).normal(size=len(rows))
    found = held_out(describe(seen), "slope", noise)

    assert abs(found.spearman.value) < 0.1
    assert found.within.value > found.spearman.value + 0.1


def test_constant_rare_unknown_and_collinear_columns_are_left_out_and_told():
    rng = np.random.default_rng(0)
    size = rng.normal(size=40)
    rare, unknown = np.zeros(40), np.full(40, np.nan)
    rare[:2], unknown[:20] = 1, 1
    features = [
        Feature("size", "a", size),
        Feature("twice", "b", 2 * size + 1),
        Feature("constant", "c", np.ones(40)),
        Feature("rare", "d", rare),
        Feature("unknown", "e", unknown),
        Feature("other", "f", rng.normal(size=40)),
    ]
    found = design_of(features, np.ones(40, dtype=bool))

    assert [one.attribute for one in found.features] == ["size", "other"]
    assert found.dropped["twice (b)"] == "follows from the others"
    assert found.dropped["constant (c)"].startswith("the same")
    assert found.dropped["rare (d)"].startswith("the same")
    assert found.dropped["unknown (e)"] == "known of 20 of 40 models"
    fewer = design_of(features, np.ones(40, dtype=bool), most=1)
    assert fewer.dropped["other (f)"].startswith("too few models")


def test_few_models_are_not_regressed():
    found = regression_of(make_models(1, count=9))

    assert found.effects == ()
    assert "9 models have it and attributes; a regression needs 10" in found.flags[0]
