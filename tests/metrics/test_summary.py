import functools
import math
import time

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.metrics import METRICS, summary
from holdfast.metrics.classwise import ClasswiseBins, classwise_ece
from holdfast.metrics.scores import softmax, softmax_scores
from holdfast.metrics.summary import COLUMNS, summarize

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(600, 6)) * 2
LABELS = np.where(RNG.random(600) < 0.6, LOGITS.argmax(1), RNG.integers(0, 6, 600))
BINS = ClasswiseBins.empty(6).add(softmax(LOGITS), LABELS)
BINNED = ("ece", "rms_calibration_error", "max_calibration_error", "debiased_calibration_error")


def columns(logits=LOGITS, labels=LABELS, first=0):
    scores = softmax_scores(logits, labels)
    rows = {name: getattr(scores, name) for name in COLUMNS[1:]}
    return {"id": np.arange(first, first + len(labels)), **rows}


def drawn(count, seed, over=0.0):
    """Columns of a model whose confidence is right, or too high by `over`."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.4, 1, count)
    correct = rng.random(count) < confidence - over
    ids = np.arange(count) + seed * count
    return {
        "id": ids,
        "confidence": confidence,
        "correct": correct,
        "top5": correct,
        "nll": confidence,
        "brier": confidence,
    }


@functools.cache
def repeated(over):
    """Summaries of 40 samples of 500 from one model."""
    return [summarize(drawn(500, seed, over), seed=seed) for seed in range(40)]


def test_all_metrics_of_a_condition_are_there():
    expected = {name for name in METRICS if METRICS[name].inputs not in ("conditions", "norms")}

    assert expected == set(summarize(columns(), classwise=BINS))


def test_no_classwise_sums_no_classwise_error():
    assert "classwise_ece" not in summarize(columns())


def test_the_classwise_error_is_that_of_the_sums():
    assert classwise_ece(BINS).value == summarize(columns(), classwise=BINS)["classwise_ece"].value


@pytest.mark.parametrize("digits", [16, 1])
def test_values_are_those_of_the_functions(digits):
    rows = columns()
    rows["confidence"] = np.round(rows["confidence"], digits)  # one digit: many ties
    result = summarize(rows)
    for name, estimate in result.items():
        if METRICS[name].inputs == "confidence":
            expected = METRICS[name].function(rows["confidence"], rows["correct"])

            assert (expected.value, 600) == (
                pytest.approx(estimate.value, abs=1e-12),
                estimate.count,
            )


@pytest.mark.parametrize("digits", [16, 1])
def test_row_order_changes_no_bit(digits):
    rows, order = columns(), RNG.permutation(600)
    rows["confidence"] = np.round(rows["confidence"], digits)
    shuffled = {name: column[order] for name, column in rows.items()}

    assert summarize(rows) == summarize(shuffled)


def test_another_seed_gives_another_interval():
    assert summarize(columns(), seed=0)["aurc"].low != summarize(columns(), seed=1)["aurc"].low


def test_other_samples_get_other_resamples():
    assert summarize(columns())["aurc"].low != summarize(columns(first=1000))["aurc"].low


def test_intervals_hold_their_values():
    for result in repeated(0.0):
        assert all(e.low <= e.value <= e.high for e in result.values())


def test_a_sample_keeps_its_resamples_whatever_its_confidence(monkeypatch):
    rows, seen = columns(), []
    monkeypatch.setattr(
        summary, "bootstrap", lambda statistic, ids, **_: seen.append(ids) or np.zeros((1, 6))
    )
    summarize(rows)

    assert rows["id"][np.argsort(rows["confidence"])].tolist() == seen[0].tolist()


def test_a_lower_level_is_narrower():
    wide, narrow = summarize(columns()), summarize(columns(), level=0.5)
    for name in ("accuracy", "ece", "aurc", "brier", "mean_confidence"):
        assert narrow[name].high - narrow[name].low < wide[name].high - wide[name].low


@pytest.mark.parametrize("name", BINNED)
def test_the_interval_of_a_calibrated_model_holds_zero(name):
    """A percentile interval, all of whose replicates are biased upward, never does."""
    held = [0.0 == result[name].low for result in repeated(0.0)]

    # 95 % is the aim; fewer than 34 of 40 has probability 0.003.
    assert sum(held) >= 34


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("ece", 0.1),
        ("rms_calibration_error", 0.1),
        ("debiased_calibration_error", 0.1),
        # The plain errors, still mostly noise at 0.03, are held nine times in ten.
        ("debiased_calibration_error", 0.03),
    ],
)
def test_the_interval_of_a_miscalibrated_model_holds_its_error(name, over):
    held = [result[name].low <= over <= result[name].high for result in repeated(over)]

    assert sum(held) >= 34


def test_the_interval_of_a_bad_model_excludes_zero():
    assert summarize(drawn(2000, 0, over=0.1))["ece"].low > 0.05


def test_the_interval_of_the_area_holds_the_true_one():
    truth = summarize(drawn(400_000, 999), resamples=1)["aurc"].value
    held = [result["aurc"].low <= truth <= result["aurc"].high for result in repeated(0.0)]

    assert sum(held) >= 34


def test_failed_rows_count_for_accuracy_alone():
    logits = LOGITS.copy()
    logits[:100] = np.nan
    result = summarize(columns(logits))

    assert (600, 500, 500, 500) == tuple(
        result[name].count for name in ("accuracy", "ece", "nll", "aurc")
    )


def test_failed_rows_leave_the_rest_of_calibration_alone():
    logits = LOGITS.copy()
    logits[:100] = np.nan
    rest = summarize(columns(LOGITS[100:], LABELS[100:], first=100))

    assert rest["ece"] == summarize(columns(logits))["ece"]


def test_no_sample_is_nan_with_count_0():
    result = summarize(columns(LOGITS[:0], LABELS[:0]), classwise=ClasswiseBins.empty(6))

    assert all(math.isnan(e.value) and math.isnan(e.low) and e.count == 0 for e in result.values())


def test_one_sample_has_a_value():
    estimate = summarize(columns(LOGITS[:1], LABELS[:1]))["ece"]

    assert 1 == estimate.count and 0 <= estimate.value <= 1


def test_an_absent_column_is_named():
    rows = columns()
    del rows["brier"]

    with pytest.raises(BadValueError, match="columns lack brier"):
        summarize(rows)


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(BadValueError, match="one value a sample"):
        summarize({**columns(), "nll": np.zeros(3)})


def test_an_id_that_occurs_twice_is_refused():
    with pytest.raises(BadValueError, match="ids must be unique, got 7 twice"):
        summarize({**columns(LOGITS[:3], LABELS[:3]), "id": np.array([7, 1, 7])})


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seconds"), [(10_000, 0.5), (100_000, 4.0)])
def test_a_summary_is_fast(count, seconds):
    rows = drawn(count, 0)
    rows["confidence"] = rows["confidence"].astype(np.float32)  # some thousand ties
    spent = []
    for _ in range(3):
        start = time.process_time()
        summarize(rows)
        spent.append(time.process_time() - start)

    assert min(spent) < seconds
