"""Several objectives at once, larger is better in each: who is undominated, and how much it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import FloatArray


def pareto_front(values: ArrayLike) -> NDArray[np.bool_]:
    """Mark the rows of a table [N, M] that no other row dominates, bool [N].

    A row dominates another where it is nowhere worse and somewhere better; equal rows do not
    dominate each other. A row with NaN is not on the front.

    Raises:
        BadValueError: Not a table with a column or more.
    """
    table = _table(values)
    known = np.flatnonzero(~np.isnan(table).any(axis=1))
    # What dominates a row stands before it in this order.
    order = known[np.lexsort(-table[known].T[::-1])]
    kept = np.zeros(len(table), dtype=bool)
    members, count = np.empty((len(order), table.shape[1])), 0
    for row in order:
        point, front = table[row], members[:count]
        covers = (front >= point).all(axis=1)
        if not (covers & (front > point).any(axis=1)).any():
            kept[row] = True
            if not covers.any():  # an equal one stands for both
                members[count] = point
                count += 1
    return kept


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the rows of a table [N, M] dominate above a reference point [M]; exact.

    Slices along the last objective, as in While et al. 2006, "A faster algorithm for calculating
    hypervolume": the cost grows as N^(M - 1), which is little for two or three objectives. Rows
    that are not above the reference in every objective, or have NaN, add nothing.

    Raises:
        BadValueError: Not a table, or a reference of another length or with gaps.
    """
    table, floor = _table(values), np.asarray(reference, dtype=np.float64)
    if floor.shape != (table.shape[1],) or not np.isfinite(floor).all():
        raise BadValueError(
            f"the reference must be {table.shape[1]} finite numbers, one an objective; got {floor}"
        )
    above = table[(table > floor).all(axis=1)] - floor
    return _volume(_thinned(above)) if len(above) else 0.0


def _volume(points: FloatArray) -> float:
    """Volume between the origin and points that are above it."""
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    if points.shape[1] == 2:
        return _area(points)
    depths = points[:, -1] - np.append(points[1:, -1], 0.0)
    total, front = 0.0, np.empty((0, points.shape[1] - 1))
    for point, depth in zip(points[:, :-1], depths, strict=True):
        front = _thinned(np.vstack([front, point]))
        total += float(depth) * _volume(front) if depth > 0 else 0.0
    return total


def _thinned(points: FloatArray) -> FloatArray:
    """Points without those that add nothing, where that saves more than it costs."""
    return points[pareto_front(points)] if points.shape[1] > 2 else points


def _area(points: FloatArray) -> float:
    """Area below a staircase; the points descend in their second coordinate."""
    reach = np.maximum.accumulate(points[:, 0])
    return float((reach * (points[:, 1] - np.append(points[1:, 1], 0.0))).sum())


def _table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise BadValueError(
            f"expected a table [points, objectives] with an objective or more, got {table.shape}"
        )
    return table
