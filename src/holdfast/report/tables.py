"""Summary tables of a store: one row a model, one row a condition, one row a derived number.

Everything works on whatever part was measured. What was not measured is null (an empty cell of a
CSV file), what had no data NaN; neither is ever zero. A measured number keeps its interval and
count. Averages over conditions have averaged bounds (see `subjects.average`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.metrics.corruption_error import (
    BASELINES,
    Baseline,
    given_baseline,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from holdfast.metrics.intervals import Estimate
from holdfast.metrics.slope import Slope, noise_curve_area, robustness_slope
from holdfast.report.conditions import CLEAN, STANDARD, STANDARD_COUNT
from holdfast.report.subjects import KEY, Subject, average, read_subjects

SUMMARY_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "data": pl.String,
    "split": pl.String,
    "view": pl.String,
    "seed": pl.Int64,
    "weights_digest": pl.String,
    "data_digest": pl.String,
    "clean_accuracy": pl.Float64,
    "clean_accuracy_low": pl.Float64,
    "clean_accuracy_high": pl.Float64,
    "clean_count": pl.Int64,
    "ece": pl.Float64,
    "ece_low": pl.Float64,
    "ece_high": pl.Float64,
    "rms_calibration_error": pl.Float64,
    "rms_calibration_error_low": pl.Float64,
    "rms_calibration_error_high": pl.Float64,
    "mean_corruption_accuracy": pl.Float64,
    "mean_corruption_accuracy_low": pl.Float64,
    "mean_corruption_accuracy_high": pl.Float64,
    "corruption_conditions": pl.Int64,  # of the 75 that a full grid has
    "mce": pl.Float64,  # normalized by `baseline`; null without one or without the full grid
    "relative_mce": pl.Float64,  # of the error added to clean; null likewise, or without clean
    "baseline": pl.String,
    "noise_slope": pl.Float64,  # accuracy a unit of sigma
    "noise_slope_low": pl.Float64,
    "noise_slope_high": pl.Float64,
    "noise_r_squared": pl.Float64,
    "noise_curve_area": pl.Float64,
    "noise_levels": pl.Int64,  # sigmas above 0
    "largest_sigma": pl.Float64,
    "failed_runs": pl.Int64,
    "broken": pl.Int64,
    "flags": pl.List(pl.String),
}

CONDITION_COLUMNS: dict[str, Any] = {
    **{name: SUMMARY_COLUMNS[name] for name in KEY},
    "condition": pl.String,
    "title": pl.String,  # in words, such as `AutoAttack Linf 8/255`
    "family": pl.String,
    "norm": pl.String,
    "eps": pl.Float64,
    "corruption": pl.String,
    "severity": pl.Int64,
    "sigma": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "count": pl.Int64,
}


def summary(measurements: pl.DataFrame, *, baseline: str | None = None) -> pl.DataFrame:
    """One row a model, its weights, data, split, view and seed, with `SUMMARY_COLUMNS`.

    Args:
        measurements: Rows as a store gives them.
        baseline: Whose errors the mean corruption error (mCE) is divided by: "alexnet", whose
            published errors are for ImageNet, or a model of the store. None: no mCE.

    Raises:
        UnknownNameError: `baseline` is neither a published one nor a model of the store.
        BadValueError: The baseline lacks some of the 75 conditions, or makes no error under one.
    """
    subjects = read_subjects(measurements)
    check_baseline(subjects, baseline)
    rows = [summary_row(subject, subjects, baseline) for subject in subjects]
    return pl.DataFrame(rows, schema=SUMMARY_COLUMNS)


def condition_table(measurements: pl.DataFrame, *, metric: str = "accuracy") -> pl.DataFrame:
    """One row a model and condition with `CONDITION_COLUMNS`, in the order of `Condition`."""
    rows = [
        {
            **_key(subject),
            "condition": condition.spec,
            "title": condition.title,
            "family": condition.family,
            "norm": condition.norm,
            "eps": condition.eps,
            "corruption": condition.name if condition.severity is not None else None,
            "severity": condition.severity,
            "sigma": condition.sigma,
            "metric": metric,
            **_parts(found),
        }
        for subject in read_subjects(measurements)
        for condition in sorted(subject.conditions.values(), key=lambda c: c.order)
        if (found := subject.estimate(condition.spec, metric)) is not None
    ]
    return pl.DataFrame(rows, schema=CONDITION_COLUMNS)


def derived(measurements: pl.DataFrame, *, baseline: str | None = None) -> list[dict[str, Any]]:
    """List numbers computed over several conditions as rows like measurements.

    `condition` is "corruptions" (mean_corruption_accuracy, mce, relative_mce) or
    "noise-sweep" (robustness_slope, robustness_slope_r_squared, noise_curve_area). Rows that
    cannot be computed are absent. `count` is the smallest number of images behind a row;
    `conditions` says how many conditions. Bounds without an interval are None.
    """
    subjects = read_subjects(measurements)
    check_baseline(subjects, baseline)
    rows = []
    for subject in subjects:
        for condition, metric, found, conditions in _derived(subject, subjects, baseline):
            parts = {key: _known(part) for key, part in _parts(found).items()}
            rows.append(
                {**_key(subject), "condition": condition, "metric": metric, **parts}
                | {"conditions": conditions, "status": "ok"}
            )
    return rows


def summary_row(
    subject: Subject, subjects: Sequence[Subject], baseline: str | None
) -> dict[str, Any]:
    """Row of `summary` for one subject."""
    corrupted = subject.standard()
    mean = average(corrupted.values())
    curve, slope = subject.noise_curve(), noise_slope(subject)
    area = noise_area(subject)
    mce = normalized_error(subject, subjects, baseline)
    added = relative_error(subject, subjects, baseline)
    clean = subject.estimate(CLEAN, "accuracy")
    return {
        **_key(subject),
        **_spread("clean_accuracy", clean),
        "clean_count": None if clean is None else clean.count,
        **_spread("ece", subject.estimate(CLEAN, "ece")),
        **_spread("rms_calibration_error", subject.estimate(CLEAN, "rms_calibration_error")),
        **_spread("mean_corruption_accuracy", mean),
        "corruption_conditions": len(corrupted),
        "mce": None if mce is None else mce.value,
        "relative_mce": None if added is None else added.value,
        "baseline": baseline,
        "noise_slope": None if slope is None else slope.value,
        "noise_slope_low": None if slope is None else slope.low,
        "noise_slope_high": None if slope is None else slope.high,
        "noise_r_squared": None if slope is None else slope.r_squared,
        "noise_curve_area": None if area is None else area.value,
        "noise_levels": len(subject.noise()),
        "largest_sigma": max(curve, default=None),
        "failed_runs": subject.failed,
        "broken": subject.broken,
        "flags": list(subject.flags),
    }


def noise_slope(subject: Subject) -> Slope | None:
    """Least-squares slope of accuracy against sigma, clean being sigma 0; None below two levels."""
    curve = subject.noise_curve()
    if len(curve) < 2:
        return None
    return robustness_slope(list(curve), [found.value for found in curve.values()])


def noise_area(subject: Subject) -> Estimate | None:
    """Mean height of the noise curve from sigma 0; None without clean or without noise."""
    curve = subject.noise_curve()
    if len(curve) < 2 or 0.0 not in curve:
        return None
    area = noise_curve_area(list(curve), [found.value for found in curve.values()])
    # Trapezoids are linear in the accuracies with positive weights: bounds go through as they do
    # through an average.
    low, high = ([getattr(e, side) for e in curve.values()] for side in ("low", "high"))
    if not all(map(math.isfinite, [*low, *high])):
        return area
    return Estimate(
        area.value,
        noise_curve_area(list(curve), low).value,
        noise_curve_area(list(curve), high).value,
        min(found.count for found in curve.values()),
    )


def normalized_error(
    subject: Subject, subjects: Sequence[Subject], baseline: str | None
) -> Estimate | None:
    """Mean corruption error over that of the baseline; None unless both have the full grid.

    Bounds are those of averages (see `subjects.average`) against published errors, and NaN
    against a model of the store, whose own sampling error they would leave out.

    Raises:
        BadValueError: The baseline makes no error under one of the corruptions.
    """
    if baseline is None or len(subject.standard()) < STANDARD_COUNT:
        return None
    images = min(found.count for found in subject.standard().values())
    if baseline in BASELINES:
        value, low, high = (
            mean_corruption_error(_errors(subject, side), BASELINES[baseline]).value
            for side in ("value", "high", "low")
        )
        return Estimate(value, low, high, images)
    judge = _baseline_of(subject, subjects, baseline)
    if judge is None or len(judge.standard()) < STANDARD_COUNT:
        return None
    value = mean_corruption_error(_errors(subject, "value"), _errors(judge, "value")).value
    return Estimate.point(value, images)


def relative_error(
    subject: Subject, subjects: Sequence[Subject], baseline: str | None
) -> Estimate | None:
    """Error that corruption adds to clean over what it adds to the baseline; no bounds.

    None unless subject and baseline have the full grid and clean.
    """
    clean = subject.estimate(CLEAN, "accuracy")
    if baseline is None or clean is None or len(subject.standard()) < STANDARD_COUNT:
        return None
    against: Baseline
    if baseline in BASELINES:
        against = BASELINES[baseline]
    else:
        judge = _baseline_of(subject, subjects, baseline)
        judged = None if judge is None else judge.estimate(CLEAN, "accuracy")
        if judge is None or judged is None or len(judge.standard()) < STANDARD_COUNT:
            return None
        against = given_baseline(_errors(judge, "value"), clean=1 - judged.value, name=baseline)
    errors = _errors(subject, "value")
    value = relative_mean_corruption_error(errors, 1 - clean.value, against).value
    return Estimate.point(value, clean.count)


def check_baseline(subjects: Sequence[Subject], baseline: str | None) -> None:
    """Refuse a baseline that nobody knows or that cannot serve anywhere.

    Raises:
        UnknownNameError: It is neither a published baseline nor a model of the store.
        BadValueError: No subject of that model has all 75 conditions.
    """
    if baseline is None or baseline in BASELINES:
        return
    judges = [subject for subject in subjects if subject.model == baseline]
    if not judges:
        raise unknown_name("baseline", baseline, {*BASELINES, *(s.model for s in subjects)})
    most = max(len(judge.standard()) for judge in judges)
    if most < STANDARD_COUNT:
        raise BadValueError(
            f"the baseline {baseline} has {most} of the {STANDARD_COUNT} conditions of a mean "
            "corruption error; measure it on `corruptions`, or name another baseline"
        )


def _baseline_of(subject: Subject, subjects: Sequence[Subject], baseline: str) -> Subject | None:
    same = [
        other
        for other in subjects
        if other.model == baseline and _images(other) == _images(subject)
    ]
    alike = [other for other in same if other.seed == subject.seed]
    return next(iter(alike or same), None)


def _images(subject: Subject) -> tuple[str, ...]:
    return subject.data, subject.data_digest, subject.split, subject.view


def _errors(subject: Subject, side: str) -> Mapping[str, Sequence[float]]:
    """Errors by corruption over severities; `side` low of the accuracies is high of these."""
    return {
        name: [1 - getattr(found, side) for found in subject.corruption(name).values()]
        for name in STANDARD
    }


def _derived(
    subject: Subject, subjects: Sequence[Subject], baseline: str | None
) -> list[tuple[str, str, Estimate, int]]:
    corrupted = subject.standard()
    mean = average(corrupted.values())
    mce = normalized_error(subject, subjects, baseline)
    slope, area = noise_slope(subject), noise_area(subject)
    levels = subject.noise_curve()
    images = min((found.count for found in levels.values()), default=0)
    rows: list[tuple[str, str, Estimate | None, int]] = [
        ("corruptions", "mean_corruption_accuracy", mean, len(corrupted)),
        ("corruptions", "mce", mce, len(corrupted)),
        (
            "corruptions",
            "relative_mce",
            relative_error(subject, subjects, baseline),
            len(corrupted),
        ),
        ("noise-sweep", "noise_curve_area", area, len(levels)),
    ]
    if slope is not None:
        fitted = Estimate(slope.value, slope.low, slope.high, images)
        share = Estimate.point(slope.r_squared, images)
        rows.append(("noise-sweep", "robustness_slope", fitted, slope.count))
        rows.append(("noise-sweep", "robustness_slope_r_squared", share, slope.count))
    return [(where, what, found, n) for where, what, found, n in rows if found is not None]


def _key(subject: Subject) -> dict[str, Any]:
    return {name: getattr(subject, name) for name in KEY}


def _parts(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "count": found.count}


def _spread(name: str, found: Estimate | None) -> dict[str, float | None]:
    return {
        name: None if found is None else found.value,
        f"{name}_low": None if found is None else found.low,
        f"{name}_high": None if found is None else found.high,
    }


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
