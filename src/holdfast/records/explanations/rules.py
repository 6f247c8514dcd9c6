"""Which design attributes go with robustness, and what that says of published rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value

Outcome = Literal["slope", "rank_diff", "drop", "accuracy", "ece_slope", "ece"]
# By what a value is multiplied to be told, and in which unit.
OUTCOME_UNITS: Mapping[Outcome, tuple[float, str]] = MappingProxyType({
    "slope": (100, "points a level"), "rank_diff": (1, "places"), "drop": (100, "points"),
    "accuracy": (100, "points"), "ece_slope": (100, "points a level"), "ece": (100, "points"),
})  # fmt: skip
Judgement = Literal["holds", "contradicted", "undecided", "no data"]


class Effect(Part):
    """What a design attribute changes in an outcome.

    Attributes:
        attribute: Column of the anatomy, such as `stem_kernel`.
        contrast: What is compared, in words: `per doubling`, `average against max`.
        outcome: What it changes; more is better for all but `drop`, `ece` and `ece_slope`.
        method: `pairs` that differ in it alone; `regression` with all other attributes held.
        effect: With its interval; `count` is pairs or models.
        p_value: Two-sided.
        p_holm: Corrected for all effects of the same method and outcome (Holm 1979).
        families: How many families the models belong to.
        note: What to know, such as the pairs themselves or a fit that fell back.
    """

    attribute: str
    contrast: str
    outcome: Outcome
    method: Literal["pairs", "regression"]
    effect: Value
    p_value: Number = math.nan
    p_holm: Number = math.nan
    families: int = 0
    note: str = ""


class Verdict(Part):
    """What the data say of one published rule, for one outcome."""

    rule: str
    outcome: Outcome
    judgement: Judgement
    evidence: str  # a sentence with numbers
    effects: tuple[Effect, ...] = ()


class HeldOut(Part):
    """Rules fitted on half of the families, asked to rank the models of the other half.

    Attributes:
        outcome: What was predicted.
        spearman: Mean over the splits; its interval is that of the middle 95 % of them.
        within: The same on the families that were fitted.
        splits: How many random halves.
        families: In all.
    """

    outcome: Outcome
    spearman: Value
    within: Value
    splits: int
    families: int


class ModelSlope(Part):
    """A point of the scatter: a model, its family and its outcomes."""

    model: str
    family: str = ""
    kind: str = ""  # convolutional | attention | hybrid | mlp | unknown
    clean: Number = math.nan
    slope: Number = math.nan
    r_squared: Number = math.nan
    rank_diff: Number = math.nan
    drop: Number = math.nan
    attributes: dict[str, str] = Field(default_factory=dict)


class Linearity(Part):
    """How straight accuracy against level is: quantiles of R^2 over the models."""

    metric: str
    count: int
    low: Number  # 5 %
    median: Number
    high: Number  # 95 %
    straight: Number  # share of the models above 0.9


class GroupTest(Part):
    """One-way analysis of variance of an outcome over the groups of an attribute.

    Attributes:
        attribute: Of the groups.
        outcome: What differs.
        groups: Names, highest mean first.
        means: Of the groups.
        counts: Models in each.
        letters: Groups that share one do not differ (Tukey's HSD).
        f_value: Of the analysis.
        p_value: Likewise.
    """

    attribute: str
    outcome: str
    groups: tuple[str, ...]
    means: tuple[Number, ...]
    counts: tuple[int, ...]
    letters: tuple[str, ...] = ()
    f_value: Number = math.nan
    p_value: Number = math.nan


class Rules(Explanation):
    """Design rules of one perturbation.

    Attributes:
        perturbation: Whose levels the slopes are over.
        levels: Those levels.
        models: How many have a slope or a drop.
        described: How many of them have attributes.
        effects: Of all attributes, methods and outcomes.
        verdicts: On the four rules of Kim et al. 2025.
        held_out: For each outcome.
        linearity: For accuracy, and for calibration error where it was measured.
        groups: Analyses of variance.
        points: The models.
    """

    perturbation: str
    levels: tuple[Number, ...] = ()
    models: int = 0
    described: int = 0
    effects: tuple[Effect, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    linearity: tuple[Linearity, ...] = ()
    groups: tuple[GroupTest, ...] = ()
    points: tuple[ModelSlope, ...] = ()
