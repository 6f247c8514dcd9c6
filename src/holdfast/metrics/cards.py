"""What every number in a record is: unit, direction, range, definition and source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.registry import Registry
from holdfast.metrics.accuracy import accuracy
from holdfast.metrics.calibration import (
    adaptive_rms_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    max_calibration_error,
    rms_calibration_error,
)
from holdfast.metrics.classwise import classwise_ece
from holdfast.metrics.corruption_error import (
    mean_corruption_accuracy,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from holdfast.metrics.intervals import mean_estimate
from holdfast.metrics.selective import aurc
from holdfast.metrics.slope import noise_curve_area, robustness_slope, slope_r_squared
from holdfast.metrics.smallest_norm import median_norm

Inputs = Literal["correct", "confidence", "values", "classwise", "norms", "conditions"]


@dataclass(frozen=True, kw_only=True)
class MetricCard:
    """One metric as a reader of a table needs it."""

    name: str  # as in records
    title: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    low: float = 0.0  # range
    high: float = 1.0
    definition: str  # one line
    source: str
    function: Callable[..., Any]
    inputs: Inputs  # what the function is given; "conditions": summaries of several conditions


METRICS: Registry[MetricCard] = Registry("metric")


def _add(card: MetricCard) -> None:
    METRICS.register(card.name)(card)


_add(
    MetricCard(
        name="accuracy",
        title="Accuracy",
        unit="fraction",
        better="higher",
        definition="Share of samples whose largest logit is the label's; Wilson interval.",
        source="Wilson 1927, JASA 22(158), for the interval",
        function=accuracy,
        inputs="correct",
    )
)
_add(
    MetricCard(
        name="top5_accuracy",
        title="Top-5 accuracy",
        unit="fraction",
        better="higher",
        definition="Share of samples whose label is among the five largest logits.",
        source="Russakovsky et al. 2015, arXiv:1409.0575",
        function=accuracy,
        inputs="correct",
    )
)
_add(
    MetricCard(
        name="mean_confidence",
        title="Mean confidence",
        unit="fraction",
        better="neither",
        definition="Mean probability of the predicted class; above accuracy is overconfident.",
        source="Guo et al. 2017, arXiv:1706.04599, section 2",
        function=mean_estimate,
        inputs="values",
    )
)
_add(
    MetricCard(
        name="ece",
        title="Expected calibration error",
        unit="fraction",
        better="lower",
        definition="Mean absolute gap of accuracy and confidence over 15 equal-width bins.",
        source="Guo et al. 2017, arXiv:1706.04599, equation 3",
        function=expected_calibration_error,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="rms_calibration_error",
        title="RMS calibration error",
        unit="fraction",
        better="lower",
        definition="Root mean square gap of accuracy and confidence over 10 equal-width bins.",
        source="torchmetrics' CalibrationError(norm='l2', n_bins=10)",
        function=rms_calibration_error,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="adaptive_rms_calibration_error",
        title="Adaptive RMS calibration error",
        unit="fraction",
        better="lower",
        definition=(
            "Root mean square gap over bins of 100 samples by confidence; sampling alone gives "
            "about 0.1 sqrt(a (1 - a)) at accuracy a."
        ),
        source="Hendrycks et al. 2019, arXiv:1901.09960; here with the last bin",
        function=adaptive_rms_calibration_error,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="max_calibration_error",
        title="Maximum calibration error",
        unit="fraction",
        better="lower",
        definition="Largest gap of accuracy and confidence in one of 15 equal-width bins.",
        source="Guo et al. 2017, arXiv:1706.04599, equation 5",
        function=max_calibration_error,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="debiased_calibration_error",
        title="Debiased RMS calibration error",
        unit="fraction",
        better="lower",
        definition="RMS calibration error over 10 equal-width bins less its sampling noise.",
        source="Kumar, Liang and Ma 2019, arXiv:1909.10155, section 5",
        function=debiased_calibration_error,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="classwise_ece",
        title="Class-wise calibration error",
        unit="fraction",
        better="lower",
        definition="Mean over classes of the calibration error of that class's probability.",
        source="Kull et al. 2019, arXiv:1910.12656; Nixon et al. 2019, arXiv:1904.01685",
        function=classwise_ece,
        inputs="classwise",
    )
)
_add(
    MetricCard(
        name="brier",
        title="Brier score",
        unit="squared probability",
        better="lower",
        high=2.0,
        definition="Mean squared distance of the probabilities to the one-hot label.",
        source="Brier 1950, Monthly Weather Review 78(1)",
        function=mean_estimate,
        inputs="values",
    )
)
_add(
    MetricCard(
        name="nll",
        title="Negative log-likelihood",
        unit="nats",
        better="lower",
        high=math.inf,
        definition="Mean of minus the log probability of the label.",
        source="Good 1952, J. R. Stat. Soc. B 14(1)",
        function=mean_estimate,
        inputs="values",
    )
)
_add(
    MetricCard(
        name="aurc",
        title="Area under the risk-coverage curve",
        unit="fraction",
        better="lower",
        definition="Mean over k of the error among the k most confident samples.",
        source="Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206",
        function=aurc,
        inputs="confidence",
    )
)
_add(
    MetricCard(
        name="mean_corruption_accuracy",
        title="Mean corruption accuracy",
        unit="fraction",
        better="higher",
        definition="Mean accuracy over the corruptions and their severities.",
        source="Croce et al. 2021, arXiv:2010.09670",
        function=mean_corruption_accuracy,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="mce",
        title="Mean corruption error",
        unit="ratio to the baseline",
        better="lower",
        high=math.inf,
        definition="Mean over corruptions of the error over that of the baseline, such as AlexNet.",
        source="Hendrycks and Dietterich 2019, arXiv:1903.12261, section 4",
        function=mean_corruption_error,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="relative_mce",
        title="Relative mean corruption error",
        unit="ratio to the baseline",
        better="lower",
        low=-math.inf,
        high=math.inf,
        definition="Mean over corruptions of the error added to clean, over the baseline's.",
        source="Hendrycks and Dietterich 2019, arXiv:1903.12261, section 4",
        function=relative_mean_corruption_error,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="robustness_slope",
        title="Robustness slope",
        unit="fraction per unit of severity or sigma",
        better="higher",
        low=-math.inf,
        high=math.inf,
        definition="Least-squares slope of accuracy against severity or sigma.",
        source="named in Kim et al. 2025, arXiv:2509.20939; least squares is our reading",
        function=robustness_slope,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="robustness_slope_r_squared",
        title="R squared of the robustness slope",
        unit="fraction",
        better="neither",
        definition="Share of the accuracies' variance that the line of the slope explains.",
        source="ordinary least squares; goes with robustness_slope",
        function=slope_r_squared,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="noise_curve_area",
        title="Area under the noise curve",
        unit="fraction",
        better="higher",
        definition="Mean accuracy over the range of sigma, by trapezoids.",
        source="the trapezoid rule; the measure is ours",
        function=noise_curve_area,
        inputs="conditions",
    )
)
_add(
    MetricCard(
        name="median_norm",
        title="Median smallest perturbation",
        unit="norm of the attack, pixels in [0, 1]",
        better="higher",
        high=math.inf,
        definition=(
            "Of attacks without a radius: median size of the smallest perturbation found, over "
            "samples that are right when clean; those that stand count as largest."
        ),
        source="Brendel et al. 2019, arXiv:1907.01003; interval: Conover 1999, section 3.2",
        function=median_norm,
        inputs="norms",
    )
)
