import math

import numpy as np
import polars as pl
import pytest

from holdfast.metrics.smallest_norm import median
from holdfast.records import Store
from holdfast.report import condition_table, summary
from holdfast.report.attacks import (
    accuracy_by_eps,
    accuracy_from_norms,
    chain,
    evaluations,
    families,
    full_budget,
    headline,
    norms,
    stages,
)
from holdfast.report.evidence import Evidence
from holdfast.report.sections.confusion import _most_confused, confusion
from holdfast.report.sections.cost import _edges
from holdfast.report.sections.eps import half_lost
from report.make_attacks import EPS, MEMBERS, add_attack, attacked, auto
from report.make_store import MODELS, add_run, samples_of

SPEC = "autoattack(norm=linf, eps={}, version=standard{})"
EIGHT = SPEC.format("8/255", "")


def point(value, count=100):
    return {"accuracy": {"value": value, "low": value, "high": value, "count": count}}


def store_of(path, attacks, clean=0.9):
    """Store of one model; `attacks` are (spec, eps, norm, accuracy)."""
    store = Store(path)
    if clean is not None:
        add_run(store, "m", "clean", metrics=point(clean))
    for spec, eps, norm, value in attacks:
        add_run(
            store, "m", spec, metrics=point(value), family="attack", eps=eps, norm=norm, steps=40
        )
    return store


def setting_of(store):
    return Evidence(store).settings[0]


def samples(norm, by, spent):
    """Sample rows of an ensemble `a`, `b`; `spent` is what each got in a and in b."""
    first, second = zip(*spent, strict=True)
    return pl.DataFrame(
        {"norm": norm, "broken_by": by, "evals_a": first, "evals_b": second},
        schema_overrides={"broken_by": pl.String},
    )


FOUR = samples(
    [0.0, 0.01, 0.03, math.nan], ["clean", "a", "b", None], [(0, 0), (7, 0), (50, 20), (50, 90)]
)


@pytest.fixture(scope="module")
def curved(tmp_path_factory):
    """One model with clean and AutoAttack at three radii, with samples."""
    store = Store(tmp_path_factory.mktemp("curved"))
    add_run(store, MODELS[1], "clean", samples_of(1, "clean", 150))
    for place, k in enumerate(EPS):
        rows = attacked(1, k / 255, MEMBERS, after=EPS[place - 1] / 255 if place else 0.0)
        add_attack(store, 1, auto(place), rows, eps=k / 255)
    return store


def test_a_curve_starts_at_the_clean_accuracy(tmp_path):
    setting = setting_of(store_of(tmp_path, [(EIGHT, 8 / 255, "linf", 0.3)]))
    (family,) = families(setting)
    found = accuracy_by_eps(setting.members[0].subject, family)

    assert {0.0: 0.9, 8 / 255: 0.3} == {eps: e.value for eps, e in found.items()}


def test_a_curve_without_clean_has_no_eps_of_zero(tmp_path):
    setting = setting_of(store_of(tmp_path, [(EIGHT, 8 / 255, "linf", 0.3)], clean=None))
    (family,) = families(setting)

    assert [8 / 255] == list(accuracy_by_eps(setting.members[0].subject, family))


def test_of_two_runs_at_one_eps_the_lower_counts(tmp_path):
    chained = SPEC.format("8/255", ", after=[2/255]")
    attacks = [(EIGHT, 8 / 255, "linf", 0.3), (chained, 8 / 255, "linf", 0.2)]
    setting = setting_of(store_of(tmp_path, attacks))
    (family,) = families(setting)

    assert 0.2 == accuracy_by_eps(setting.members[0].subject, family)[8 / 255].value


def test_of_two_runs_at_one_eps_that_over_more_images_counts(tmp_path):
    store = store_of(tmp_path, [(EIGHT, 8 / 255, "linf", 0.3)])
    chained = SPEC.format("8/255", ", after=[2/255]")
    attack = {"family": "attack", "eps": 8 / 255, "norm": "linf"}
    add_run(store, "m", chained, metrics=point(0.2, count=50), **attack)
    setting = setting_of(store)
    (family,) = families(setting)

    assert 0.3 == accuracy_by_eps(setting.members[0].subject, family)[8 / 255].value


def test_norms_do_not_share_a_curve(tmp_path):
    attacks = [(EIGHT, 8 / 255, "linf", 0.3), (EIGHT.replace("linf", "l2"), 0.5, "l2", 0.4)]

    assert ["AutoAttack Linf", "AutoAttack L2"] == [
        family.title for family in families(setting_of(store_of(tmp_path, attacks)))
    ]


def test_an_attack_without_eps_is_no_point_of_a_curve_with_eps(tmp_path):
    attacks = [("fmn(norm=linf)", None, "linf", 0.0), ("fmn(norm=linf, eps=1/9)", 1 / 9, "linf", 0)]

    assert [False, True] == [
        family.minimum is not None for family in families(setting_of(store_of(tmp_path, attacks)))
    ]


def test_the_headline_is_the_common_radius_and_not_the_largest(tmp_path):
    specs = [(SPEC.format(f"{k}/255", ""), k / 255, "linf", 0.3) for k in (2, 4, 8, 32)]

    assert EIGHT == headline(setting_of(store_of(tmp_path, specs))).spec


def test_without_a_common_radius_the_smallest_is_the_headline(tmp_path):
    specs = [(SPEC.format(eps, ""), eps, "linf", 0.3) for eps in (0.1, 0.3)]

    assert SPEC.format("0.1", "") == headline(setting_of(store_of(tmp_path, specs))).spec


def test_of_attacks_at_one_radius_the_strongest_is_the_headline(tmp_path):
    specs = [(f"{a}(norm=linf, eps=8/255)", 8 / 255, "linf", v) for a, v in
             (("apgd", 0.5), ("fab", 0.2), ("pgd", 0.4))]  # fmt: skip

    assert "fab(norm=linf, eps=8/255)" == headline(setting_of(store_of(tmp_path, specs))).spec


def test_the_headline_prefers_autoattack(tmp_path):
    specs = [("pgd(norm=linf, eps=8/255)", 8 / 255, "linf", 0.1), (EIGHT, 8 / 255, "linf", 0.3)]

    assert EIGHT == headline(setting_of(store_of(tmp_path, specs))).spec


def test_an_attack_without_eps_is_no_headline(tmp_path):
    setting = setting_of(store_of(tmp_path, [("fmn(norm=linf)", None, "linf", 0.0)]))

    assert headline(setting) is None


def test_what_stands_has_an_infinite_norm():
    assert [0.0, 0.01, 0.03, math.inf] == norms(FOUR).tolist()


def test_accuracy_at_eps_is_the_share_of_larger_norms():
    found = accuracy_from_norms(norms(FOUR), [0.0, 0.01, 0.02, 1.0])

    assert [0.75, 0.5, 0.5, 0.25] == [e.value for e in found.values()]


def test_accuracy_from_norms_has_an_interval():
    (found,) = accuracy_from_norms(norms(FOUR), [0.02]).values()

    assert (4, True) == (found.count, found.low < 0.5 < found.high)


def test_stages_count_every_sample_once_in_the_order_of_the_attacks():
    assert [("wrong when clean", 1), ("a", 1), ("b", 1), ("stands", 1)] == list(
        stages(FOUR).items()
    )


def test_a_full_budget_is_what_the_survivors_got():
    assert 140 == full_budget([FOUR])


def test_a_budget_that_no_sample_spent_is_unknown():
    assert full_budget([FOUR.head(3)]) is None


def test_a_budget_may_be_known_from_another_model():
    assert 140 == full_budget([FOUR.head(2), FOUR])


def test_an_attack_without_a_radius_spends_its_budget_on_fallen_images_too():
    rows = FOUR.head(2).select("norm", "broken_by", "evals_a")

    assert (7, None) == (full_budget([rows], runs_on=True), full_budget([rows]))


def test_a_chain_has_the_smaller_radii_in_their_order(curved):
    subject = setting_of(curved).members[0].subject
    (last,) = [c for c in subject.conditions.values() if c.spec == auto(2)]

    assert [auto(0), auto(1), auto(2)] == [c.spec for c in chain(subject, last)]


def test_evaluations_are_summed_over_the_chain(curved):
    evidence = Evidence(curved)
    subject = evidence.settings[0].members[0].subject
    total = sum(evidence.samples(subject, auto(n))["forward_evals"].sum() for n in range(3))
    found = evaluations(evidence, subject, subject.conditions[auto(2)])

    assert (150, total) == (len(found), found["forward_evals"].sum())


def test_evaluations_are_unknown_where_a_smaller_radius_is_missing(tmp_path):
    store = Store(tmp_path)
    add_attack(store, 1, auto(1), attacked(1, 4 / 255, MEMBERS), eps=4 / 255)
    evidence = Evidence(store)
    subject = evidence.settings[0].members[0].subject

    assert evaluations(evidence, subject, subject.conditions[auto(1)]) is None


def test_half_is_lost_between_the_neighbors_that_enclose_it():
    curve = accuracy_from_norms(np.array([0.1, 0.2, 0.3, 0.4]), [0.0, 0.15, 0.25, 0.35])

    assert (0.15, 0.25) == half_lost(curve)


def test_half_is_lost_nowhere_where_more_stands():
    assert half_lost(accuracy_from_norms(np.array([0.1, 0.2, 0.3]), [0.0, 0.1])) is None


def test_the_median_counts_what_stands_as_largest():
    assert (3.0, 3) == (median(np.array([np.inf, 1.0, 3.0])).value, 3)


def test_the_interval_of_the_median_holds_it_in_95_of_100_draws():
    rng = np.random.Generator(np.random.Philox(key=5))
    found = [median(rng.random(101)) for _ in range(2000)]
    held = np.mean([e.low <= 0.5 <= e.high for e in found])

    # Ranks are rounded outwards, hence a little more.
    assert 0.94 <= held <= 0.985


def test_confusion_counts_by_true_and_given_class_and_apart_what_has_none():
    rows = pl.DataFrame({"label": [0, 0, 1, 1], "prediction": [0, 1, -1, 0]})

    assert [[1, 1, 0], [1, 0, 1]] == confusion(rows, 2).tolist()


def test_right_answers_and_gaps_are_no_confusions():
    assert [(0, 1), (1, 0)] == _most_confused(np.array([[9, 3, 0], [1, 9, 7]]), 5)


@pytest.mark.parametrize("top", [1, 7, 10, 11, 5000, 123456])
def test_bins_of_evaluations_hold_every_count_once(top):
    edges = _edges(top)
    counts = np.histogram([1, top], bins=np.array(edges))[0]

    assert (2, True) == (counts.sum(), all(edge % 1 == 0.5 for edge in edges))


def test_the_condition_table_has_titles_norms_and_radii(tmp_path):
    table = condition_table(store_of(tmp_path, [(EIGHT, 8 / 255, "linf", 0.3)]).measurements())

    assert ("AutoAttack Linf 8/255", "linf", 8 / 255) == table.select("title", "norm", "eps").row(1)


def test_attacks_leave_the_means_over_corruptions_and_noise_alone(tmp_path):
    store = store_of(tmp_path, [(EIGHT, 8 / 255, "linf", 0.1)])
    for condition in ("fog(severity=1)", "gaussian_noise(sigma=0.1)"):
        add_run(store, "m", condition, metrics=point(0.8))
    (row,) = summary(store.measurements()).to_dicts()

    assert (0.8, 1, 1) == (
        row["mean_corruption_accuracy"],
        row["corruption_conditions"],
        row["noise_levels"],
    )
