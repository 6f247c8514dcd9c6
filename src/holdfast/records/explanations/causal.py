"""One small network trained with other stems and poolings, and what noise does to each."""

from __future__ import annotations

import math
from typing import Literal

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value


class Trained(Part):
    """One training.

    Attributes:
        stem: Kernel of the stem, pixels.
        pool: average or max.
        seed: Of the weights, the order of the images and their augmentation.
        accuracies: By sigma, ascending; 0 is clean.
        slope: Of accuracy against sigma, clean being sigma 0, a unit of sigma.
        stem_gain: Noise variance after the trained stem's convolution over that of the pixels,
            the mean over its filters.
        stem_ratio: Noise variance over signal variance there, for noise of sigma 1.
        status: ok, or failed, with the reason in `error` and no accuracies.
        error: Why it failed.
    """

    stem: int
    pool: str
    seed: int
    accuracies: tuple[tuple[Number, Number], ...]
    slope: Number = math.nan
    stem_gain: Number = math.nan
    stem_ratio: Number = math.nan
    status: Literal["ok", "failed"] = "ok"
    error: str = ""


class Variant(Part):
    """Mean over the seeds of one stem and pooling; intervals are Student's t over the seeds."""

    stem: int
    pool: str
    seeds: int
    accuracies: tuple[tuple[Number, Value], ...]
    slope: Value
    stem_gain: Value
    stem_ratio: Value = Value()


class Contrast(Part):
    """Difference of two choices, all else equal and paired by seed.

    Attributes:
        what: Such as `stem 7 against 3`, or `average against max`.
        outcome: slope, clean accuracy, or accuracy at a sigma, such as `accuracy at sigma 0.12`.
        difference: The mean over seeds of the difference, which is itself the mean over what else
            was varied; its interval is Student's t, and its count is seeds.
        p_value: Of the paired t-test, two-sided.
        p_holm: Corrected for the contrasts of this outcome (Holm 1979).
    """

    what: str
    outcome: str
    difference: Value
    p_value: Number = math.nan
    p_holm: Number = math.nan


class Causal(Explanation):
    """The experiment: which choice caused what.

    Attributes:
        model: The network, but for what was varied.
        data: What it was trained and measured on, in words.
        epochs: Of each training.
        images: Test images.
        train_images: Training images.
        trained: Every training.
        variants: Means over seeds.
        contrasts: Of the choices.
        verdict: What was caused, and how sure that is.
    """

    model: str
    data: str
    epochs: int = 0
    images: int = 0
    train_images: int = 0
    trained: tuple[Trained, ...] = ()
    variants: tuple[Variant, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    verdict: str = ""
