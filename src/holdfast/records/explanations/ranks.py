"""How models rank under a perturbation against how they rank on clean images."""

from __future__ import annotations

import math

from pydantic import Field

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value


class RankedModel(Part):
    """One model; accuracies are fractions, ranks count from 1, the best.

    Attributes:
        model: Its name.
        clean: Accuracy on clean images.
        perturbed: Mean accuracy over the conditions.
        clean_rank: Place by `clean`, among the models that have both; with tables of timm, among
            all of the table.
        perturbed_rank: Place by `perturbed`, likewise.
        rank_diff: clean_rank - perturbed_rank: positive moved up.
        slope: Of accuracy against level, clean being level 0, with its interval over the levels.
        r_squared: Of that line.
        effective: Accuracy under perturbation above what its clean accuracy predicts.
        borda: Sum over conditions of its rank from below, ties at their least place.
        fair_borda: The same with mid-ranks, and the least places where it answers a constant.
        score_sum: Sum of its accuracies over the conditions.
        geometric: Geometric mean of them.
        constant: Whether it looks like one that gives one answer to everything.
        published: Rank difference that the table itself states; None where it states none.
        levels: Accuracy at each level, 0 is clean; the mean over perturbations where several
            have the same levels. Empty without levels.
    """

    model: str
    clean: Number = math.nan
    perturbed: Number = math.nan
    clean_rank: int | None = None
    perturbed_rank: int | None = None
    rank_diff: int | None = None
    slope: Value = Value()
    r_squared: Number = math.nan
    effective: Number = math.nan
    borda: Number = math.nan
    fair_borda: Number = math.nan
    score_sum: Number = math.nan
    geometric: Number = math.nan
    constant: bool = False
    published: int | None = None
    levels: dict[str, Number] = Field(default_factory=dict)


class Agreement(Part):
    """How two orders of the models agree."""

    first: str
    second: str
    spearman: Value
    kendall: Value


class AccuracyLine(Part):
    """Line on the logit scale: logit(perturbed) = intercept + slope * logit(clean)."""

    slope: Number = math.nan
    intercept: Number = math.nan
    count: int = 0
    r_squared: Number = math.nan


class Ranks(Explanation):
    """A ranking; `perturbation` is the one whose levels give the slopes.

    Attributes:
        perturbation: Name of the perturbation, or of the set of conditions.
        conditions: What was averaged, such as `gaussian_noise 0.1`.
        metric: What is ranked, higher is better.
        models: By place under perturbation, the best first.
        agreements: Between clean, perturbed, slope, Borda and others.
        line: Behind the effective robustness.
    """

    perturbation: str
    conditions: tuple[str, ...] = ()
    metric: str = "accuracy"
    models: tuple[RankedModel, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    line: AccuracyLine = AccuracyLine()
