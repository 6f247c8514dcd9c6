"""Noise gain of making pictures smaller: exact, from the weights that are really used.

Resampling is linear and separable, so that its gain in two dimensions is the square of that of a
row: the mean, over the output pixels whose window lies within the picture, of the sum of squared
weights. Weights are read by resizing unit impulses, and not from formulas: those of torch's
`interpolate` with `antialias=True` for triangle (its bilinear) and bicubic, which is what the
models here resize with; those of Pillow for box and Lanczos, which torch lacks.

A filter that is stretched by the factor s, so that it averages over more pixels, has a gain of
about c / s^2 (Kim et al. 2025): c = 1 for the box, 4/9 for the triangle, 0.66 for cubic
convolution with a = -1/2. Picking every s-th pixel leaves the variance as it is. So a smaller
input holds better only where noise is there before an anti-aliased resize; with the same noise
a pixel after it, the larger input has more pixels to average over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import integrate
from torch.nn import functional as F

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError, unknown_name
from holdfast.explain.theory.kernels import simulated_gain
from holdfast.records.explanations import Gain

FloatArray = NDArray[np.float64]
FACTORS = (2, 3, 4, 8)
_OUTPUTS = 32  # output pixels of a table's row; enough to have many within the picture
_LANCZOS = 3  # lobes, as Pillow has them
_ROW = 2  # rows of the picture that is resized; one would do but for Pillow's fast paths


def _by_torch(mode: str) -> Callable[[int, int], FloatArray]:
    def weights(before: int, after: int) -> FloatArray:
        impulses = torch.eye(before, dtype=torch.float64)[:, None, None, :]
        smooth: dict[str, bool] = {} if mode == "nearest" else {"antialias": True}
        resized = F.interpolate(impulses, (1, after), mode=mode, **smooth)
        return resized[:, 0, 0, :].T.numpy()

    return weights


def _by_pillow(how: Image.Resampling) -> Callable[[int, int], FloatArray]:
    def weights(before: int, after: int) -> FloatArray:
        columns = []
        for place in range(before):
            impulse = np.zeros((_ROW, before), np.float32)
            impulse[:, place] = 1.0
            resized = Image.fromarray(impulse).resize((after, _ROW), how)
            columns.append(np.asarray(resized, np.float64)[0])
        return np.stack(columns, 1)

    return weights


_WEIGHTS: Mapping[str, Callable[[int, int], FloatArray]] = MappingProxyType(
    {
        "nearest": _by_torch("nearest"),
        "box": _by_pillow(Image.Resampling.BOX),
        "triangle": _by_torch("bilinear"),
        "bicubic": _by_torch("bicubic"),
        "lanczos": _by_pillow(Image.Resampling.LANCZOS),
    }
)
RESAMPLINGS = tuple(_WEIGHTS)


def resampling_weights(kind: str, before: int, after: int) -> FloatArray:
    """Weights of a row, float64 [after, before]; each row sums to one.

    Args:
        kind: `nearest`, `box`, `triangle`, `bicubic` or `lanczos`.
        before: Pixels of the row.
        after: Pixels of the resized row.

    Raises:
        UnknownNameError: Another kind.
        BadValueError: A side below one pixel.
    """
    if kind not in _WEIGHTS:
        raise unknown_name("resampling", kind, _WEIGHTS)
    check_whole("before", before)
    check_whole("after", after)
    return _WEIGHTS[kind](before, after)


def row_gain(kind: str, before: int, after: int) -> float:
    """Noise gain along one axis, the mean over output pixels away from the borders.

    Raises:
        UnknownNameError: Another kind.
        BadValueError: A side below one pixel, or so few output pixels that each is at a border.
    """
    squares = (resampling_weights(kind, before, after) ** 2).sum(1)
    reach = math.ceil(_SUPPORT[kind] * max(1.0, after / before)) + 1
    inner = squares[reach:-reach]
    if not len(inner):
        raise BadValueError(
            f"{after} output pixels are too few to have one away from the borders; take more than "
            f"{2 * reach}"
        )
    return float(inner.mean())


def resampling_gain(
    kind: str, before: tuple[int, int] | int, after: tuple[int, int] | int
) -> float:
    """Noise variance of a pixel after resizing over that before, away from the borders.

    Exact for noise that is independent between pixels. What is left is correlated between
    pixels, so that a second resize does not multiply.

    Args:
        kind: `nearest`, `box`, `triangle` (bilinear), `bicubic` or `lanczos`.
        before: Height and width in pixels; one number for both.
        after: Likewise.

    Raises:
        UnknownNameError: Another kind.
        BadValueError: Sides that are too small.
    """
    old = (before, before) if isinstance(before, int) else before
    new = (after, after) if isinstance(after, int) else after
    gains = [row_gain(kind, a, b) for a, b in zip(old, new, strict=True)]
    return gains[0] * gains[1]


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float) -> float:
    """Keys 1981, "Cubic convolution interpolation", equation 15, a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / _LANCZOS)) if abs(x) < _LANCZOS else 0.0


_SUPPORT: Mapping[str, float] = MappingProxyType(
    {"nearest": 1.0, "box": 0.5, "triangle": 1.0, "bicubic": 2.0, "lanczos": float(_LANCZOS)}
)
_SHAPES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"triangle": _triangle, "bicubic": _cubic, "lanczos": _lanczos}
)


def limit(kind: str) -> float:
    """Factor c of the law c / s^2: the square of the energy of the filter over its squared area.

    NaN for nearest, which has no such law.

    Raises:
        UnknownNameError: Another kind.
    """
    if kind not in _WEIGHTS:
        raise unknown_name("resampling", kind, _WEIGHTS)
    if kind in ("nearest", "box"):
        return math.nan if kind == "nearest" else 1.0
    shape, support = _SHAPES[kind], _SUPPORT[kind]
    knots = [float(knot) for knot in range(1, int(support))] or None
    area = 2 * integrate.quad(shape, 0, support, points=knots)[0]
    energy = 2 * integrate.quad(lambda x: shape(x) ** 2, 0, support, points=knots)[0]
    return float((energy / area**2) ** 2)


def law(kind: str, factor: float) -> float:
    """What the gain tends to for large factors: c / s^2; 1 for nearest.

    Raises:
        UnknownNameError: Another kind.
    """
    return 1.0 if kind == "nearest" else limit(kind) / factor**2


@cache
def resampling_table(*, draws: int = 2000, seed: int = 0) -> tuple[Gain, ...]:
    """All kinds by several whole factors, each with its law and a simulation."""
    found = []
    for kind in RESAMPLINGS:
        for factor in FACTORS:
            before, after = factor * _OUTPUTS, _OUTPUTS
            row = resampling_weights(kind, before, after)[after // 2]
            taps = row[row != 0]
            name = f"{kind}, factor {factor}"
            simulated = simulated_gain(np.outer(taps, taps), draws=draws, seed=seed, stream=name)
            exact = resampling_gain(kind, before, after)
            found.append(
                Gain(
                    name=name,
                    size=factor,
                    exact=exact,
                    law=law(kind, factor),
                    simulated=simulated,
                )
            )
    return tuple(found)
