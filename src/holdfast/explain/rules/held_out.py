"""Do the rules hold for families that did not make them?"""

from __future__ import annotations

import math

import numpy as np

from holdfast.core.mixing import name_word
from holdfast.explain.rules.attributes import Described
from holdfast.explain.rules.features import Feature, design_of, features_of
from holdfast.explain.rules.mixed import fit
from holdfast.explain.rules.regression import FEWEST, MODELS_A_COLUMN, families_of
from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.rank import spearman
from holdfast.records.explanations import HeldOut, Value
from holdfast.records.explanations.rules import Outcome

SPLITS = 20
_FEWEST_FAMILIES = 4
_MIDDLE = (0.025, 0.975)


def held_out(
    described: Described, outcome: Outcome, values: FloatArray, *, seed: int = 0
) -> HeldOut | None:
    """Fit rules on a random half of the families, and rank the models of the other half by them.

    Attributes alone predict: clean accuracy is not used. Spearman's correlation of predicted and
    measured outcome, over `SPLITS` random halves keyed by the seed; the interval is that of the
    middle 95 % of them and says how much the choice of families matters.

    Returns:
        None where there are too few models or families.
    """
    families = families_of(described)
    usable = np.isfinite(values) & (families != "")
    names = sorted(set(families[usable]))
    if len(names) < _FEWEST_FAMILIES or usable.sum() < 2 * FEWEST:
        return None
    features = features_of(described)
    words = (seed % 2**64, name_word(f"held out {outcome}"))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    outside, inside = [], []
    for _ in range(SPLITS):
        chosen = set(rng.permutation(names)[: len(names) // 2])
        half = np.array([family in chosen for family in families])
        found = _predict(features, values, families, (usable & half, usable & ~half))
        inside.append(found[0])
        outside.append(found[1])
    if not np.isfinite(outside).any():
        return None
    return HeldOut(
        outcome=outcome,
        spearman=_middle(outside),
        within=_middle(inside),
        splits=int(np.isfinite(outside).sum()),
        families=len(names),
    )


def _predict(
    features: list[Feature],
    values: FloatArray,
    families: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
) -> tuple[float, float]:
    """Correlations within the fitted half and in the other one."""
    fitted, other = halves
    count = int(fitted.sum())
    if count < FEWEST:
        return math.nan, math.nan
    design = design_of(features, fitted, most=max(1, count // MODELS_A_COLUMN - 1))
    if not design.features:
        return math.nan, math.nan
    columns = np.column_stack([one.values for one in design.features])
    rows = design.rows
    middle, spread = columns[rows].mean(0), columns[rows].std(0)
    # What is not known of a model is taken to be as usual.
    scaled = np.nan_to_num((columns - middle) / spread)
    found = fit(scaled[rows], values[rows], list(families[rows]))
    predicted = found.predict(scaled)
    return (
        spearman(predicted[rows], values[rows]).value,
        spearman(predicted[other], values[other]).value,
    )


def _middle(found: list[float]) -> Value:
    known = np.array([one for one in found if math.isfinite(one)])
    if not len(known):
        return Value()
    low, high = np.quantile(known, _MIDDLE)
    return Value(value=float(known.mean()), low=float(low), high=float(high), count=len(known))
