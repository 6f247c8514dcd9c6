import math

import pytest

from holdfast.report import numbers


def test_percent_keeps_its_number_and_sign_on_one_line():
    assert "71.3\N{NO-BREAK SPACE}%" == numbers.percent(0.7131)


def test_percent_interval_has_its_bounds_in_brackets():
    text = numbers.percent_interval(0.7131, 0.681, 0.744)

    assert "71.3 % [68.1, 74.4]" == text.replace("\N{NO-BREAK SPACE}", " ")


def test_percent_interval_leaves_out_a_missing_interval():
    assert numbers.percent(0.5) == numbers.percent_interval(0.5, math.nan, 0.6)


@pytest.mark.parametrize("write", [numbers.percent, numbers.decimal])
def test_what_was_not_measured_is_a_word(write):
    assert "not measured" == write(None)


@pytest.mark.parametrize("write", [numbers.percent, numbers.decimal])
def test_what_has_no_data_is_a_word(write):
    assert "no data" == write(math.nan)


def test_no_interval_stands_beside_no_data():
    assert "no data" == numbers.percent_interval(math.nan, 0.1, 0.2)


def test_a_bare_percent_of_nothing_is_empty():
    assert ["", "", "50"] == [numbers.bare_percent(v) for v in (None, math.nan, 0.5)]


def test_a_negative_number_has_a_minus_sign_and_not_a_hyphen():
    assert "\N{MINUS SIGN}0.125" == numbers.decimal(-0.125)


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert "0.000" == numbers.decimal(-0.0001)


@pytest.mark.parametrize(
    ("difference", "text"),
    [(-0.123, "\N{MINUS SIGN}12.3 points"), (0.05, "+5.0 points"), (0.0, "0.0 points")],
)
def test_a_difference_is_in_points_with_its_sign(difference, text):
    assert text == numbers.points(difference)


@pytest.mark.parametrize(
    ("radius", "text"),
    [
        (8 / 255, "8/255"),
        (1.0, "1"),
        (0.2, "0.2"),
        (17 / 255, "17/255"),
        (85 / 255, "0.333333"),
        (0.031, "0.031"),
        (0.5, "0.5"),
        (3.0, "3"),
    ],
)
def test_eps_is_a_fraction_of_255_where_it_is_one(radius, text):
    assert text == numbers.eps(radius)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "no images"), (1, "one image"), (3, "three images"), (12_000, "12,000 images")],
)
def test_a_count_agrees_with_its_noun(value, text):
    assert text == numbers.counted(value, "image")


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_names_are_joined_as_a_sentence_does(names, text):
    assert text == numbers.listing(names)


@pytest.mark.parametrize(("value", "text"), [(3.21, "3.2 s"), (600, "10 min"), (7200, "2.0 h")])
def test_a_duration_has_the_unit_that_reads_best(value, text):
    assert text == numbers.seconds(value)


def test_a_long_name_keeps_both_ends():
    name = numbers.shortened("timm:vit_base_patch16_224.augreg_in21k", 21)

    assert (21, "timm:vit_b", "eg_in21k") == (len(name), name[:10], name[-8:])


@pytest.mark.parametrize(
    ("value", "norm", "text"),
    [
        (8 / 255, "linf", "8/255"),
        (0.03, "linf", "0.03"),
        (0.2, "linf", "0.2"),
        (0.2, "l2", "0.2"),
        (128 / 255, "l2", "128/255"),
        (12.0, "l1", "12"),
    ],
)
def test_a_radius_is_written_in_the_unit_of_its_norm(value, norm, text):
    assert text == numbers.radius(value, norm)


@pytest.mark.parametrize(
    ("value", "norm", "text"),
    [
        (1.0, "linf", "255.0/255"),
        (0.3 / 255, "linf", "0.30/255"),
        (0.12345, "l2", "0.123"),
        (math.nan, "linf", "no data"),
    ],
)
def test_a_size_is_written_in_the_unit_of_its_norm(value, norm, text):
    assert text == numbers.size(value, norm)
