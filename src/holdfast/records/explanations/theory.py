"""What theory says of one model: its stem, its preprocessing, and noise on its way through."""

from __future__ import annotations

import math

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value


class Response(Part):
    """A kernel and its frequency response, as pictures.

    Attributes:
        name: `filter 12`, or that of an ideal kernel such as `box 7`.
        kernel: Rows of weights, one picture for the sum over colors.
        magnitude: Rows of |H(f)|, frequencies -1/2..1/2 cycles a pixel, the middle is zero.
        gain: Variance out over variance in for white noise: the sum of squared weights.
    """

    name: str
    kernel: tuple[tuple[Number, ...], ...]
    magnitude: tuple[tuple[Number, ...], ...]
    gain: Number


class Gain(Part):
    """Noise gain of a kernel or a resampling: measured against the closed form.

    Attributes:
        name: What is filtered by, such as `box 3x3` or `triangle, factor 4`.
        size: Width of the kernel, or factor of the resampling.
        exact: Sum of squared weights.
        law: What the rule of thumb says, such as 1 / k^2.
        simulated: By Monte Carlo, with its interval.
    """

    name: str
    size: Number
    exact: Number
    law: Number = math.nan
    simulated: Value = Value()


class Pooling(Part):
    """Average and max pooling of k x k values of a constant signal with unit noise."""

    size: int
    mean_bias: Number
    mean_variance: Number
    mean_error: Number
    max_bias: Number
    max_variance: Number
    max_error: Number
    max_bound: Number  # sqrt(2 ln n), above the bias
    mean_worst: Number  # L2-Lipschitz constant, 1 / k
    max_worst: Number  # 1


class Layer(Part):
    """Noise at the output of one layer, relative to the signal there.

    Attributes:
        name: Dotted name of the module.
        kind: Class of the module.
        place: Order in which layers run, from 0.
        shape: Of the output of one image.
        noise: Root mean square of f(x + n) - f(x).
        signal: Standard deviation of f(x).
        ratio: noise / signal, with its interval over the images.
        gain: ratio over that of the layer before it in order of running; above 1 amplifies.
        analytic: noise by the exact sum of squared weights, where all before is linear; else NaN.
    """

    name: str
    kind: str
    place: int
    shape: tuple[int, ...] = ()
    noise: Number = math.nan
    signal: Number = math.nan
    ratio: Value = Value()
    gain: Number = math.nan
    analytic: Number = math.nan


class Preprocess(Part):
    """Factor by which normalization stretches pixels, and against other conventions."""

    name: str
    std: tuple[Number, ...]
    factor: Number  # 1 / min std
    against_inception: Number  # 0.5 / min std


class TangentKernel(Part):
    """What one tangent kernel says of training on the images that it is of.

    Attributes:
        name: clean, robust, twice (attacked twice), all and robust_all (both mixtures).
        smallest: Eigenvalue.
        condition: Largest eigenvalue over the smallest; NaN where that is zero but for rounding.
        bound: Root of y' K^-1 y / N; NaN likewise.
        looser: Root of |y|^2 / (N smallest), not below `bound`; NaN likewise.
    """

    name: str
    smallest: Number = math.nan
    condition: Number = math.nan
    bound: Number = math.nan
    looser: Number = math.nan


class TangentBound(Part):
    """Bounds of Wu et al. 2024 on the clean and the robust error.

    Attributes:
        images: How many, N.
        beta: Part of attacked images in training.
        eps: Radius of the attack, Linf.
        steps: Of the attack.
        kernels: One each.
    """

    images: int
    beta: Number
    eps: Number
    steps: int
    kernels: tuple[TangentKernel, ...] = ()


class Theory(Explanation):
    """Theory of one model, with the general tables beside it.

    Attributes:
        model: Its name.
        stem: Layer that is the stem, in words; empty where the first layer is not linear.
        stem_size: Width of its kernel.
        stem_stride: Of it.
        stem_gains: Exact noise gain of each output channel, pixels of [0, 1] in.
        stem_measured: Mean gain by Monte Carlo on images, with its interval.
        stem_exact: Mean of `stem_gains`.
        responses: Filters of the stem and ideal kernels.
        kernels: Ideal kernels of growing width.
        resampling: Downsampling by several filters and factors.
        pooling: Table of windows.
        preprocessing: The model's own, and the usual ones.
        layers: Noise through the network, in order of running.
        sigma: Of the noise that was sent through, pixel units of [0, 1].
        images: How many images it was added to.
        ntk: Bounds by tangent kernels; None where they were not asked for.
    """

    model: str
    stem: str = ""
    stem_size: int = 0
    stem_stride: int = 0
    stem_gains: tuple[Number, ...] = ()
    stem_measured: Value = Value()
    stem_exact: Number = math.nan
    responses: tuple[Response, ...] = ()
    kernels: tuple[Gain, ...] = ()
    resampling: tuple[Gain, ...] = ()
    pooling: tuple[Pooling, ...] = ()
    preprocessing: tuple[Preprocess, ...] = ()
    layers: tuple[Layer, ...] = ()
    sigma: Number = math.nan
    images: int = 0
    ntk: TangentBound | None = None
