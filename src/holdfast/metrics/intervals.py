"""A number with its interval: means, and statistics that only resampling can reach.

The bootstrap draws Poisson(1) counts keyed by sample id (Hanley and MacGibbon 2006, "Creating
non-parametric bootstrap samples using Poisson frequencies"), so the order of samples changes
nothing, and two models or two conditions on the same images get the same resamples: the
difference of their replicates is a paired bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from holdfast.core.errors import BadValueError
from holdfast.core.mixing import GOLDEN, Words, mix, name_word

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

LEVEL = 0.95
RESAMPLES = 200

_MASK = (1 << 64) - 1
_SIXTEENTHS = 1 << 16  # a word is cut in four draws of 16 bits


class Interval(NamedTuple):
    """Where the value lies with the level's probability; NaN where nothing says so."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


@dataclass(frozen=True)
class Estimate:
    """A number, its interval and the count of samples (or points) behind it.

    NaN bounds mean that no interval was computed; a NaN value means no data, with count 0, or
    a quantity that the data cannot give.
    """

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def point(cls, value: float, count: int) -> Estimate:
        """Build an estimate without an interval."""
        return cls(float(value), math.nan, math.nan, int(count))

    def between(self, interval: Interval) -> Estimate:
        """Return the same number with this interval."""
        return replace(self, low=float(interval.low), high=float(interval.high))


def normal_quantile(level: float) -> float:
    """Two-sided standard normal quantile: 1.96 at level 0.95.

    Raises:
        BadValueError: The level is not between 0 and 1.
    """
    check_level(level)
    return float(special.ndtri(0.5 + level / 2))


def mean_estimate(
    values: ArrayLike, *, level: float = LEVEL, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Mean of the finite values with a normal interval, cut at the quantity's bounds.

    One value has no interval. `count` is the number of finite values.
    """
    normal = normal_quantile(level)
    return interval_of_mean(values, lambda _: normal, bounds)


def interval_of_mean(
    values: ArrayLike, quantile: Callable[[int], float], bounds: tuple[float, float]
) -> Estimate:
    """Mean of the finite values, give or take `quantile(count)` standard errors, within bounds."""
    column = np.asarray(values, dtype=np.float64)
    column = column[np.isfinite(column)]
    count = len(column)
    if count == 0:
        return Estimate.point(math.nan, 0)
    mean = float(column.mean())
    if count == 1:
        return Estimate.point(mean, 1)
    half = quantile(count) * float(column.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, max(bounds[0], mean - half), min(bounds[1], mean + half), count)


def bootstrap(
    statistic: Callable[[IntArray], ArrayLike],
    ids: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """Replicates of a statistic over keyed resamples of the samples, [R, ...].

    Args:
        statistic: Given row numbers (ascending, with repeats), returns a number or a vector of
            fixed length. An empty resample occurs with probability exp(-N).
        ids: What identifies the rows, int [N].
        seed: Key of the resamples; the same seed and ids give the same resamples.
        resamples: How many, R.
    """
    rows = np.arange(np.size(ids))
    counts = _poisson_counts(ids, seed=seed, resamples=resamples)
    return np.array([statistic(np.repeat(rows, count)) for count in counts], dtype=np.float64)


def resampled_means(
    values: ArrayLike, ids: ArrayLike, *, seed: int, resamples: int = RESAMPLES
) -> FloatArray:
    """Bootstrap replicates of a mean over the finite values, [R].

    Conditions or models measured on the same ids share their resamples, so a function of
    several means (a mean corruption error, a difference of accuracies) is applied replicate by
    replicate and read with `percentile_interval`.
    """
    column = np.asarray(values, dtype=np.float64)
    keys = np.asarray(ids)
    if column.shape != keys.shape:
        raise BadValueError(f"one id a value is needed, got {keys.shape} for {column.shape}")
    finite = np.isfinite(column)
    column = column[finite]
    # Sorting by id fixes the order of summation, hence the last bit.
    order = np.argsort(keys[finite], kind="stable")
    column, keys = column[order], keys[finite][order]
    means = []
    for count in _poisson_counts(keys, seed=seed, resamples=resamples):
        total = int(count.sum(dtype=np.int64))
        means.append(float(count @ column) / total if total else math.nan)
    return np.array(means, dtype=np.float64)


def percentile_interval(replicates: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Interval between the quantiles of the finite replicates (Efron 1979)."""
    check_level(level)
    finite = np.asarray(replicates, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) == 0:
        return NO_INTERVAL
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high))


def uniforms(ids: ArrayLike, *, seed: int, stream: str, draws: int) -> Iterator[FloatArray]:
    """Yield `draws` arrays [N] of uniform numbers in (0, 1), keyed by sample id.

    Sixteen bits each: a probability is met within 2^-17.
    """
    for bits in _draws_of_16_bits(ids, seed=seed, stream=stream, draws=draws):
        yield (bits + 0.5) / _SIXTEENTHS


def _poisson_counts(ids: ArrayLike, *, seed: int, resamples: int) -> Iterator[NDArray[np.uint8]]:
    for bits in _draws_of_16_bits(ids, seed=seed, stream="bootstrap", draws=resamples):
        yield _POISSON[bits]


def _poisson_table() -> NDArray[np.uint8]:
    middle = (np.arange(_SIXTEENTHS) + 0.5) / _SIXTEENTHS
    return np.searchsorted(special.pdtr(np.arange(16), 1.0), middle).astype(np.uint8)


_POISSON = _poisson_table()  # 16 uniform bits -> a Poisson(1) count


def _draws_of_16_bits(ids: ArrayLike, *, seed: int, stream: str, draws: int) -> Iterator[Any]:
    keys = _keys(np.asarray(ids), seed=seed, stream=stream)
    for draw in range(draws):
        if draw % 4 == 0:
            words = _word(keys, draw // 4)
        yield (words >> np.uint64(16 * (draw % 4))) & np.uint64(_SIXTEENTHS - 1)


def _keys(ids: NDArray[Any], *, seed: int, stream: str) -> Words:
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise BadValueError(f"ids must be whole numbers [N], got {ids.dtype} {ids.shape}")
    root = mix(np.array([(seed ^ name_word(stream)) & _MASK], dtype=np.uint64))
    # Scalars would warn where arrays wrap, and wrapping is meant.
    spread = ids.astype(np.int64).view(np.uint64) * np.uint64(GOLDEN) + np.uint64(1)
    return mix(mix(spread) ^ root)


def _word(keys: Words, number: int) -> Words:
    """The 64-bit word of each key at this place of its stream."""
    return mix(keys + np.uint64((number + 1) * GOLDEN & _MASK))


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise BadValueError(f"level must lie between 0 and 1, as 0.95 does; got {level}")
