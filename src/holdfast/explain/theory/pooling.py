"""Average and max pooling of a constant signal under white noise.

n = k x k values of one constant, each with its own unit normal noise. Their average is unbiased
with variance 1 / n. Their maximum is biased upwards by E[max], below sqrt(2 ln n), with the
variance of the largest of n normals. Errors are mean squares about the constant.

Worst case, in L2 over all windows: max pooling hands on all energy of a perturbation that sits
on the largest values (factor 1); average pooling at most 1 / k, for a perturbation that is
constant over each window.

Source: Kim et al. 2025, "Unlocking Noise-Resistant Vision", for the comparison and the bound.
Moments are exact, by quadrature over the density
n phi(x) Phi(x)^(n-1) of the maximum.
"""

from __future__ import annotations

import math
from functools import cache

from scipy import integrate, special

from holdfast.core.checks import check_whole
from holdfast.records.explanations import Pooling

SIZES = (2, 3, 4, 5, 7, 14)
_FAR = 12.0  # standard deviations beyond which a normal density is below 1e-31


def max_moments(count: int) -> tuple[float, float]:
    """Mean and variance of the largest of `count` independent standard normals.

    Raises:
        BadValueError: A count below 1.
    """
    check_whole("count", count, least=1)

    def density(x: float) -> float:
        log = -(x**2) / 2 - math.log(2 * math.pi) / 2 + (count - 1) * float(special.log_ndtr(x))
        return count * math.exp(log)

    def moment(power: int, center: float) -> float:
        value, _ = integrate.quad(
            lambda x: (x - center) ** power * density(x), -_FAR, _FAR, epsabs=1e-12, limit=200
        )
        return float(value)

    mean = moment(1, 0.0)
    return mean, moment(2, mean)


def max_bound(count: int) -> float:
    """sqrt(2 ln n), which the mean of the largest of n standard normals stays below.

    Raises:
        BadValueError: A count below 1.
    """
    check_whole("count", count, least=1)
    return math.sqrt(2 * math.log(count))


def pool_of(size: int) -> Pooling:
    """Exact moments, errors and worst cases of windows of size x size; noise of variance 1.

    Raises:
        BadValueError: A size below 1.
    """
    check_whole("size", size, least=1)
    count = size**2
    bias, variance = max_moments(count)
    return Pooling(
        size=size,
        mean_bias=0.0,
        mean_variance=1 / count,
        mean_error=1 / count,
        max_bias=bias,
        max_variance=variance,
        max_error=bias**2 + variance,
        max_bound=max_bound(count),
        mean_worst=1 / size,
        max_worst=1.0,
    )


@cache
def pooling_table(sizes: tuple[int, ...] = SIZES) -> tuple[Pooling, ...]:
    """Windows of several sizes."""
    return tuple(pool_of(size) for size in sizes)
