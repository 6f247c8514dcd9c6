"""What a predictor is asked to learn: the merits of a history, on a scale that it can learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from holdfast.search.trials import Trial

Target = Literal["merit", "standard", "normal"]


def merits(history: Sequence[Trial]) -> np.ndarray:
    """Merit of each trial, float64 [N]; one without a value counts as the worst that has one."""
    values = np.array([trial.score.merit for trial in history], dtype=np.float64)
    known = np.isfinite(values)
    return np.where(known, values, values[known].min() if known.any() else 0.0)


def targets(values: np.ndarray, scale: Target) -> np.ndarray:
    """Put values on a scale that keeps their order, float64 [N].

    Args:
        values: Larger is better, finite, [N].
        scale: `merit` leaves them as they are; `standard` gives mean 0 and variance 1; `normal`
            gives the normal quantiles of their ranks, equal values sharing the mean rank, so that
            a few broken networks do not set the scale (Salinas et al. 2020, section 3.1).
    """
    if scale == "merit":
        return values
    if scale == "normal":
        ranks: np.ndarray = stats.rankdata(values)
        return np.asarray(stats.norm.ppf((ranks - 0.5) / len(values)))
    spread = float(values.std())
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
