"""Ideal low-pass kernels: their noise gain, its laws, and their frequency response.

White noise of variance v that passes a linear filter w comes out with variance v * sum(w^2), at
every position whose window lies within the picture. All kernels here are square and separable,
and their weights sum to one, so that a constant picture passes unchanged.

The law of Kim et al. 2025, "Unlocking Noise-Resistant Vision", arXiv:2509.20939: gain ~ 1 / k^2.
It holds for the box, and for a Gaussian whose std grows with its width k. It fails where the width
grows and the shape does not follow: the std of binomial taps grows like the root of k, so that
their gain falls like 1 / k; and a trained kernel may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.core.randomness import keys_for
from holdfast.metrics.intervals import mean_estimate
from holdfast.records.explanations import Gain, Value

FloatArray = NDArray[np.float64]
WIDTHS = (1, 3, 5, 7, 9, 11, 15, 21, 31)
STDS = 6.0  # widths of a Gaussian kernel are so many standard deviations
_DRAWS = 4000  # windows of noise a simulation
_RESPONSE = 33  # frequencies a side


def _width(width: int) -> int:
    if type(width) is not int or width < 1:
        raise BadValueError(f"a kernel is 1 or more pixels wide, got {width!r}")
    return width


def box_taps(width: int) -> FloatArray:
    """Equal weights, float64 [width], sum 1."""
    return np.full(_width(width), 1 / width)


def gaussian_taps(width: int, std: float | None = None) -> FloatArray:
    """A Gaussian at whole or half pixels, cut at the width, float64 [width], sum 1.

    Args:
        width: Pixels.
        std: Pixels; a sixth of the width if left out.

    Raises:
        BadValueError: A width below 1, or a std that is not above 0.
    """
    deviation = _width(width) / STDS if std is None else std
    if not (math.isfinite(deviation) and deviation > 0):
        raise BadValueError(f"the std of a Gaussian must be above 0 pixels, got {std}")
    places = np.arange(width) - (width - 1) / 2
    # Relative to the peak, so that a narrow one does not vanish between two pixels.
    steepness = places**2 - (places**2).min()
    taps = np.exp(-steepness / (2 * deviation**2))
    return np.asarray(taps / taps.sum(), np.float64)


def binomial_taps(width: int) -> FloatArray:
    """Row `width` of Pascal's triangle, float64 [width], sum 1."""
    count = _width(width) - 1
    return np.array([math.comb(count, k) / 2**count for k in range(width)])


TAPS: Mapping[str, Callable[[int], FloatArray]] = MappingProxyType(
    {"box": box_taps, "gaussian": gaussian_taps, "binomial": binomial_taps}
)


def separable(taps: ArrayLike) -> FloatArray:
    """Square kernel of taps in both directions, float64 [k, k]."""
    row = np.asarray(taps, np.float64)
    if row.ndim != 1 or not len(row):
        raise BadValueError(f"taps must be numbers [k], got shape {row.shape}")
    return np.outer(row, row)


def ideal(kind: str, width: int) -> FloatArray:
    """An ideal kernel, float64 [width, width], sum 1.

    Args:
        kind: `box`, `gaussian` (std a sixth of the width) or `binomial`.
        width: Pixels.

    Raises:
        UnknownNameError: Another kind.
        BadValueError: A width below 1.
    """
    if kind not in TAPS:
        raise unknown_name("kernel", kind, TAPS)
    return separable(TAPS[kind](width))


def noise_gain(kernel: ArrayLike) -> float:
    """Variance out over variance in for white noise: the sum of squared weights."""
    return float((np.asarray(kernel, np.float64) ** 2).sum())


def law(kind: str, width: int) -> float:
    """What the gain of an ideal kernel tends to as it widens.

    1 / k^2 for the box, which is exact; 1 / (4 pi s^2) for a Gaussian of std s, here a sixth of
    the width; for binomial taps the same, of their std sqrt(k - 1) / 2.

    Raises:
        UnknownNameError: Another kind.
    """
    if kind not in TAPS:
        raise unknown_name("kernel", kind, TAPS)
    if kind == "box":
        return 1 / width**2
    variance = (width / STDS) ** 2 if kind == "gaussian" else (width - 1) / 4
    return 1 / (4 * math.pi * variance) if variance else math.nan


def response(kernel: ArrayLike, size: int = _RESPONSE) -> FloatArray:
    """Magnitude of the frequency response, float64 [size, size].

    Frequencies run from -1/2 to 1/2 cycles a pixel, zero in the middle, rows are vertical; both
    ends are the same frequency. The mean of the square over all frequencies is the noise gain
    (Parseval), exact on this grid without one end where the kernel is narrower than the grid.

    Args:
        kernel: [h, w].
        size: Odd, so that zero is among the frequencies.

    Raises:
        BadValueError: Not a matrix, or an even size.
    """
    weights = np.asarray(kernel, np.float64)
    if weights.ndim != 2 or not weights.size:
        raise BadValueError(f"a kernel must be [h, w], got shape {weights.shape}")
    if size < 1 or size % 2 == 0:
        raise BadValueError(f"a response needs an odd number of frequencies, got {size}")
    frequencies = np.linspace(-0.5, 0.5, size) if size > 1 else np.zeros(1)
    down = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(weights.shape[0])))
    across = np.exp(-2j * np.pi * np.outer(np.arange(weights.shape[1]), frequencies))
    return np.asarray(np.abs(down @ weights @ across), np.float64)


def simulated_gain(
    kernel: ArrayLike, *, draws: int = _DRAWS, seed: int = 0, stream: str = "kernel"
) -> Value:
    """Mean square of what a filter makes of unit noise, by independent windows.

    Args:
        kernel: Weights of any shape.
        draws: Windows of noise.
        seed: Of the noise.
        stream: What the noise is for.

    Returns:
        With a normal 95 % interval.
    """
    weights = np.asarray(kernel, np.float64).ravel()
    keys = keys_for(torch.arange(draws), seed=seed, stream=stream)
    found = keys.normal(len(weights)).double().numpy() @ weights
    estimate = mean_estimate(found**2)
    return Value(value=estimate.value, low=estimate.low, high=estimate.high, count=estimate.count)


@cache
def kernel_table(*, draws: int = _DRAWS, seed: int = 0) -> tuple[Gain, ...]:
    """Ideal kernels of growing width, each with its law and a simulation."""
    found = []
    for kind in TAPS:
        for width in WIDTHS:
            kernel, name = ideal(kind, width), f"{kind} {width}x{width}"
            found.append(
                Gain(
                    name=name,
                    size=width,
                    exact=noise_gain(kernel),
                    law=law(kind, width),
                    simulated=simulated_gain(kernel, draws=draws, seed=seed, stream=name),
                )
            )
    return tuple(found)
