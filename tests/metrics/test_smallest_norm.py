"""The median smallest perturbation leaves out what is wrong when clean, and counts what stands."""

import math

import numpy as np

from holdfast.metrics import METRICS, median_norm


def test_images_that_are_wrong_when_clean_are_left_out():
    found = median_norm([0, 0, 0, 0.1, 0.2, math.nan])

    assert (0.2, 3) == (found.value, found.count)


def test_it_is_infinite_where_most_images_stand():
    assert math.inf == median_norm([0.1, math.nan, math.nan]).value


def test_it_is_no_number_where_no_image_is_right():
    found = median_norm([0, 0])

    assert math.isnan(found.value) and 0 == found.count


def test_its_interval_grows_towards_the_ends_of_few_images():
    found = median_norm(np.arange(1.0, 4.0))

    assert (1.0, 2.0, 3.0) == (found.low, found.value, found.high)


def test_its_card_knows_the_function():
    assert median_norm is METRICS["median_norm"].function
