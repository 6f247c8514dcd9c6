"""Ranks under perturbation."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.explain.observations import OBSERVATION_COLUMNS, Observations
from holdfast.explain.ranking import published_matches, rank, rank_timm
from holdfast.explain.timm_observations import observations_of_timm
from holdfast.records.timm_tables import read_timm_results

SIGMAS = (0.1, 0.2, 0.3)
PAIRS = {
    "imagenet-real": "imagenet",
    "imagenetv2-matched-frequency": "imagenet",
    "sketch": "imagenet",
    "imagenet-a": "imagenet-a-clean",
    "imagenet-r": "imagenet-r-clean",
}


def seen(rows, flags=()):
    """Observations of rows (model, perturbation, level, value), and metric and count if given."""
    full = [(*row, "accuracy", 1000)[:6] if len(row) == 4 else row for row in rows]
    columns = ["model", "perturbation", "level", "value", "metric", "count"]
    frame = pl.DataFrame(full, schema=columns, orient="row")
    frame = frame.select(pl.col(name).cast(kind) for name, kind in OBSERVATION_COLUMNS.items())
    return Observations(frame, pl.DataFrame({"model": []}), "a toy", tuple(flags))


def straight(name, clean, slope, sigmas=SIGMAS):
    rows = [(name, "noise", sigma, clean + slope * sigma) for sigma in sigmas]
    return [(name, "clean", 0.0, clean), *rows]


def toy():
    """Six models; the sixth is the best on clean images and the worst under noise."""
    rows = [row for one in range(5) for row in straight(f"m{one}", 0.5 + one / 20, -0.5)]
    return [*rows, *straight("steep", 0.9, -2.5)]


def by_name(found):
    return {one.model: one for one in found.models}


def test_ranks_and_slopes_by_hand():
    found = rank(seen(toy()), "noise")
    models = by_name(found)

    assert ("noise 0.1", "noise 0.2", "noise 0.3") == found.conditions
    assert ["m4", "m3", "m2", "m1", "m0", "steep"] == [one.model for one in found.models]
    assert (1, 6, -5) == (
        models["steep"].clean_rank,
        models["steep"].perturbed_rank,
        models["steep"].rank_diff,
    )
    assert [1] * 5 == [models[f"m{one}"].rank_diff for one in range(5)]
    assert math.isclose(models["steep"].slope.value, -2.5)
    assert math.isclose(models["m0"].slope.value, -0.5)
    assert 4 == models["m0"].slope.count  # clean is level 0
    assert math.isclose(models["m0"].r_squared, 1)
    assert math.isclose(models["m0"].perturbed, 0.4)
    assert {"0", "0.1", "0.2", "0.3"} == set(models["m0"].levels)
    assert models["steep"].effective < 0 < models["m4"].effective
    assert () == found.flags


def test_agreements_are_those_of_scipy():
    found = rank(seen(toy()))
    clean = [one.clean for one in found.models]
    perturbed = [one.perturbed for one in found.models]
    agreement = next(one for one in found.agreements if one.second == "perturbed")

    assert math.isclose(agreement.spearman.value, stats.spearmanr(clean, perturbed).statistic)
    assert math.isclose(agreement.kendall.value, stats.kendalltau(clean, perturbed).statistic)
    assert agreement.spearman.low < agreement.spearman.value < agreement.spearman.high


def test_the_order_of_rows_changes_nothing():
    rows = toy()
    order = np.random.default_rng(0).permutation(len(rows))

    assert rank(seen(rows)) == rank(seen([rows[one] for one in order]))


def test_several_perturbations_are_averaged_and_share_a_slope_where_levels_are_alike():
    fog = [(m, "fog", level, value - 0.1) for m, p, level, value in toy() if p == "noise"]
    found = rank(seen([*toy(), *fog]))
    alone = by_name(rank(seen(toy()), "noise"))
    models = by_name(found)

    assert "2 perturbations" == found.perturbation
    assert 6 == len(found.conditions)
    assert math.isclose(models["m1"].perturbed, alone["m1"].perturbed - 0.05)
    assert math.isclose(models["m1"].levels["0.1"], alone["m1"].levels["0.1"] - 0.05)
    unlike = rank(seen([*toy(), *[(m, "fog", 1, 0.5) for m in alone]]))
    assert {} == unlike.models[0].levels
    assert any("--perturbation NAME" in flag for flag in unlike.flags)
    assert not any("--perturbation NAME" in flag for flag in found.flags)
    assert math.isnan(unlike.models[0].slope.value)


def test_top5_breaks_ties_in_accuracy():
    rows = [(m, p, 1.0, 0.5) for m in "abc" for p in ("clean", "noise")]
    five = [
        (m, "noise", 1.0, v, "top5_accuracy", 9)
        for m, v in zip("abc", (0.7, 0.9, 0.8), strict=True)
    ]

    found = rank(seen([*rows, *five]))

    assert ["b", "c", "a"] == [one.model for one in found.models]
    assert [2, 3, 1] == [one.clean_rank for one in found.models]


def test_missing_severities_are_flagged_rows():
    rows = [row for row in toy() if row[:3] != ("m2", "noise", 0.2)]
    rows = [row for row in rows if row[:2] != ("m3", "clean")]

    found = rank(seen(rows))
    models = by_name(found)

    assert models["m2"].perturbed_rank is None and models["m2"].rank_diff is None
    assert models["m2"].clean_rank is None and models["m3"].perturbed_rank is None
    # Of the four that have all, steep falls from the first place to the last.
    assert (1, 4) == (models["steep"].clean_rank, models["steep"].perturbed_rank)
    assert 3 == models["m2"].slope.count
    assert math.isnan(models["m2"].borda)
    assert models["m3"].rank_diff is None
    assert "some conditions are missing, so no place: m2" in found.flags
    assert "no clean accuracy, so no rank difference: m3" in found.flags
    assert 4 == sum(one.rank_diff is not None for one in found.models)


def test_a_rare_condition_is_left_out():
    found = rank(seen([*toy(), ("m1", "noise", 0.5, 0.1)]))

    assert "noise 0.5" not in found.conditions
    assert "noise 0.5 is left out: only 1 of 6 models have it" in found.flags
    assert all(one.rank_diff is not None for one in found.models)


def test_few_models_constant_columns_and_no_clean_are_flags():
    few = rank(seen([row for row in toy() if row[0] in {"m0", "m1"}]))
    equal = rank(seen([(f"m{one}", p, 1, 0.5) for one in range(6) for p in ("clean", "fog")]))
    unclean = rank(seen([row for row in toy() if row[1] != "clean"]))

    assert any("only 2 of 2 models can be ranked" in flag for flag in few.flags)
    assert any("no accuracy line" in flag for flag in few.flags)
    assert any("same accuracy under fog 1" in flag for flag in equal.flags)
    assert any("no model has a clean accuracy" in flag for flag in unclean.flags)
    assert [1, 2, 3, 4, 5, 6] == [one.perturbed_rank for one in unclean.models]


def test_duplicates_are_flagged_and_the_first_counts():
    found = rank(seen([*toy(), ("m1", "noise", 0.1, 0.99)], flags=["of the reader"]))

    assert found == found.model_copy(update={"models": rank(seen(toy())).models})
    assert "of the reader" == found.flags[0]
    assert "m1: a condition stands twice" in found.flags[1]


def test_a_constant_answer_is_flagged_and_last_by_fair_borda():
    rows = [*toy(), *straight("stuck", 0.1, 0.0)]
    rows = [(m, p, s, v if m == "stuck" or p == "clean" else 0.02) for m, p, s, v in rows]

    models = by_name(found := rank(seen(rows)))

    assert models["stuck"].constant and not models["m0"].constant
    assert 21 == models["stuck"].borda == max(one.borda for one in found.models)
    assert 3 == models["stuck"].fair_borda
    assert any(flag.startswith("stuck looks like a constant answer") for flag in found.flags)


def test_what_cannot_be_ranked_is_said():
    with pytest.raises(UnknownNameError, match="no perturbation of this table named 'nois'"):
        rank(seen(toy()), "nois")
    with pytest.raises(UnknownNameError, match="no metric of this table named 'ece'"):
        rank(seen(toy()), metric="ece")
    with pytest.raises(BadValueError, match="under any perturbation"):
        rank(seen([("a", "clean", 0.0, 0.5)]))
    with pytest.raises(BadValueError, match=r"fraction in .0, 1."):
        rank(seen([("a", "clean", 0.0, 50.0), ("a", "noise", 0.1, 40.0)]))
    with pytest.raises(BadValueError, match="less ece is better"):
        rank(seen([("a", "clean", 0.0, 0.1, "ece", 9)]), metric="ece")


def write(path, rows, published=None):
    head = "model,img_size,top1,top5" + (",rank_diff" if published else "")
    lines = [
        ",".join(map(str, row)) + (f",{published[place]}" if published else "")
        for place, row in enumerate(rows)
    ]
    path.write_text("\n".join([head, *lines]))
    return path


def test_a_model_at_several_sizes_is_several_models(tmp_path):
    base = write(
        tmp_path / "results-base.csv", [("a", 224, 80, 95), ("a", 288, 81, 95), ("b", 224, 70, 90)]
    )
    other = write(
        tmp_path / "results-sketch.csv", [("a", 224, 40, 55), ("b", 224, 30, 50), ("c", 224, 9, 20)]
    )

    found = observations_of_timm(base, [other])

    assert {"a-224", "a-288", "b", "c"} == set(found.rows["model"])
    assert {"clean", "sketch"} == set(found.rows["perturbation"])
    assert {"a", "b", "c"} == set(found.attributes["timm_name"])
    assert ("the clean table lacks c, which sketch has",) == found.flags
    with pytest.raises(BadValueError, match="different names"):
        observations_of_timm(base, [other, other])


def test_places_of_timm_are_those_in_the_full_tables(tmp_path):
    base = write(
        tmp_path / "results-base.csv", [("x", 1, 90, 95), ("a", 1, 80, 95), ("b", 1, 70, 90)]
    )
    other = write(tmp_path / "results-o.csv", [("b", 1, 60, 70), ("a", 1, 50, 70)], ["+2", "+1"])

    found = rank_timm(base, other)

    # Among those in both tables a would go from 1 to 2; in the full tables it keeps place 2.
    assert {"b-1": 2, "a-1": 0, "x-1": None} == {one.model: one.rank_diff for one in found.models}
    assert (1, 2, 2) == published_matches(found)


@pytest.mark.shared
@pytest.mark.parametrize("variant", sorted(PAIRS))
def test_published_rank_differences(shared, variant):
    folder = shared / "data/tables/timm"
    base, other = (folder / f"results-{name}.csv" for name in (PAIRS[variant], variant))

    same, near, stated = published_matches(rank_timm(base, other))

    assert stated >= 1555
    assert near == stated
    assert same >= 0.7 * stated


@pytest.mark.shared
@pytest.mark.parametrize("variant", sorted(PAIRS))
def test_ties_alone_part_published_differences_from_ours(shared, variant):
    """The base's places are of the sorted table, the variant's of a file sorted by top-1 alone."""
    folder = shared / "data/tables/timm"
    base, other = (
        read_timm_results(folder / f"results-{name}.csv").with_row_index("place")
        for name in (PAIRS[variant], variant)
    )
    place = pl.col("place").cast(pl.Int64)
    spans = other.with_columns(
        place.min().over("top1").alias("first"), place.max().over("top1").alias("last")
    )
    both = spans.join(base, on=["model", "img_size"], suffix="_base").drop_nulls("rank_diff")
    before = pl.col("place_base").cast(pl.Int64)

    inside = both.filter(
        pl.col("rank_diff").is_between(before - pl.col("last"), before - pl.col("first"))
    )

    assert both.height >= 1555
    assert inside.height == both.height
