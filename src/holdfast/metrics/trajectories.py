"""What a search had found after each query, and the mean of that over repetitions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from holdfast.metrics.intervals import (
    LEVEL,
    Estimate,
    FloatArray,
    IntArray,
    check_level,
    interval_of_mean,
)
from holdfast.metrics.pareto import hypervolume


def incumbents(merits: ArrayLike) -> IntArray:
    """Query whose merit is the largest so far, of each query, int [Q]; the first where tied.

    -1 until one has a merit: NaN and -inf are none.
    """
    column = np.asarray(merits, dtype=np.float64)
    column = np.where(np.isnan(column), -math.inf, column)
    before = np.concatenate([[-math.inf], np.maximum.accumulate(column)[:-1]])
    risen = np.where(column > before, np.arange(len(column)), -1)
    return np.maximum.accumulate(risen).astype(np.int64)


def hypervolumes(values: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Hypervolume of the first 1, 2, ... rows of a table [Q, M], float64 [Q].

    Each row adds the volume that it alone dominates: its own less what the rows before have of
    it (While et al. 2012, "A fast way of calculating exact hypervolumes").

    Raises:
        BadValueError: As `hypervolume`.
    """
    table, floor = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    added = np.zeros(len(table))
    front = np.empty((0, table.shape[1]))
    for place, row in enumerate(table):
        if np.isnan(row).any() or (front >= row).all(axis=1).any():
            continue
        within = np.unique(np.minimum(front, row), axis=0)
        added[place] = hypervolume(row[None], floor) - hypervolume(within, floor)
        front = np.vstack([front[~(row >= front).all(axis=1)], row])
    return np.cumsum(added)


def regrets(curve: Iterable[Estimate], optimum: float, *, scale: float = 1.0) -> list[Estimate]:
    """Distance of each mean of incumbents to the best there is: scale * (optimum - mean).

    Args:
        curve: Means after each query, as the table has them.
        optimum: Best value there is.
        scale: Negative where less is better, so that no regret is.
    """
    found = []
    for one in curve:
        low, high = sorted((scale * (optimum - one.low), scale * (optimum - one.high)))
        found.append(Estimate(scale * (optimum - one.value), low, high, one.count))
    return found


def repeated_mean(
    values: ArrayLike, *, level: float = LEVEL, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Mean over the finite values of a few repetitions, with Student's t interval.

    The interval is cut at the quantity's bounds. One value has none. `count` is the number of
    finite values.

    Raises:
        BadValueError: The level is not between 0 and 1.
    """

    def quantile(count: int) -> float:
        return float(special.stdtrit(count - 1, 0.5 + level / 2))

    check_level(level)
    return interval_of_mean(values, quantile, bounds)
