"""Accuracy under a shift above what accuracy on clean images predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import FloatArray
from holdfast.records.explanations.ranks import AccuracyLine

FEWEST = 3  # models that a line needs; through two it says nothing
_IMAGES = 1_000  # assumed where a table does not say how many: cuts accuracies at 0.05 %


@dataclass(frozen=True)
class Effective:
    """Effective robustness of each model, and the line behind it.

    Attributes:
        line: Fitted on the logit scale.
        expected: Accuracy under shift that the line predicts from the clean one, [N].
        above: Accuracy under shift minus `expected`, [N]; positive is more robust than expected.
    """

    line: AccuracyLine
    expected: FloatArray
    above: FloatArray


def effective_robustness(
    clean: ArrayLike, shifted: ArrayLike, counts: ArrayLike | None = None
) -> Effective:
    """Fit the accuracy line by least squares of logits, and measure each model against it.

    An accuracy of 0 or 1 has no logit. Each accuracy is cut at half an image from both ends: at
    0.5 / n and 1 - 0.5 / n of the number of images, of which 1,000 are assumed where it is not
    known. Models without one of both accuracies get NaN and are not fitted. Fewer than three
    models, or clean accuracies that are all equal, give no line.

    Differs from the source in that the line is fitted to all models given, not to those alone that
    were trained without extra data or robustness interventions: a table does not say which.

    Args:
        clean: Accuracies [N], fractions.
        shifted: Accuracies [N] under the shift or perturbation.
        counts: Images behind each, [N]; not finite, or None: not known.

    Raises:
        BadValueError: Lengths differ, or accuracies are no fractions.

    Source: Taori et al. 2020, "Measuring robustness to natural distribution shifts in image
    classification", section 3 and appendix (logit scaling).
    """
    x, y = _fractions(clean), _fractions(shifted)
    if x.shape != y.shape:
        raise BadValueError(f"one shifted accuracy a model, got {y.shape} for {x.shape}")
    images = np.full(x.shape, math.nan) if counts is None else np.asarray(counts, dtype=np.float64)
    if images.shape != x.shape:
        raise BadValueError(f"one number of images a model, got {images.shape} for {x.shape}")
    margin = 0.5 / np.where(np.isfinite(images) & (images > 0), images, _IMAGES)
    across, up = _logit(x, margin), _logit(y, margin)
    both = np.isfinite(across) & np.isfinite(up)
    line = _fit(across[both], up[both])
    expected = np.asarray(special.expit(line.intercept + line.slope * across))
    return Effective(line, expected, y - expected)


def _fit(x: FloatArray, y: FloatArray) -> AccuracyLine:
    count = len(x)
    spread = float(np.square(x - x.mean()).sum()) if count else 0.0
    if count < FEWEST or spread <= 1e-12 * count:
        return AccuracyLine(count=count)
    slope = float((x - x.mean()) @ (y - y.mean())) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    total = float(np.square(y - y.mean()).sum())
    left = float(np.square(y - intercept - slope * x).sum())
    fit = 1 - left / total if total > 0 else math.nan
    return AccuracyLine(slope=slope, intercept=intercept, count=count, r_squared=fit)


def _logit(values: FloatArray, margin: FloatArray) -> FloatArray:
    return np.asarray(special.logit(np.clip(values, margin, 1 - margin)))


def _fractions(values: ArrayLike) -> FloatArray:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise BadValueError(f"expected one accuracy a model, got the shape {column.shape}")
    known = column[np.isfinite(column)]
    if len(known) and not (known.min() >= 0 and known.max() <= 1):
        raise BadValueError(
            f"accuracies must be fractions in [0, 1], got {known.min():g}..{known.max():g}; "
            "divide percent by 100"
        )
    return column
