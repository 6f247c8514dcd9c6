"""Rank correlations with their intervals; NaN is no data, and pairs that have it are left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.metrics.intervals import LEVEL, Estimate, FloatArray, IntArray, normal_quantile

Coefficient = Literal["spearman", "kendall"]
_KENDALL_VARIANCE = 0.437  # Fieller, Hartley and Pearson 1957
_CLOSE = 1 - 1e-12  # a correlation beyond it is one, up to rounding


@dataclass(frozen=True)
class RankMatrix:
    """Correlations between the columns of a table, [C, C] each.

    Attributes:
        values: Symmetric; NaN where two columns share fewer than two rows or one is constant.
        low: Lower ends of the intervals.
        high: Upper ends.
        counts: Rows that have both columns.
    """

    values: FloatArray
    low: FloatArray
    high: FloatArray
    counts: IntArray


def spearman(x: ArrayLike, y: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Spearman's rho of two columns [N]: Pearson's correlation of their mid-ranks.

    The interval is normal on Fisher's scale with the variance (1 + rho^2 / 2) / (n - 3) of
    Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations". A rho of 1 or -1, where that scale is infinite, has none; neither have
    three pairs or fewer.

    Raises:
        BadValueError: Columns of different lengths, or a level that is not in (0, 1).
    """
    return _estimate("spearman", *_paired(x, y), level=level)


def kendall(x: ArrayLike, y: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Kendall's tau-b of two columns [N], which allows for ties, in O(N log N).

    Source: Knight 1966, "A computer method for calculating Kendall's tau with ungrouped data".
    The interval is normal on Fisher's scale with the variance 0.437 / (n - 4) of Fieller, Hartley
    and Pearson 1957, "Tests for rank correlation coefficients. I", which holds below 0.8 or so
    and for few ties. A tau of 1 or -1 has none; neither have four pairs or fewer.

    Raises:
        BadValueError: Columns of different lengths, or a level that is not in (0, 1).
    """
    return _estimate("kendall", *_paired(x, y), level=level)


def rank_matrix(
    table: ArrayLike, how: Coefficient = "kendall", *, level: float = LEVEL
) -> RankMatrix:
    """Correlate each two columns of a table [N, C] over the rows that have both.

    Raises:
        BadValueError: Not a table, or a level that is not in (0, 1).
        UnknownNameError: Another coefficient.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2:
        raise BadValueError(f"expected a table [rows, columns], got the shape {values.shape}")
    if how not in _COEFFICIENTS:
        raise unknown_name("rank correlation", how, get_args(Coefficient))
    columns = values.shape[1]
    found = np.full((3, columns, columns), math.nan)
    counts = np.zeros((columns, columns), dtype=np.int64)
    ranked = [_Ranked.of(column) for column in values.T]
    for row in range(columns):
        for column in range(row, columns):
            one = _estimate(how, *_shared(ranked[row], ranked[column]), level=level)
            found[:, row, column] = found[:, column, row] = one.value, one.low, one.high
            counts[row, column] = counts[column, row] = one.count
    return RankMatrix(found[0], found[1], found[2], counts)


Ranks: TypeAlias = IntArray  # 0, 1, ... without gaps; equal values share one


@dataclass(frozen=True)
class _Ranked:
    """A column as dense ranks; those of a column without gaps serve every pair."""

    ranks: Ranks
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, column: FloatArray) -> _Ranked:
        known = ~np.isnan(column)
        ranks = np.full(len(column), -1, dtype=np.int64)
        ranks[known] = _dense(column[known])
        return cls(ranks, known)


def _dense(values: NDArray[np.generic]) -> Ranks:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _shared(x: _Ranked, y: _Ranked) -> tuple[Ranks, Ranks]:
    both = x.known & y.known
    if both.all():
        return x.ranks, y.ranks
    return _dense(x.ranks[both]), _dense(y.ranks[both])


def _paired(x: ArrayLike, y: ArrayLike) -> tuple[Ranks, Ranks]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise BadValueError(
            f"expected two columns of one length, got the shapes {first.shape} and {second.shape}"
        )
    return _shared(_Ranked.of(first), _Ranked.of(second))


def _estimate(how: Coefficient, x: Ranks, y: Ranks, *, level: float) -> Estimate:
    quantile = normal_quantile(level)
    count = len(x)
    if count < 2 or x.max() == 0 or y.max() == 0:
        return Estimate.point(math.nan, count)
    coefficient, variance = _COEFFICIENTS[how]
    value = coefficient(x, y)
    spread = variance(value, count)
    if abs(value) > _CLOSE or not math.isfinite(spread):
        return Estimate.point(value, count)
    middle, half = math.atanh(value), quantile * math.sqrt(spread)
    return Estimate(value, math.tanh(middle - half), math.tanh(middle + half), count)


def _rho(x: Ranks, y: Ranks) -> float:
    first, second = (_mid(ranks) for ranks in (x, y))
    return float(first @ second / math.sqrt(float(first @ first) * float(second @ second)))


def _mid(ranks: Ranks) -> FloatArray:
    """Mid-ranks about their mean: ties share the mean of the places that they take."""
    counts = np.bincount(ranks)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return (middle - (len(ranks) - 1) / 2)[ranks]


def _tau(x: Ranks, y: Ranks) -> float:
    pairs = _pairs(np.array([len(x)]))
    tied_x, tied_y = _pairs(np.bincount(x)), _pairs(np.bincount(y))
    # Where x is tied, y ascends, so that no tie counts as discordant.
    joint = np.sort(x * (int(y.max()) + 1) + y)
    tied_both = _pairs(np.bincount(_dense(joint)))
    discordant = _inversions(joint % (int(y.max()) + 1))
    excess = pairs - tied_x - tied_y + tied_both - 2 * discordant
    return excess / (math.sqrt(pairs - tied_x) * math.sqrt(pairs - tied_y))


def _pairs(counts: IntArray) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: IntArray) -> int:
    """How many pairs stand in descending order: a merge sort that counts, all blocks at once."""
    size = 1 << max(0, len(values) - 1).bit_length()
    above = int(values.max()) + 1
    padded = np.full(size, above, dtype=np.int64)
    padded[: len(values)] = values
    blocks = padded.reshape(-1, 1)
    total = 0
    while len(blocks) > 1:
        left, right = blocks[0::2], blocks[1::2]
        # Shifted so that the sorted blocks, one after the other, are sorted as a whole.
        shift = np.arange(len(left))[:, None] * (above + 1)
        not_above = np.searchsorted((left + shift).ravel(), (right + shift).ravel(), side="right")
        upto = np.arange(1, len(left) + 1) * left.shape[1]
        total += int((upto * right.shape[1]).sum()) - int(not_above.sum())
        blocks = np.sort(np.concatenate([left, right], axis=1), axis=1)
    return total


def _rho_variance(value: float, count: int) -> float:
    return (1 + value**2 / 2) / (count - 3) if count > 3 else math.inf


def _tau_variance(_: float, count: int) -> float:
    return _KENDALL_VARIANCE / (count - 4) if count > 4 else math.inf


_COEFFICIENTS: dict[str, tuple[Callable[[Ranks, Ranks], float], Callable[[float, int], float]]] = {
    "spearman": (_rho, _rho_variance),
    "kendall": (_tau, _tau_variance),
}
