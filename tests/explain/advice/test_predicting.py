"""Predictions: a curve that is read, and noise that is sent through a network."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.explain.advice.predicting import Curve, Displacements, features, predicted_change
from holdfast.measuring import Subject, TensorStream
from holdfast.metrics.accuracy import wilson
from holdfast.models import load_model
from holdfast.models.surgery import parse_changes

CURVE = Curve((0.0, 0.05, 0.1, 0.2), (90, 80, 60, 20), 100)


class TestCurve:
    @pytest.mark.parametrize(("sigma", "correct"), [(0.0, 90), (0.05, 80), (0.1, 60), (0.2, 20)])
    def test_it_goes_through_what_was_measured(self, sigma, correct):
        found = CURVE.at(sigma)
        bounds = wilson(correct, 100)

        assert found.value == pytest.approx(correct / 100)
        assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
        assert found.count == 100

    def test_it_falls_between_the_points(self):
        values = [CURVE.at(sigma / 1000).value for sigma in range(201)]

        assert all(later <= earlier for earlier, later in itertools.pairwise(values))

    def test_a_rise_by_chance_is_levelled(self):
        found = Curve((0.0, 0.1, 0.2), (50, 55, 40), 100)

        assert found.at(0.1).value == pytest.approx(0.5)

    @pytest.mark.parametrize("sigma", [0.21, -0.01, math.inf, math.nan])
    def test_beyond_what_was_measured_there_is_no_data(self, sigma):
        assert math.isnan(CURVE.at(sigma).value)

    def test_no_images_no_data(self):
        assert math.isnan(Curve((0.0, 0.1), (0, 0), 0).at(0.05).value)


class TestPredictedChange:
    def test_the_same_noise_changes_nothing(self):
        found = predicted_change(CURVE, 0.1, 0.1)

        assert found.value == 0
        assert found.low < 0 < found.high

    def test_half_the_noise_answers_as_at_half_of_it(self):
        assert predicted_change(CURVE, 0.1, 0.05).value == pytest.approx(0.8 - 0.6)

    def test_detail_that_is_lost_costs_on_clean_pictures(self):
        assert predicted_change(CURVE, 0.0, 0.05).value == pytest.approx(0.8 - 0.9)

    def test_without_data_there_is_no_prediction(self):
        found = predicted_change(CURVE, 0.1, math.nan)

        assert math.isnan(found.value)
        assert found.count == 100


def subject(change=None, images=None, side=12):
    """A linear classifier, whose last layer sees the pixels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 4))
    net.input_size = (side, side)
    classifier = load_model(net)
    if change is not None:
        classifier = parse_changes([change])[0].change(classifier)
    pixels = torch.rand(64, 3, side, side) if images is None else images
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return Subject("net", classifier, TensorStream(pixels, labels, name="x", split="y"))


class TestDisplacements:
    def reference(self, images=None, sigmas=(0.1, 0.2)):
        return Displacements.of(subject(images=images), sigmas, seed=0, images=64)

    def test_of_pixels_they_are_noise_over_their_deviation(self):
        """Uniform pixels deviate by 1 / sqrt(12)."""
        found = self.reference()

        assert found.moved == pytest.approx((0, 0.1 * math.sqrt(12), 0.2 * math.sqrt(12)), rel=0.03)
        assert found.clean.shape == (64, 432)

    def test_noise_is_its_own_equivalent(self):
        found = self.reference()
        moved = found.from_clean(features(subject(), 0.15, seed=0, images=64))

        assert found.equivalent(moved) == pytest.approx(0.15, rel=1e-3)

    def test_the_unchanged_network_is_not_moved(self):
        found = self.reference()

        assert found.from_clean(features(subject(), 0.0, seed=0, images=64)) == 0
        assert found.equivalent(0.0) == 0

    def test_beyond_the_strongest_noise_it_counts_as_that(self):
        assert self.reference().equivalent(50.0) == pytest.approx(0.2)

    def test_a_filter_takes_noise_of_flat_pictures_and_nothing_else(self):
        """What is left is the noise gain of the kernel, raised a little by the mirrored border."""
        flat = torch.rand(64, 3, 1, 1).expand(-1, -1, 12, 12).contiguous()
        reference = self.reference(flat)
        blurred = subject("low_pass(std=1.0)", flat)
        clean = reference.from_clean(features(blurred, 0.0, seed=0, images=64))
        noisy = reference.from_clean(features(blurred, 0.2, seed=0, images=64))
        taps = torch.exp(-0.5 * torch.arange(-3, 4, dtype=torch.double) ** 2)
        gain = float((taps / taps.sum()).square().sum())  # of the square kernel, its root

        assert clean == pytest.approx(0, abs=1e-5)
        assert reference.equivalent(noisy) == pytest.approx(0.2 * gain, rel=0.25)

    def test_a_filter_that_takes_detail_is_as_noise(self):
        """Of white pictures a strong filter leaves little: all that it took is missing."""
        reference = self.reference()
        blurred = subject("low_pass(std=2.0)")
        moved = reference.from_clean(features(blurred, 0.0, seed=0, images=64))

        assert 0.8 < moved < 1.0  # of the deviation of the pixels

    def test_the_same_seed_gives_the_same_noise(self):
        one, same, other = (features(subject(), 0.1, seed=seed, images=8) for seed in (1, 1, 2))

        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_pictures_that_are_all_alike_give_no_measure(self):
        alike = torch.full((8, 3, 12, 12), 0.5)
        found = Displacements.of(subject(images=alike), (0.1,), seed=0, images=8)

        assert math.isnan(found.moved[1])
        assert math.isnan(found.equivalent(0.3))
