"""What is wanted of an architecture, and what a search may not see."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.search.objectives import build_objective
from holdfast.search.quantities import Choice
from search_toys import PGD, toy_table, worth

TABLE = toy_table()
SPACE = TABLE.space
BEST = SPACE.text(("nor_conv_3x3",) * 6)
NOTHING = SPACE.text(("none",) * 6)


def test_the_score_is_the_recorded_value():
    score = build_objective(TABLE, ["clean"])(BEST)

    assert score.merit == pytest.approx(0.85)
    assert score.values == (score.merit,)
    assert score.feasible


def test_every_architecture_has_its_own_value():
    objective = build_objective(TABLE, ["clean"])
    cells = {arch: SPACE.graphs(arch)[0].nodes[1:-1] for arch in SPACE.everything()}

    assert all(objective(arch).merit == pytest.approx(worth(cell)) for arch, cell in cells.items())


def test_latency_is_minimized_unless_one_says_otherwise():
    quick, score = build_objective(TABLE, ["latency(device=toy)"]).ranked()[0]

    assert "nor_conv_3x3" not in quick
    assert score.merit == -1
    assert build_objective(TABLE, ["max:latency(device=toy)"]).ranked()[0][0] == BEST


def test_accuracy_can_be_minimized():
    assert build_objective(TABLE, ["min:clean"]).ranked()[0][0] == NOTHING


def test_a_weighted_sum_is_the_sum():
    score = build_objective(TABLE, ["0.25*clean + 0.75*pgd(eps=0.1)"])(BEST)

    assert score.merit == pytest.approx(0.25 * 0.85 + 0.75 * 0.0, abs=1e-6)


def test_a_mean_is_the_mean_of_what_matches():
    table = toy_table()
    objective = build_objective(table, ["mean(fog)"], choice=Choice("test"))

    assert objective(BEST).merit == pytest.approx(0.5)


def test_a_mean_of_two_is_half_their_sum():
    condition = pl.col("condition").cast(pl.String)
    more = TABLE.frame.filter(condition == PGD).with_columns(
        condition=pl.lit("pgd(norm=linf, eps=0.2, steps=20)").cast(pl.Categorical),
        value=pl.lit(0.1, dtype=pl.Float32),
    )
    table = replace(TABLE, frame=pl.concat([TABLE.frame, more]))

    assert build_objective(table, ["mean(attacks)"])(NOTHING).merit == pytest.approx(0.35)


def test_a_sum_that_pulls_apart_is_refused():
    with pytest.raises(BadValueError, match="opposite directions"):
        build_objective(TABLE, ["clean + latency(device=toy)"])


def test_what_should_be_small_takes_a_negative_weight():
    objective = build_objective(TABLE, ["clean + -0.01*latency(device=toy)"])

    assert objective(BEST).merit == pytest.approx(0.85 - 0.07)


def test_a_negative_weight_turns_nothing_else_round():
    assert build_objective(TABLE, ["-1*clean"])(BEST).merit == pytest.approx(-0.85)
    both = build_objective(TABLE, ["-0.5*clean + 0.5*pgd(eps=0.1)"])

    assert both(NOTHING).merit == pytest.approx(0.5 * 0.6 - 0.5 * 0.5)


@pytest.mark.parametrize("weight", ["0", "1e-400", "1e400", "-0.0"])
def test_a_weight_that_weighs_nothing_or_all_is_refused(weight):
    with pytest.raises(BadValueError, match="must be a number that is not 0"):
        build_objective(TABLE, [f"{weight}*clean"])


@pytest.mark.parametrize(
    "text",
    ["clean + ", "+ clean", "-clean", "clean - pgd", "2 clean", "clean*2", "nan*clean", "mean()",
     "mean(clean", "mean(clean)junk", "clean + 1", "min:max:clean", "1/2*clean"],
)  # fmt: skip
def test_what_is_no_objective_is_told_the_grammar(text):
    with pytest.raises(BadValueError, match=r"cannot read the objective|cannot read the spec"):
        build_objective(TABLE, [text])


def test_exponents_are_no_sums():
    assert build_objective(TABLE, ["1e+2*clean"])(BEST).merit == pytest.approx(85)


def test_members_of_a_class_keep_their_values_beside_a_column_of_the_class():
    """As in published tables: clean accuracy of every cell, robust accuracy of one a class."""
    first = {arch: SPACE.canonical(arch) for arch in SPACE.everything()}
    own = pl.col("condition").cast(pl.String) != PGD
    once = pl.col("arch").cast(pl.String).is_in(list(set(first.values())))
    table = replace(TABLE, frame=TABLE.frame.filter(own | once))
    objective = build_objective(table, ["clean + pgd(eps=0.1)"])
    alone = build_objective(TABLE, ["clean"])
    robust = build_objective(TABLE, ["pgd(eps=0.1)"])

    assert all(
        objective(arch).merit == pytest.approx(alone(arch).merit + robust(first[arch]).merit)
        for arch in first
    )


def test_the_validation_split_is_read():
    assert build_objective(TABLE, ["clean"])(NOTHING).merit == pytest.approx(0.5)


def test_the_test_split_is_read_only_when_asked_for():
    objective = build_objective(TABLE, ["clean"], choice=Choice("test"))

    assert objective(NOTHING).merit == pytest.approx(0.4)


def test_a_column_of_the_test_split_alone_is_out_of_reach():
    with pytest.raises(BadValueError, match="--select-on test"):
        build_objective(TABLE, ["fog(severity=3)"])


def test_brackets_do_not_open_the_test_split():
    with pytest.raises(BadValueError, match="--select-on test"):
        build_objective(TABLE, ["clean[split=test]"])


def test_an_unknown_column_is_told_with_its_nearest():
    with pytest.raises(UnknownNameError, match="did you mean clean"):
        build_objective(TABLE, ["cleann"])


def test_an_unknown_radius_is_told():
    with pytest.raises(UnknownNameError, match="pgd"):
        build_objective(TABLE, ["pgd(eps=0.3)"])


def test_a_constraint_puts_all_that_miss_it_below_all_that_keep_it():
    objective = build_objective(TABLE, ["clean"], ["latency(device=toy) <= 3"])
    scores = [objective(arch) for arch in SPACE.everything()]
    kept = [one.merit for one in scores if one.feasible]
    missed = [one.merit for one in scores if not one.feasible]

    assert min(kept) > max(missed)
    assert all(one.feasible == (one.limits[0] <= 3) for one in scores)
    assert objective.satisfied == (len(kept),)


def test_of_two_that_miss_a_constraint_the_nearer_is_better():
    objective = build_objective(TABLE, ["clean"], ["latency(device=toy) <= 3"])
    three = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|none~2|"

    assert objective(three).merit > objective(BEST).merit


def test_a_lower_bound_is_kept_from_below():
    objective = build_objective(TABLE, ["latency(device=toy)"], ["clean >= 0.84"])

    assert objective.ranked()[0][0] == BEST
    assert objective.feasible == 1


def test_a_constraint_that_nothing_keeps_says_how_many_do():
    with pytest.raises(BadValueError, match=r"kept by 0 \(the smallest is 1\)"):
        build_objective(TABLE, ["clean"], ["latency(device=toy) <= 0.5"])


def test_constraints_that_exclude_each_other_tell_of_each():
    with pytest.raises(BadValueError, match=r"together: clean >= 0.8 is kept by \d+.*; latency"):
        build_objective(TABLE, ["clean"], ["clean >= 0.8", "latency(device=toy) <= 2"])


@pytest.mark.parametrize("text", ["latency(device=toy)", "clean < 0.5", "clean <= high", "<= 5"])
def test_a_constraint_without_a_bound_is_refused(text):
    with pytest.raises(BadValueError, match="constraint"):
        build_objective(TABLE, ["clean"], [text])


def test_several_objectives_are_kept_apart_and_all_turned_upwards():
    score = build_objective(TABLE, ["clean", "latency(device=toy)"])(BEST)

    assert score.values == pytest.approx((0.85, -7.0))


def test_the_merit_of_several_objectives_is_the_mean_share_of_ranks():
    objective = build_objective(TABLE, ["clean", "max:latency(device=toy)"])

    # Best of all in clean, and alone at the top in latency, too.
    assert objective(BEST).merit == pytest.approx(1.0)
    assert 0 <= objective(NOTHING).merit < 0.05


def test_missing_rows_are_refused_and_counted():
    twins = sum(SPACE.canonical(arch) == SPACE.canonical(NOTHING) for arch in SPACE.everything())

    assert twins > 1
    with pytest.raises(BadValueError, match=f"no value for {twins} architectures"):
        build_objective(toy_table(without=NOTHING), ["clean"])


def test_missing_rows_are_failed_queries_when_that_is_wanted():
    objective = build_objective(toy_table(without=BEST), ["clean"], missing="fail")

    assert objective.missing == [BEST]
    assert objective(BEST).merit == -math.inf
    assert not objective(BEST).feasible


def test_nan_is_no_value():
    table = toy_table(extra={f"clean {BEST}": math.nan})

    with pytest.raises(BadValueError, match="no value for 1 architectures"):
        build_objective(table, ["clean"])


def test_an_ambiguous_column_names_the_candidates():
    with pytest.raises(BadValueError, match=r"names 2 columns .*split=validation.*split=test"):
        TABLE.pick("clean")


def test_an_objective_is_needed():
    with pytest.raises(BadValueError, match="needs an objective"):
        build_objective(TABLE, [])


def test_the_digest_knows_every_value():
    moved = toy_table(extra={f"{PGD} {BEST}": 0.123})

    assert (
        build_objective(TABLE, ["pgd(eps=0.1)"]).digest
        != build_objective(moved, ["pgd(eps=0.1)"]).digest
    )
    assert build_objective(TABLE, ["clean"]).digest == build_objective(moved, ["clean"]).digest
