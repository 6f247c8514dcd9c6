"""How models rank under a perturbation against how they rank on clean images.

RankDiff and the robustness slope are those of Kim et al. 2025, arXiv:2509.20939; effective
robustness is that of Taori et al. 2020; Borda counts are those of Heuillet et al. 2025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holdfast.core.wording import shortlist
from holdfast.explain._accuracies import Accuracies, accuracies_of
from holdfast.explain.observations import Observations
from holdfast.explain.statistics import (
    borda,
    constant_answers,
    effective_robustness,
    fair_borda,
    geometric_mean,
    rank_places,
    score_sum,
)
from holdfast.explain.timm_observations import observations_of_timm
from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.rank import kendall, spearman
from holdfast.metrics.slope import Slope, robustness_slope
from holdfast.records.explanations import AccuracyLine, Agreement, RankedModel, Ranks, Value
from holdfast.records.timm_tables import read_timm_results

FEW = 5  # models below which an order says little
NEAR = 4  # places that count as near a published rank difference
_NO_SLOPE = Slope(math.nan, math.nan, math.nan, 0, math.nan, math.nan)
# Which orders are compared, by columns of `_scores`.
_PAIRS = (
    ("clean", "perturbed"),
    ("clean", "effective robustness"),
    ("rank difference", "effective robustness"),
    ("rank difference", "slope"),
    ("perturbed", "slope"),
    ("perturbed", "Borda"),
    ("Borda", "fair Borda"),
)


def rank(
    observations: Observations,
    perturbation: str | None = None,
    *,
    metric: str = "accuracy",
    whole_tables: bool = False,
) -> Ranks:
    """Rank models by their mean accuracy over the conditions of a perturbation, or over all.

    A model that lacks the clean accuracy or a condition gets no place and no rank difference, for
    means over other conditions are not comparable; its slope is over what it has. Conditions
    that less than half of the models have are left out. Both are flagged, as are fewer than five
    models, a condition that all models pass alike, and models that look like a constant answer.

    Args:
        observations: Of any source.
        perturbation: One of its names; None takes all that there are.
        metric: A fraction of which more is better, such as `accuracy`. Ties in `accuracy` are
            broken by `top5_accuracy` where it is known, then by name.
        whole_tables: Count places among all models that have the accuracy in question, as timm's
            tables do, and not among those alone that have both.

    Raises:
        BadValueError: No perturbation in the table, or no model with a value.
        UnknownNameError: No such perturbation, or no such metric.
    """
    table = accuracies_of(observations, perturbation, metric)
    effective = effective_robustness(table.clean, table.perturbed, table.counts)
    models = _models(table, effective.above, whole_tables=whole_tables)
    return Ranks(
        source=observations.source,
        flags=(*observations.flags, *table.flags, *_flags(table, models, effective.line)),
        perturbation=table.name,
        conditions=table.conditions,
        metric=metric,
        models=tuple(models),
        agreements=tuple(_agreements(models, len(table.conditions))),
        line=effective.line,
    )


def _models(table: Accuracies, above: FloatArray, *, whole_tables: bool) -> list[RankedModel]:
    """The models by place, those without one last."""
    before, after = _places(table, whole_tables=whole_tables)
    constant = constant_answers(np.column_stack([table.clean, table.values]))
    counts, fair, total, geometric = _counts(table, constant)
    models = []
    for place, name in enumerate(table.models):
        slope = _slope(table, place)
        models.append(
            RankedModel(
                model=name,
                clean=table.clean[place],
                perturbed=table.perturbed[place],
                clean_rank=before[place],
                perturbed_rank=after[place],
                rank_diff=_difference(before[place], after[place]),
                slope=_value(slope),
                r_squared=slope.r_squared,
                effective=float(above[place]),
                borda=counts[place],
                fair_borda=fair[place],
                score_sum=total[place],
                geometric=geometric[place],
                constant=bool(constant[place]),
                levels=_levels(table, place),
            )
        )
    return sorted(models, key=_order)


def rank_timm(base: str | Path, variant: str | Path) -> Ranks:
    """Rank the models of a variant's table of timm against those of a clean one.

    Places are those in the two full tables, and `published` is the column `rank_diff` of the
    variant's table where it has one.

    Raises:
        MissingError: A file is not there.
        BadValueError: A file with other columns or bad values.
        StoreError: A file cannot be read.
    """
    found = rank(observations_of_timm(base, [variant], sizes=True), whole_tables=True)
    table = read_timm_results(variant)
    keys = (f"{model}-{size}" for model, size in table.select("model", "img_size").iter_rows())
    stated = dict(zip(keys, table["rank_diff"], strict=True))
    models = tuple(
        one.model_copy(update={"published": stated.get(one.model)}) for one in found.models
    )
    return found.model_copy(update={"models": models})


def published_matches(found: Ranks, near: int = NEAR) -> tuple[int, int, int]:
    """Models whose rank difference equals the published one, lies within `near`, is published."""
    gaps = [
        abs(one.rank_diff - one.published)
        for one in found.models
        if one.rank_diff is not None and one.published is not None
    ]
    stated = sum(one.published is not None for one in found.models)
    return sum(gap == 0 for gap in gaps), sum(gap <= near for gap in gaps), stated


def _places(table: Accuracies, *, whole_tables: bool) -> tuple[list[int | None], list[int | None]]:
    has_clean, has_perturbed = np.isfinite(table.clean), np.isfinite(table.perturbed)
    both = has_clean & has_perturbed
    clean_of, perturbed_of = (has_clean, has_perturbed) if whole_tables else (both, both)
    if not has_clean.any():
        perturbed_of = has_perturbed
    return (
        _places_among(table.clean, table.clean_top5, table.models, clean_of),
        _places_among(table.perturbed, table.perturbed_top5, table.models, perturbed_of),
    )


def _places_among(
    top1: FloatArray, top5: FloatArray, names: Sequence[str], among: NDArray[np.bool_]
) -> list[int | None]:
    chosen = np.flatnonzero(among)
    found = rank_places(top1[chosen], [names[int(one)] for one in chosen], top5[chosen])
    places: list[int | None] = [None] * len(names)
    for one, place in zip(chosen, found, strict=True):
        places[one] = int(place)
    return places


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else before - after


def _counts(
    table: Accuracies, constant: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Borda, fair Borda, sum and geometric mean over the conditions, among the complete models."""
    complete = np.isfinite(table.values).all(1)
    rows = table.values[complete]
    found = []
    for scores in (
        borda(rows),
        fair_borda(rows, constant[complete]),
        score_sum(rows),
        geometric_mean(rows),
    ):
        column = np.full(len(table.models), math.nan)
        column[complete] = scores
        found.append(column)
    return found[0], found[1], found[2], found[3]


def _levels(table: Accuracies, place: int) -> dict[str, float]:
    return {f"{level:g}": float(row[place]) for level, row in table.curve.items()}


def _slope(table: Accuracies, place: int) -> Slope:
    if len(table.curve) < 2:
        return _NO_SLOPE
    found = robustness_slope(list(table.curve), [row[place] for row in table.curve.values()])
    # Through two points any line is straight.
    return replace(found, r_squared=math.nan) if found.count < 3 else found


def _value(slope: Slope) -> Value:
    return Value(value=slope.value, low=slope.low, high=slope.high, count=slope.count)


def _order(one: RankedModel) -> tuple[float, str]:
    return (math.inf if one.perturbed_rank is None else one.perturbed_rank, one.model)


def _agreements(models: Sequence[RankedModel], conditions: int) -> list[Agreement]:
    def column(values: Sequence[float | None]) -> FloatArray:
        return np.array([math.nan if value is None else value for value in values])

    scores = {
        "clean": column([one.clean for one in models]),
        "perturbed": column([one.perturbed for one in models]),
        "rank difference": column([one.rank_diff for one in models]),
        "slope": column([one.slope.value for one in models]),
        "effective robustness": column([one.effective for one in models]),
        "Borda": column([one.borda for one in models]),
        "fair Borda": column([one.fair_borda for one in models]),
    }
    found = []
    for first, second in _PAIRS:
        if conditions == 1 and "Borda" in second:
            continue  # Borda over one condition is the order itself
        rho, tau = (how(scores[first], scores[second]) for how in (spearman, kendall))
        if rho.count > 1 and math.isfinite(rho.value):
            values = [
                Value(value=one.value, low=one.low, high=one.high, count=one.count)
                for one in (rho, tau)
            ]
            found.append(
                Agreement(first=first, second=second, spearman=values[0], kendall=values[1])
            )
    return found


def _lacking_severities(table: Accuracies) -> list[str]:
    """A flag where levels are severities, and some of the five are not there."""
    levels = sorted(set(table.curve) - {0.0})
    whole = all(level == round(level) and 1 <= level <= 5 for level in levels)
    lacking = [level for level in range(1, 6) if float(level) not in levels]
    if not (levels and whole and lacking):
        return []
    told = ", ".join(map(str, lacking))
    return [f"of the five severities the table lacks {told}: slopes are over the others"]


def _flags(table: Accuracies, models: Sequence[RankedModel], line: AccuracyLine) -> list[str]:
    placed = sum(one.perturbed_rank is not None for one in models)
    flags = []
    if placed < FEW:
        flags.append(
            f"only {placed} of {len(models)} models can be ranked: an order of so few says little"
        )
    flags += _lacking_severities(table)
    if math.isnan(line.slope):
        flags.append(
            "no accuracy line: it needs three models with different clean accuracies, so there is "
            "no effective robustness"
        )
    constant = [one.model for one in models if one.constant]
    if constant:
        flags.append(
            f"{shortlist(constant)} looks like a constant answer: near chance whatever is done to "
            "the images; Borda favours it, fair Borda puts it last"
        )
    for place, name in enumerate(table.conditions):
        known = table.values[:, place][np.isfinite(table.values[:, place])]
        if len(known) > 1 and np.ptp(known) == 0:
            flags.append(f"all models have the same accuracy under {name}: it ranks nothing")
    return flags
