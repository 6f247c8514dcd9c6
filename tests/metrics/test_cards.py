import math

import numpy as np
import pytest

import holdfast.metrics
from holdfast.metrics import METRICS
from holdfast.metrics.accuracy import proportion
from holdfast.metrics.classwise import ClasswiseBins
from holdfast.metrics.corruption_error import ALEXNET
from holdfast.metrics.scores import softmax, softmax_scores

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(300, 6)) * 2
LABELS = RNG.integers(0, 6, 300)
ONE_CONDITION = [name for name in METRICS if METRICS[name].inputs not in ("conditions", "norms")]
SAMPLE_COLUMN = {
    "accuracy": "correct",
    "top5_accuracy": "top5",
    "mean_confidence": "confidence",
    "brier": "brier",
    "nll": "nll",
}


def value(card, logits, labels):
    scores = softmax_scores(logits, labels)
    if card.inputs == "confidence":
        return card.function(scores.confidence, scores.correct)
    if card.inputs == "classwise":
        return card.function(ClasswiseBins.empty(6).add(softmax(logits), labels))
    return card.function(getattr(scores, SAMPLE_COLUMN[card.name]))


def summary(card):
    """What a summary makes of a model 10 points better than AlexNet."""
    errors = {name: error - 0.1 for name, error in ALEXNET.errors.items()}
    given = {
        "mean_corruption_accuracy": ({k: 1 - v for k, v in errors.items()},),
        "mce": (errors,),
        "relative_mce": (errors, 0.335),
        "robustness_slope": ([1, 2, 3], [0.6, 0.5, 0.3]),
        "robustness_slope_r_squared": ([1, 2, 3], [0.6, 0.5, 0.3]),
        "noise_curve_area": ([0.1, 0.2], [0.6, 0.5]),
    }
    return card.function(*given[card.name]).value


@pytest.mark.parametrize("name", METRICS)
def test_a_card_says_what_a_table_needs(name):
    card = METRICS[name]

    assert card.name == name
    assert card.title and card.unit and card.source and card.definition.endswith(".")
    assert "\n" not in card.definition and card.low < card.high


@pytest.mark.parametrize("name", ONE_CONDITION)
def test_a_metric_of_nothing_is_nan_with_count_0(name):
    estimate = value(METRICS[name], LOGITS[:0], LABELS[:0])

    assert math.isnan(estimate.value) and estimate.count == 0


@pytest.mark.parametrize("name", ONE_CONDITION)
def test_a_metric_lies_in_its_range(name):
    card = METRICS[name]

    assert card.low <= value(card, LOGITS, LABELS).value <= card.high


@pytest.mark.parametrize("name", ONE_CONDITION)
def test_the_order_of_samples_does_not_matter(name):
    order = RNG.permutation(300)
    expected = value(METRICS[name], LOGITS, LABELS).value

    assert expected == pytest.approx(value(METRICS[name], LOGITS[order], LABELS[order]).value)


@pytest.mark.parametrize("name", ONE_CONDITION)
def test_a_shift_of_the_logits_does_not_matter(name):
    expected = value(METRICS[name], LOGITS, LABELS).value

    assert expected == pytest.approx(value(METRICS[name], LOGITS + 8, LABELS).value, abs=1e-12)


@pytest.mark.parametrize("name", ONE_CONDITION)
def test_a_better_model_scores_better(name):
    """Certain and right against certain and wrong."""
    card = METRICS[name]
    right = 50 * np.eye(6)[LABELS]
    good = value(card, right, LABELS).value
    # top-5 needs the label to be last
    bad = (
        value(card, -right, LABELS).value
        if name == "top5_accuracy"
        else value(card, np.roll(right, 1, axis=1), LABELS).value
    )

    assert {"higher": good > bad, "lower": good < bad, "neither": good == bad}[card.better]


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].inputs == "conditions"])
def test_a_summary_lies_in_its_range(name):
    assert METRICS[name].low <= summary(METRICS[name]) <= METRICS[name].high


def test_records_have_these_metrics():
    expected = {
        "accuracy", "top5_accuracy", "ece", "rms_calibration_error",
        "adaptive_rms_calibration_error", "max_calibration_error", "classwise_ece",
        "debiased_calibration_error", "brier", "nll", "aurc", "mean_confidence",
        "mean_corruption_accuracy", "mce", "relative_mce", "robustness_slope", "noise_curve_area",
        "robustness_slope_r_squared", "median_norm",
    }  # fmt: skip

    assert expected == set(METRICS)


def test_every_public_name_exists_and_is_documented():
    names = holdfast.metrics.__all__

    assert len(set(names)) == len(names)
    assert all(getattr(holdfast.metrics, name).__doc__ for name in names)


def test_a_proportion_is_what_accuracy_gives():
    assert proportion(3, 4) == METRICS["accuracy"].function([1, 1, 1, 0])
