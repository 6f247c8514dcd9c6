"""Logits and labels to numbers: pure functions of NumPy arrays; torch is never imported here."""

from __future__ import annotations

from holdfast.metrics.accuracy import accuracy, proportion, wilson
from holdfast.metrics.calibration import (
    ReliabilityTable,
    adaptive_rms_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    max_calibration_error,
    reliability_table,
    rms_calibration_error,
)
from holdfast.metrics.cards import METRICS, MetricCard
from holdfast.metrics.classwise import ClasswiseBins, classwise_ece
from holdfast.metrics.confidence_sequence import bernoulli_sequence
from holdfast.metrics.corruption_error import (
    ALEXNET,
    BASELINES,
    Baseline,
    CorruptionSummary,
    given_baseline,
    mean_corruption_accuracy,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from holdfast.metrics.intervals import (
    Estimate,
    Interval,
    bootstrap,
    mean_estimate,
    percentile_interval,
    resampled_means,
)
from holdfast.metrics.scores import SampleScores, softmax, softmax_scores
from holdfast.metrics.selective import (
    RiskCoverage,
    accuracy_at_coverage,
    aurc,
    excess_aurc,
    risk_coverage,
)
from holdfast.metrics.slope import (
    Slope,
    noise_curve_area,
    robustness_slope,
    slope_r_squared,
)
from holdfast.metrics.smallest_norm import median_norm
from holdfast.metrics.summary import summarize

__all__ = [
    "ALEXNET",
    "BASELINES",
    "METRICS",
    "Baseline",
    "ClasswiseBins",
    "CorruptionSummary",
    "Estimate",
    "Interval",
    "MetricCard",
    "ReliabilityTable",
    "RiskCoverage",
    "SampleScores",
    "Slope",
    "accuracy",
    "accuracy_at_coverage",
    "adaptive_rms_calibration_error",
    "aurc",
    "bernoulli_sequence",
    "bootstrap",
    "classwise_ece",
    "debiased_calibration_error",
    "excess_aurc",
    "expected_calibration_error",
    "given_baseline",
    "max_calibration_error",
    "mean_corruption_accuracy",
    "mean_corruption_error",
    "mean_estimate",
    "median_norm",
    "noise_curve_area",
    "percentile_interval",
    "proportion",
    "relative_mean_corruption_error",
    "reliability_table",
    "resampled_means",
    "risk_coverage",
    "rms_calibration_error",
    "robustness_slope",
    "slope_r_squared",
    "softmax",
    "softmax_scores",
    "summarize",
    "wilson",
]
