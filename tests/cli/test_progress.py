import math

import pytest

from holdfast.cli.progress import Estimate, Kind, kind_of
from holdfast.report.conditions import condition_title

PGD = "pgd(norm=linf, eps={}, steps=5, random_start=True, restarts=1, momentum=0.0{})"
IMAGES, SHORT, LONG = Kind(""), Kind("pgd"), Kind("square")


def test_runs_of_a_kind_take_what_those_before_took():
    estimate = Estimate([IMAGES] * 4)
    estimate.finished(IMAGES, 2.0)
    estimate.finished(IMAGES, 4.0)

    assert 6.0 == estimate.left()


def test_an_attack_that_was_never_timed_leaves_no_estimate():
    estimate = Estimate([IMAGES, IMAGES, SHORT])
    estimate.finished(IMAGES, 1.0)

    assert math.inf == estimate.left()


def test_one_attack_tells_nothing_of_another():
    estimate = Estimate([SHORT, LONG])
    estimate.finished(SHORT, 1.0)

    assert math.inf == estimate.left()


def test_a_stored_run_is_no_longer_to_come_and_tells_no_time():
    estimate = Estimate([SHORT, SHORT, SHORT])
    estimate.finished(SHORT, None)
    estimate.finished(SHORT, 5.0)

    assert 5.0 == estimate.left()


def test_larger_radii_take_no_time_beside_the_first():
    estimate = Estimate([SHORT, Kind("pgd", follows=True)])
    estimate.finished(SHORT, 5.0)

    assert 0.0 == estimate.left()


def test_a_larger_radius_whose_first_is_stored_is_still_to_come():
    estimate = Estimate([SHORT, Kind("pgd", follows=True)])
    estimate.finished(SHORT, None)

    assert math.inf == estimate.left()


def test_the_run_at_work_tells_of_others_of_its_kind():
    assert 13.0 == Estimate([SHORT, SHORT]).left(SHORT, rest=3.0, whole=10.0)


def test_radii_of_one_attack_are_of_one_kind_and_the_larger_follow():
    first = kind_of(PGD.format("2/255", ""), "attack")
    second = kind_of(PGD.format("8/255", ", after=[2/255]"), "attack")

    assert (first.name, False, True) == (second.name, first.follows, second.follows)


def test_corruptions_are_of_one_kind():
    assert kind_of("clean", "clean") == kind_of("fog(severity=3)", "corruption")


@pytest.mark.parametrize(
    ("spec", "title"),
    [
        (PGD.format("8/255", ""), "PGD-5 Linf 8/255"),
        (PGD.format("[2/255, 8/255]", ""), "PGD-5 Linf 2/255 to 8/255"),
        ("fog(severity=3)", "fog, severity 3"),
        ("clean", "clean"),
        ("a shifted set (2024", "a shifted set (2024"),
    ],
)
def test_a_condition_is_told_by_its_title(spec, title):
    assert title == condition_title(spec)
