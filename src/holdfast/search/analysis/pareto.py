"""Pareto fronts and hypervolumes; the computation is that of `metrics`, which pages use too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.pareto import hypervolume, pareto_front
from holdfast.metrics.trajectories import hypervolumes
from holdfast.search.trials import Trial

__all__ = ["front_of", "hypervolume", "hypervolume_curve", "pareto_front"]


def front_of(trials: Sequence[Trial]) -> list[Trial]:
    """Feasible trials that no other feasible one dominates, in their order."""
    able = [trial for trial in trials if trial.score.feasible]
    if not able:
        return []
    kept = pareto_front([trial.score.values for trial in able])
    return [trial for trial, on in zip(able, kept, strict=True) if on]


def hypervolume_curve(trials: Sequence[Trial], reference: Sequence[float]) -> FloatArray:
    """Hypervolume of the feasible trials up to each query, float64 [Q].

    Args:
        trials: Oldest first.
        reference: A point that all of interest lie above, in values of which larger is better.

    Raises:
        BadValueError: A reference of another length than the values.
    """
    nothing = np.full(len(reference), np.nan)
    rows = [trial.score.values if trial.score.feasible else nothing for trial in trials]
    return hypervolumes(np.array(rows, dtype=np.float64).reshape(len(rows), -1), reference)
