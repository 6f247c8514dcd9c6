"""How large the smallest adversarial perturbations are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.metrics.intervals import NO_INTERVAL, Estimate, normal_quantile


def median(values: NDArray[np.float64]) -> Estimate:
    """Lower median with the 95 % interval of order statistics, which supposes no distribution.

    Source: Conover 1999, "Practical nonparametric statistics", section 3.2: ranks
    n/2 -+ z sqrt(n)/2, rounded outwards, cut to what there is.
    """
    ordered, count = np.sort(values), len(values)
    if not count:
        return Estimate(math.nan, *NO_INTERVAL, 0)
    spread = normal_quantile(0.95) * math.sqrt(count) / 2
    low = max(0, math.floor(count / 2 - spread) - 1)
    high = min(count - 1, math.ceil(count / 2 + spread))
    middle = float(ordered[(count - 1) // 2])
    return Estimate(middle, float(ordered[low]), float(ordered[high]), count)


def median_norm(norms: ArrayLike) -> Estimate:
    """Median size of the smallest perturbation over samples that are right when clean.

    Args:
        norms: Of each sample, [N]: 0 where it is wrong when clean, NaN where nothing was found;
            such samples count as the largest.

    Returns:
        NaN without a sample that is right; infinite where most of those stand.
    """
    sizes = np.asarray(norms, dtype=np.float64)
    sizes = np.where(np.isnan(sizes), np.inf, sizes)
    return median(sizes[sizes > 0])
