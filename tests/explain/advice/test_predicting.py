"""Predictions: a curve that is read, and noise that is sent through a network."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.explain.advice.predicting import Curve, noise_ratio, predicted_change
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
        found = predicted_change(CURVE, 0.1, 1.0)

        assert found.value == 0
        assert found.low < 0 < found.high

    def test_half_the_noise_answers_as_at_half_of_it(self):
        assert predicted_change(CURVE, 0.1, 0.5).value == pytest.approx(0.8 - 0.6)

    def test_more_noise_costs(self):
        assert predicted_change(CURVE, 0.1, 2.0).value == pytest.approx(0.2 - 0.6)

    @pytest.mark.parametrize("ratio", [math.nan, math.inf, 3.0])
    def test_what_the_curve_does_not_reach_is_not_predicted(self, ratio):
        found = predicted_change(CURVE, 0.1, ratio)

        assert math.isnan(found.value)
        assert found.count == 100


class TestNoiseRatio:
    def subject(self, change=None, count=64, side=12):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 4))
        net.input_size = (side, side)
        classifier = load_model(net)
        if change is not None:
            classifier = parse_changes([change])[0].change(classifier)
        images = torch.rand(count, 3, side, side)
        labels = torch.zeros(count, dtype=torch.int64)
        return Subject("net", classifier, TensorStream(images, labels, name="x", split="y"))

    def test_of_pixels_it_is_that_of_their_deviation(self):
        """The last layer sees pixels: uniform ones deviate by 1 / sqrt(12)."""
        found = noise_ratio(self.subject(), 0.1, seed=0, images=64)

        assert found.images == 64
        assert found.value == pytest.approx(0.1 * math.sqrt(12), rel=0.03)

    def test_it_is_in_proportion_to_weak_noise(self):
        one, two = (noise_ratio(self.subject(), s, seed=0, images=8).value for s in (0.01, 0.02))

        assert two == pytest.approx(2 * one, rel=1e-4)

    def test_white_pictures_lose_as_much_as_white_noise(self):
        """Both are white, so a filter takes the same part of signal and noise."""
        plain = noise_ratio(self.subject(), 0.1, seed=0, images=64).value
        blurred = noise_ratio(self.subject("low_pass(std=0.6)"), 0.1, seed=0, images=64).value

        assert blurred == pytest.approx(plain, rel=0.03)

    def test_smooth_pictures_keep_more_than_noise(self):
        subject = self.subject("low_pass(std=1.0)")
        flat = torch.rand(64, 3, 1, 1).expand(-1, -1, 12, 12).contiguous()
        stream = TensorStream(flat, torch.zeros(64, dtype=torch.int64), name="x", split="y")
        plain = self.subject()
        ratios = [
            noise_ratio(Subject("net", one.classifier, stream), 0.1, seed=0, images=64).value
            for one in (plain, subject)
        ]
        # Interior gain of a Gaussian of deviation one, raised by the mirrored border.
        taps = torch.exp(-0.5 * torch.arange(-3, 4, dtype=torch.double) ** 2)
        gain = float((taps / taps.sum()).square().sum())

        assert ratios[1] / ratios[0] == pytest.approx(gain, rel=0.25)

    def test_the_same_seed_gives_the_same_noise(self):
        found = [noise_ratio(self.subject(), 0.1, seed=s, images=8).value for s in (1, 1, 2)]

        assert found[0] == found[1] != found[2]
