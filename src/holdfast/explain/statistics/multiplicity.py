"""Corrections for many tests at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import FloatArray


def holm(p_values: ArrayLike) -> FloatArray:
    """Correct p-values [N] so that the chance of any false discovery stays below alpha.

    NaN is a test that was not made: it stays NaN and does not count.

    Raises:
        BadValueError: Not one column, or values outside [0, 1].

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6, 65-70; adjusted p-values, made monotone and cut at 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise BadValueError(f"expected one column of p-values, got the shape {p.shape}")
    made = np.flatnonzero(np.isfinite(p))
    if len(made) and not (p[made].min() >= 0 and p[made].max() <= 1):
        raise BadValueError(
            f"p-values must lie in [0, 1], got {p[made].min():g}..{p[made].max():g}"
        )
    found = np.full(len(p), np.nan)
    order = made[np.argsort(p[made], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return found
