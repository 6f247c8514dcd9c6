"""From a table to rules: the whole, verdicts, attributes, and bad tables."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from explain.rules.make_table import TRUTH, effect, make_models, observe, write_testbed
from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.explain.rules import describe, find_rules, outcomes_of, read_given, verdicts_on
from holdfast.explain.tables import observations_of_testbed
from holdfast.records.explanations import Effect, Value


def judged(found, rule, outcome="slope"):
    return next(one for one in found.verdicts if rule in one.rule and one.outcome == outcome)


def test_a_testbed_table_made_of_known_rules(tmp_path):
    rows = make_models(11)
    seen = observations_of_testbed(write_testbed(tmp_path / "t.csv", rows))
    found = find_rules(seen)

    assert found.perturbation == "gaussian_noise"
    assert found.levels == (1, 2, 3, 4, 5)
    assert (found.models, found.described) == (200, 200)
    for attribute, truth in TRUTH.items():
        one = effect(found.effects, attribute).effect
        assert one.low < truth < one.high
    for rule in ("stem kernels", "input resolutions", "average pooling"):
        assert judged(found, rule).judgement == "holds"
    assert judged(found, "CLIP").judgement == "no data"
    points = {one.model: one for one in found.points}
    for row in rows:
        one = points[row["model"]]
        assert one.slope == pytest.approx(row["true_slope"])
        assert one.drop == pytest.approx(-3 * row["true_slope"])
        assert one.r_squared == pytest.approx(1)
    assert found.linearity[0].straight == 1
    groups = next(one for one in found.groups if one.attribute == "stem_pool")
    assert groups.groups == ("average", "max")
    assert found.model_dump_json() == find_rules(seen).model_dump_json()


def test_the_other_way_round_rules_are_contradicted():
    upside_down = {name: -value for name, value in TRUTH.items()}
    found = find_rules(observe(make_models(3, effects=upside_down)))

    for rule in ("stem kernels", "input resolutions", "average pooling"):
        assert judged(found, rule).judgement == "contradicted"


def test_recordings_are_two_measurements(tmp_path):
    path = write_testbed(tmp_path / "t.csv", make_models(1, count=6))
    noise = pl.col("perturbation") == "gaussian_noise"
    disk, memory = (
        observations_of_testbed(path, which).rows.filter(noise)
        for which in ("on-disk", "in-memory")
    )

    assert len(disk) == len(memory) == 30
    assert (memory["value"] - disk["value"]).to_numpy() == pytest.approx(0.03)
    with pytest.raises(UnknownNameError, match="recording"):
        observations_of_testbed(path, "on_disc")


def test_a_recording_that_is_missing_is_replaced_as_a_whole_and_flagged(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "model,val,fog.1_on-disk,fog.1_in-memory,fog.2_in-memory,snow.1_in-memory\n"
        "a,80,60,65,55,50\n"
    )
    found = observations_of_testbed(path)

    read = set(found.rows.select("perturbation", "level", "value").iter_rows())
    assert read == {("clean", 0.0, 0.8), ("fog", 1.0, 0.6), ("snow", 1.0, 0.5)}
    assert "snow: there is no on-disk recording, in-memory is taken" in found.flags


def test_verdicts_by_hand():
    def one(method, value, p, outcome="slope", holm=None):
        return Effect(
            attribute="stem_kernel", contrast="per doubling", outcome=outcome, method=method,
            effect=Value(value=value, low=value - 1, high=value + 1, count=9),
            p_value=p, p_holm=p if holm is None else holm,
        )  # fmt: skip

    def judgement(*effects, outcome="slope"):
        return verdicts_on(effects, [outcome])[0].judgement

    assert judgement() == "no data"
    assert judgement(one("pairs", 2, 0.2)) == "undecided"
    assert judgement(one("pairs", 2, 0.01)) == "holds"
    assert judgement(one("pairs", 2, 0.01, holm=0.2)) == "undecided"
    assert judgement(one("pairs", 2, math.nan)) == "undecided"
    assert judgement(one("pairs", 2, 0.2), one("regression", -2, 0.01)) == "contradicted"
    assert judgement(one("pairs", 2, 0.01), one("regression", -2, 0.01)) == "undecided"
    # Of a drop less is better.
    assert judgement(one("pairs", -2, 0.01, "drop"), outcome="drop") == "holds"


def test_calibration_is_an_outcome_where_it_was_measured():
    rows = make_models(2, count=60, families=10)
    more = [
        (row["model"], "clean" if level == 0 else "gaussian_noise", float(level), "ece",
         0.02 - 0.5 * row["true_slope"] * level, None)
        for row in rows
        for level in range(6)
    ]  # fmt: skip
    found = find_rules(observe(rows, more))
    outcomes = outcomes_of(observe(rows, more), "gaussian_noise")

    truth = {row["model"]: row["true_slope"] for row in rows}
    assert outcomes.values["ece"] == pytest.approx(  # levels 1 to 5, without clean
        [0.02 - 0.5 * truth[name] * 3 for name in outcomes.models]
    )
    slope = effect(found.effects, "average_pooling").effect.value
    calibration = effect(found.effects, "average_pooling", "ece_slope").effect.value
    assert calibration == pytest.approx(-0.5 * slope)
    assert judged(found, "average pooling", "ece_slope").judgement == "holds"
    assert [one.metric for one in found.linearity] == ["accuracy", "ece"]


def test_linearity_is_told_by_quantiles():
    bends = [0.0, 0.01, 0.02, 0.04, 0.2]
    rows = [
        (f"net{place}", "clean" if level == 0 else "fog", float(level), "accuracy",
         0.9 - 0.05 * level + bend * (level == 3), None)
        for place, bend in enumerate(bends)
        for level in range(6)
    ]  # fmt: skip
    seen = observe(make_models(1, count=1), rows)
    found = outcomes_of(seen, "fog")
    told = found.linearity[0]

    known = found.fits[np.isfinite(found.fits)]
    quantiles = np.quantile(known, [0.05, 0.5, 0.95])
    assert (told.low, told.median, told.high) == pytest.approx(tuple(quantiles))
    assert told.median > known.mean() + 0.05
    assert (told.count, told.straight) == (5, 0.8)


def test_attributes_of_real_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    names = ["resnet18", "resnet18_lpf3", "resnet18_ssl", "resnet18.tv_in1k", "nosuchnet"]
    rows = [(name, "clean", 0.0, "accuracy", 0.7, None) for name in names]
    seen = observe(make_models(1, count=1), rows)
    given = pl.DataFrame({"model": ["nosuchnet", "resnet18"], "kind": ["mlp", "hybrid"]})
    table = describe(seen, given).table
    found = {row["model"]: row for row in table.iter_rows(named=True)}

    assert found["resnet18"]["stem_kernel"] == 7
    assert found["resnet18"]["kind"] == "hybrid"
    assert not found["resnet18"]["anti_aliased"] and found["resnet18_lpf3"]["anti_aliased"]
    assert found["resnet18"]["recipe"] == "" and found["resnet18.tv_in1k"]["recipe"] == "tv_in1k"
    assert found["resnet18_ssl"]["more_data"] and not found["resnet18.tv_in1k"]["more_data"]
    assert (found["nosuchnet"]["resolved"], found["nosuchnet"]["kind"]) == ("given", "mlp")


def test_given_attributes_are_checked(tmp_path):
    seen = observe(make_models(1, count=6))
    with pytest.raises(BadValueError, match="column `model`"):
        describe(seen, pl.DataFrame({"name": ["a"], "kind": ["mlp"]}))
    with pytest.raises(BadValueError, match="net-000 twice"):
        describe(seen, pl.DataFrame({"model": ["net-000"] * 2, "kind": ["mlp"] * 2}))
    odd = pl.DataFrame({"model": ["net-000", "who"], "stem_kernel": ["wide", "3"]})
    told = " ".join(describe(seen, odd).flags)
    assert "models that the table lacks: who" in told
    assert "1 cells of the attribute stem_kernel are no whole number" in told
    pl.DataFrame({"model": ["net-000"], "kind": ["mlp"]}).write_parquet(tmp_path / "a.parquet")
    assert read_given(tmp_path / "a.parquet")["kind"].to_list() == ["mlp"]


def test_further_columns_of_a_table_are_attributes():
    rows = make_models(5, effects={})
    rng = np.random.default_rng(0)
    for row in rows:
        row["teacher"] = str(rng.choice(["none", "small", "large"]))
        row["epochs"] = float(rng.normal(300, 50))
        row["true_slope"] += 0.02 * (row["teacher"] == "large") + 1e-4 * (row["epochs"] - 300)
    found = find_rules(observe(rows))

    assert "further columns that count as attributes: teacher, epochs" in found.flags
    large = [one for one in found.effects if one.attribute == "teacher" and "large" in one.contrast]
    assert any(one.outcome == "slope" and one.p_holm < 0.01 for one in large)
    assert effect(found.effects, "epochs").effect.value == pytest.approx(0.005, abs=0.002)


def test_fewer_than_five_models_are_refused():
    with pytest.raises(BadValueError, match=r"4 of 4 models .* rules need 5"):
        find_rules(observe(make_models(1, count=4)))


def test_enough_models_for_slopes_and_not_for_a_regression():
    found = find_rules(observe(make_models(1, count=6)))

    assert found.models == 6 and len(found.points) == 6
    assert not [one for one in found.effects if one.method == "regression"]
    assert any("a regression needs 10" in flag for flag in found.flags)
    assert found.held_out == ()


def test_a_perturbation_that_is_not_there_is_answered_with_those_that_are():
    seen = observe(make_models(1, count=6))
    with pytest.raises(UnknownNameError, match="gaussian_noise"):
        find_rules(seen, perturbation="fog")
    rows = seen.rows.with_columns(pl.col("perturbation").replace({"gaussian_noise": "fog"}))
    other = pl.concat([rows, rows.filter(pl.col("perturbation") == "fog").with_columns(
        pl.lit("snow").alias("perturbation"))])  # fmt: skip
    with pytest.raises(BadValueError, match="--perturbation with one of fog, snow"):
        find_rules(type(seen)(other, seen.attributes, "t"))
    assert find_rules(type(seen)(rows, seen.attributes, "t")).perturbation == "fog"


def test_missing_severities_are_flagged(tmp_path):
    path = write_testbed(tmp_path / "t.csv", make_models(1, count=30), lacking=(2, 5))
    found = find_rules(observations_of_testbed(path))

    assert found.levels == (1, 3, 4)
    assert any("lacks 2, 5" in flag for flag in found.flags)


def test_without_clean_accuracies_slopes_are_over_the_levels():
    rows = make_models(4, count=60, families=10)
    seen = observe(rows)
    frame = seen.rows.filter(pl.col("perturbation") != "clean")
    found = find_rules(type(seen)(frame, seen.attributes, "t"))

    assert {one.outcome for one in found.effects} == {"slope", "accuracy"}
    assert found.points[0].slope == pytest.approx(rows[0]["true_slope"])
    assert math.isnan(found.points[0].drop)


def test_constant_columns_are_named():
    rows = [{**row, "stem_kernel": 7} for row in make_models(1, count=60)]
    found = find_rules(observe(rows))

    assert any("left out" in flag and "stem_kernel" in flag for flag in found.flags)
    assert judged(found, "stem kernels").judgement == "no data"


def test_models_that_are_all_alike_give_no_effects_and_no_crash():
    rows = [{**row, "true_slope": -0.05, "clean": 0.8} for row in make_models(1, count=30)]
    found = find_rules(observe(rows))

    assert found.models == 30
    assert not any(one.p_holm < 0.05 for one in found.effects)
