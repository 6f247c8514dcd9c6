"""Difference of two accuracies on the same images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError
from holdfast.metrics.accuracy import as_flags, wilson
from holdfast.metrics.intervals import LEVEL, Estimate, Interval


def paired_difference(before: ArrayLike, after: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Accuracy after minus accuracy before, in [-1, 1], with its interval.

    Images that both get right, or both wrong, say little about the difference; the interval
    allows for that, and unlike one of the normal distribution it is no point where the two
    agree on every image.

    Args:
        before: Whether each image was classified correctly, bool [N].
        after: The same of the same images, in the same order.
        level: Probability that the interval is to cover.

    Returns:
        The difference; NaN with count 0 where there is no image.

    Raises:
        BadValueError: Columns of unlike lengths, or other values than True and False.

    Source: Newcombe 1998, Statistics in Medicine 17(22), 2635-2650, method 10: Wilson's
    intervals of both, squared and added less twice their correlation, which is corrected for
    continuity.
    """
    old, new = as_flags(before, "before"), as_flags(after, "after")
    if len(old) != len(new):
        raise BadValueError(f"one value an image is needed of both, got {len(old)} and {len(new)}")
    count = len(old)
    if count == 0:
        return Estimate.point(math.nan, 0)
    first, second = int(old.sum()), int(new.sum())
    p, q = first / count, second / count
    one, two = wilson(first, count, level), wilson(second, count, level)
    phi = _correlation(int((old & new).sum()), first, second, count)
    low = _spread(q - two.low, one.high - p, phi)
    high = _spread(two.high - q, p - one.low, phi)
    return Estimate.point(q - p, count).between(Interval(q - p - low, q - p + high))


def _spread(one: float, two: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * two + two**2))


def _correlation(both: int, first: int, second: int, count: int) -> float:
    """Phi of the two-by-two table, a positive numerator moved towards zero by count / 2."""
    product = float(np.prod([first, count - first, second, count - second], dtype=np.float64))
    if product == 0:
        return 0.0
    # both * neither - only one * only other, in terms of the margins.
    covariance = both * count - first * second
    if covariance > 0:
        return max(0.0, covariance - count / 2) / math.sqrt(product)
    return covariance / math.sqrt(product)
