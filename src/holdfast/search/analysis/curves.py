"""Regret: how far the best that a search had found lay below the best there is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import LEVEL, Estimate, FloatArray
from holdfast.metrics.trajectories import incumbents, repeated_mean
from holdfast.search.trials import Trial


def incumbent_values(trials: Sequence[Trial], objective: int = 0) -> FloatArray:
    """Value of the incumbent after each query, larger is better, float64 [Q].

    The incumbent has the largest merit so far. NaN until it is feasible.
    """
    merits = [trial.score.merit if trial.score.feasible else -math.inf for trial in trials]
    values = np.array([trial.score.values[objective] for trial in trials], dtype=np.float64)
    places = incumbents(merits)
    return np.where(places < 0, math.nan, values[np.maximum(places, 0)])


def incumbent_curve(
    repetitions: Sequence[Sequence[Trial]], objective: int = 0, *, level: float = LEVEL
) -> list[Estimate]:
    """Mean incumbent after each query, over repetitions, with Student's t interval.

    A repetition that ended early keeps its last incumbent. One without a feasible incumbent is
    left out of the mean, and of its count, until it has one.

    Raises:
        BadValueError: No repetition, or one without trials.
    """
    if not repetitions or not all(repetitions):
        raise BadValueError("a curve needs one repetition or more, each with a trial or more")
    length = max(map(len, repetitions))
    curves = [incumbent_values(trials, objective) for trials in repetitions]
    table = np.stack([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves])
    return [repeated_mean(column, level=level) for column in table.T]


def regret_curve(
    repetitions: Sequence[Sequence[Trial]], optimum: float, *, level: float = LEVEL
) -> list[Estimate]:
    """Mean of optimum - incumbent after each query; see `incumbent_curve`.

    Args:
        repetitions: Trials of each repetition, oldest first.
        optimum: Best value there is, turned so that larger is better.
        level: Of the interval.
    """
    return [
        Estimate(optimum - one.value, optimum - one.high, optimum - one.low, one.count)
        for one in incumbent_curve(repetitions, level=level)
    ]
