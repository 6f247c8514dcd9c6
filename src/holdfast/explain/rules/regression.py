"""Partial effects: what an attribute changes with all others held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.explain.rules.attributes import Described
from holdfast.explain.rules.features import Design, Feature, design_of, features_of
from holdfast.explain.rules.mixed import SAME_VALUES, Fit, fit
from holdfast.explain.statistics import holm
from holdfast.metrics.intervals import FloatArray
from holdfast.records.explanations import Effect, Value
from holdfast.records.explanations.rules import Outcome

FEWEST = 10  # models below which nothing is regressed
MODELS_A_COLUMN = 5  # fewer models a column than this, and columns are left out
_SHOWN = 6
_METHODS = {
    "mixed": "family as a random effect",
    "clustered": "least squares with errors clustered by family",
    "plain": "ordinary least squares",
}


@dataclass(frozen=True)
class Regression:
    """The effects of one outcome, and what to know of the fit, one sentence each."""

    effects: tuple[Effect, ...]
    flags: tuple[str, ...]


def regress(
    described: Described, outcome: Outcome, values: FloatArray, clean: FloatArray
) -> Regression:
    """Regress an outcome on all usable attributes, family being a random effect.

    Numbers such as kernels, sizes and parameters enter as logarithms, so that an effect is that of
    a doubling; kinds enter as yes or no. Clean accuracy is held too, except where the outcome is
    the accuracy under perturbation. P-values are corrected over all effects (Holm 1979).

    Args:
        described: The models.
        outcome: What is explained.
        values: Of the outcome, [N].
        clean: Clean accuracies [N].
    """
    held = None if outcome == "accuracy" or not np.isfinite(clean).any() else clean
    families = families_of(described)
    usable = np.isfinite(values) & (families != "")
    count = int(usable.sum())
    if count < FEWEST:
        told = (
            f"{outcome}: {count} models have it and attributes; a regression needs {FEWEST}, so "
            "there is none"
        )
        return Regression((), (told,))
    design = design_of(
        features_of(described, held), usable, most=max(1, count // MODELS_A_COLUMN - 1)
    )
    rows = design.rows
    if not design.features:
        return Regression((), (f"{outcome}: no attribute differs between enough models",))
    columns, spreads = _columns(design.features, rows)
    found = fit(columns, values[rows], list(families[rows]))
    if found.why == SAME_VALUES:
        return Regression((), (f"{outcome}: {SAME_VALUES}, so there is no regression",))
    effects = _effects(outcome, design, found, spreads, families[rows])
    return Regression(tuple(effects), tuple(_flags(outcome, design, found, count)))


def families_of(described: Described) -> np.ndarray:
    """Family of each model, [N]; empty where the model is not known.

    A model whose attributes a file gives without a family is its own.
    """
    table = described.table
    return np.array(
        [
            "" if resolved is None or failed is not None else family or model
            for model, family, resolved, failed in table.select(
                "model", "family", "resolved", "failed"
            ).iter_rows()
        ],
        dtype=object,
    )


def _columns(features: Sequence[Feature], rows: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Standardized columns [M, P], that no unit may decide how well they are solved; spreads."""
    columns = np.column_stack([one.values[rows] for one in features])
    spreads = columns.std(0)
    return (columns - columns.mean(0)) / spreads, spreads


def _effects(
    outcome: Outcome, design: Design, found: Fit, spreads: FloatArray, families: np.ndarray
) -> list[Effect]:
    count, several = int(design.rows.sum()), len(set(families))
    corrected = holm([found.p_value(place + 1) for place in range(len(design.features))])
    effects = []
    for place, (one, spread) in enumerate(zip(design.features, spreads, strict=True)):
        low, high = found.interval(place + 1)
        effects.append(
            Effect(
                attribute=one.attribute,
                contrast=one.contrast,
                outcome=outcome,
                method="regression",
                effect=Value(
                    value=float(found.coefficients[place + 1] / spread),
                    low=low / float(spread),
                    high=high / float(spread),
                    count=count,
                ),
                p_value=found.p_value(place + 1),
                p_holm=float(corrected[place]),
                families=several,
                note=_METHODS[found.method] + (f": {found.why}" if found.why else ""),
            )
        )
    return effects


def _flags(outcome: Outcome, design: Design, found: Fit, count: int) -> list[str]:
    flags = []
    if found.method != "mixed":
        flags.append(
            f"{outcome}: {_METHODS[found.method]} instead of a random effect of family, for "
            f"{found.why}"
        )
    used = int(design.rows.sum())
    if used < count:
        flags.append(f"{outcome}: {used} of {count} models have all attributes and are regressed")
    reasons: dict[str, list[str]] = {}
    for name, why in design.dropped.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        flags.append(f"{outcome}: left out, {why}: {', '.join(names[:_SHOWN])}{more}")
    return flags


def merged(flags: Mapping[Outcome, Sequence[str]]) -> list[str]:
    """Flags of several outcomes; what is said of all is said once."""
    said: dict[str, list[str]] = {}
    for outcome, some in flags.items():
        for flag in some:
            said.setdefault(flag.removeprefix(f"{outcome}: "), []).append(outcome)
    return [f"regression of {', '.join(outcomes)}: {flag}" for flag, outcomes in said.items()]
