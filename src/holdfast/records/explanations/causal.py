"""One small network trained with other stems and poolings, and what noise does to each."""

from __future__ import annotations

import math

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value


class Trained(Part):
    """One training; `accuracies` are by sigma, 0 is clean."""

    stem: int
    pool: str
    seed: int
    accuracies: tuple[tuple[Number, Number], ...]
    slope: Number = math.nan
    stem_gain: Number = math.nan  # mean noise gain of the trained stem


class Variant(Part):
    """Mean over the seeds of one stem and pooling; intervals are over the seeds."""

    stem: int
    pool: str
    seeds: int
    accuracies: tuple[tuple[Number, Value], ...]
    slope: Value
    stem_gain: Value


class Contrast(Part):
    """Difference of two choices, all else equal and paired by seed."""

    what: str  # such as `stem 7 against 3`
    outcome: str  # slope, clean accuracy, accuracy at the middle sigma
    difference: Value
    p_value: Number = math.nan


class Causal(Explanation):
    """The experiment: which choice caused what."""

    model: str
    data: str
    epochs: int = 0
    images: int = 0
    trained: tuple[Trained, ...] = ()
    variants: tuple[Variant, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    verdict: str = ""
