"""What design might change: slopes, rank differences, drops, calibration errors of each model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.explain.observations import CLEAN, Observations
from holdfast.explain.ranking import rank
from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.slope import robustness_slope
from holdfast.records.explanations import Linearity, RankedModel
from holdfast.records.explanations.rules import Outcome

# Whether more of an outcome is better.
BETTER_HIGH: Mapping[Outcome, bool] = {
    "slope": True, "rank_diff": True, "drop": False, "accuracy": True,
    "ece_slope": False, "ece": False,
}  # fmt: skip
CALIBRATION: tuple[Outcome, ...] = ("ece_slope", "ece")
ALL = "all"
DEFAULT = "gaussian_noise"
_ECE = ("ece", "debiased_ece", "rms_calibration_error", "adaptive_rms_calibration_error")
_STRAIGHT = 0.9  # R^2 from which on a curve counts as straight
_FEWEST_LEVELS = 3  # through two points every line is straight


@dataclass(frozen=True)
class Outcomes:
    """What was measured of N models.

    Attributes:
        perturbation: Its name.
        levels: Over which the slopes go, without clean.
        models: Names.
        clean: Clean accuracies [N].
        values: Outcome -> [N], NaN where it is not known; those alone of which some are.
        fits: R^2 of the lines of accuracy, [N].
        linearity: For accuracy, and for calibration error.
        flags: What to doubt.
    """

    perturbation: str
    levels: tuple[float, ...]
    models: tuple[str, ...]
    clean: FloatArray
    values: Mapping[Outcome, FloatArray]
    fits: FloatArray
    linearity: tuple[Linearity, ...]
    flags: tuple[str, ...]


def chosen_perturbation(observations: Observations, asked: str | None) -> str:
    """The perturbation that is asked for; by default gaussian_noise, or the only one there is.

    Raises:
        BadValueError: None is asked for and there are several; or there is none.
        UnknownNameError: No such perturbation; the message says which there are.
    """
    rows = observations.rows.filter(pl.col("metric") == "accuracy")
    names = sorted(set(rows["perturbation"]) - {CLEAN})
    if not names:
        raise BadValueError(
            f"{observations.source} has no accuracy under any perturbation; rules need one beside "
            "clean images"
        )
    wanted = asked or (names[0] if len(names) == 1 else DEFAULT)
    if wanted == ALL or wanted in names:
        return wanted
    if asked is None:
        raise BadValueError(
            f"{observations.source} has no {DEFAULT}; say --perturbation with one of "
            f"{', '.join(names)}, or {ALL}"
        )
    error = unknown_name("perturbation of this table", wanted, names)
    listed = "" if f"known: {names[0]}" in str(error) else f"; there are {', '.join(names)}"
    raise type(error)(f"{error}{listed}")


def outcomes_of(observations: Observations, perturbation: str) -> Outcomes:
    """Outcomes of each model under a perturbation, or under `all`.

    Slopes are least squares over the levels, clean being level 0 (`holdfast.metrics.slope`); a rank
    difference is the place on clean images minus that under the mean of the conditions; a drop is
    clean accuracy minus that mean. Of a calibration error, `ece` is its mean over the
    conditions and `ece_slope` its slope; more is worse.

    Raises:
        BadValueError: No model with a value.
    """
    ranks = rank(observations, None if perturbation == ALL else perturbation)
    listed = sorted(ranks.models, key=lambda one: one.model)
    models = tuple(one.model for one in listed)
    clean = _column([one.clean for one in listed])
    perturbed = _column([one.perturbed for one in listed])
    fits = _column([one.r_squared for one in listed])
    values: dict[Outcome, FloatArray] = {
        "slope": _column([one.slope.value for one in listed]),
        "rank_diff": _column([one.rank_diff for one in listed]),
        "drop": clean - perturbed,
        "accuracy": perturbed,
    }
    found = Outcomes(
        perturbation=ranks.perturbation,
        levels=_levels(listed),
        models=models,
        clean=clean,
        values=values,
        fits=fits,
        linearity=tuple(_linearity("accuracy", fits)),
        flags=(*ranks.flags, *_missing_levels(listed)),
    )
    found = _with_calibration(found, observations, perturbation)
    known = {name: column for name, column in found.values.items() if np.isfinite(column).any()}
    return replace(found, values=known)


def _with_calibration(found: Outcomes, observations: Observations, perturbation: str) -> Outcomes:
    metrics = set(observations.rows["metric"])
    metric = next((name for name in _ECE if name in metrics), None)
    if metric is None or perturbation == ALL:
        return found
    rows = observations.rows.filter(
        (pl.col("metric") == metric) & pl.col("perturbation").is_in([CLEAN, perturbation])
    )
    curves: dict[str, dict[float, float]] = {}
    for model, name, level, value in rows.select(
        "model", "perturbation", "level", "value"
    ).iter_rows():
        if value is not None and math.isfinite(value):
            where = 0.0 if name == CLEAN else (math.nan if level is None else level)
            curves.setdefault(model, {})[where] = value
    full = max((len(curve) for curve in curves.values()), default=0)
    means, slopes, fits = [], [], []
    for model in found.models:
        curve = curves.get(model, {})
        under = [value for level, value in curve.items() if level != 0]
        # Means over other conditions would not be comparable.
        whole = len(curve) == full and under
        means.append(float(np.mean(under)) if whole else math.nan)
        known = {level: value for level, value in curve.items() if math.isfinite(level)}
        line = robustness_slope(list(known), list(known.values())) if len(known) > 1 else None
        slopes.append(math.nan if line is None else line.value)
        straight = line is not None and line.count >= _FEWEST_LEVELS
        fits.append(line.r_squared if line is not None and straight else math.nan)
    values = {**found.values, "ece": _column(means), "ece_slope": _column(slopes)}
    flags = found.flags
    if metric != "ece":
        flags = (*flags, f"calibration error is {metric}, for the table has no ece")
    return replace(
        found,
        values=values,
        linearity=(*found.linearity, *_linearity(metric, _column(fits))),
        flags=flags,
    )


def _column(values: Sequence[float | None]) -> FloatArray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _levels(listed: Sequence[RankedModel]) -> tuple[float, ...]:
    return tuple(sorted({float(level) for one in listed for level in one.levels} - {0.0}))


def _missing_levels(listed: Sequence[RankedModel]) -> list[str]:
    """Models whose slope goes over fewer levels than others'."""
    flags = []
    most = max((one.slope.count for one in listed), default=0)
    short = [one.model for one in listed if 0 < one.slope.count < most]
    if short:
        flags.append(
            f"{len(short)} slopes are over fewer than {most} levels, such as that of {short[0]}"
        )
    return flags


def _linearity(metric: str, fits: FloatArray) -> list[Linearity]:
    known = fits[np.isfinite(fits)]
    if not len(known):
        return []
    low, median, high = np.quantile(known, [0.05, 0.5, 0.95])
    return [
        Linearity(
            metric=metric,
            count=len(known),
            low=float(low),
            median=float(median),
            high=float(high),
            straight=float((known > _STRAIGHT).mean()),
        )
    ]
