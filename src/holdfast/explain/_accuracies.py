"""Observations as arrays: models in rows, conditions in columns, NaN where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.core.wording import shortlist
from holdfast.explain.observations import CLEAN, Observations
from holdfast.metrics.cards import METRICS
from holdfast.metrics.intervals import FloatArray

_TOP5 = {"accuracy": "top5_accuracy"}
_ENOUGH = 0.5  # share of the models that must have a condition
_KEY = ["model", "perturbation", "level"]


@dataclass(frozen=True)
class Accuracies:
    """What is ranked, of N models and C conditions.

    Attributes:
        name: The perturbation, or how many conditions.
        models: In alphabetical order.
        conditions: Names, such as `fog 3`.
        clean: [N].
        values: [N, C].
        perturbed: Mean over the conditions, [N]; NaN where one is missing.
        clean_top5: [N]; NaN where not known.
        perturbed_top5: [N], likewise.
        counts: Images behind an accuracy, [N]; NaN where not known.
        curve: Level -> accuracies [N], clean at level 0; empty where there are no levels.
        flags: What was left out, one sentence each.
    """

    name: str
    models: tuple[str, ...]
    conditions: tuple[str, ...]
    clean: FloatArray
    values: FloatArray
    perturbed: FloatArray
    clean_top5: FloatArray
    perturbed_top5: FloatArray
    counts: FloatArray
    curve: Mapping[float, FloatArray]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    """A condition: a perturbation at a level, or without one."""

    perturbation: str
    level: float | None = None

    @property
    def name(self) -> str:
        return self.perturbation if self.level is None else f"{self.perturbation} {self.level:g}"


def accuracies_of(observations: Observations, perturbation: str | None, metric: str) -> Accuracies:
    """Arrays of one perturbation, or of all; see `holdfast.explain.ranking.rank`.

    Raises:
        BadValueError: No perturbation in the table, or no model with a value.
        UnknownNameError: No such perturbation, or no such metric.
    """
    rows, flags = _chosen(observations, perturbation, metric)
    models = tuple(sorted(set(rows["model"])))
    cells = _cells(rows, models)
    columns, lacked = _columns(cells, len(models))
    clean = cells.get(_Column(CLEAN), np.full(len(models), math.nan))
    values = np.column_stack([cells[one] for one in columns])
    top5 = _cells(_of_metric(observations, _TOP5.get(metric, "")), models)
    missing = np.full(len(models), math.nan)
    names = sorted({one.perturbation for one in columns})
    _check_fractions(clean, values, metric)
    curve = _curve(columns, values, clean)
    flags += [*lacked, *_incomplete(models, clean, values)]
    if not curve and len(names) > 1 and any(one.level is not None for one in columns):
        flags.append(
            "perturbations have different levels, so there are no slopes; --perturbation NAME "
            "gives those of one"
        )
    return Accuracies(
        name=names[0] if len(names) == 1 else f"{len(names)} perturbations",
        models=models,
        conditions=tuple(one.name for one in columns),
        clean=clean,
        values=values,
        perturbed=values.mean(1),
        clean_top5=top5.get(_Column(CLEAN), missing),
        perturbed_top5=np.column_stack([top5.get(one, missing) for one in columns]).mean(1),
        counts=_counts(rows, models),
        curve=curve,
        flags=tuple(flags),
    )


def _of_metric(observations: Observations, metric: str) -> pl.DataFrame:
    rows = observations.rows.filter(pl.col("metric") == metric)
    return rows.filter(pl.col("value").is_finite().fill_null(value=False))


def _chosen(
    observations: Observations, perturbation: str | None, metric: str
) -> tuple[pl.DataFrame, list[str]]:
    known = set(observations.rows["metric"])
    if metric not in known:
        raise unknown_name("metric of this table", metric, known)
    if metric in METRICS and METRICS[metric].better != "higher":
        raise BadValueError(f"less {metric} is better, and ranks are for what more is better of")
    rows = _of_metric(observations, metric)
    names = sorted(set(rows["perturbation"]) - {CLEAN})
    if not names:
        raise BadValueError(
            f"{observations.source} has no {metric} under any perturbation; ranks need one "
            "beside clean images"
        )
    if perturbation is not None:
        if perturbation not in names:
            raise unknown_name("perturbation of this table", perturbation, names)
        rows = rows.filter(pl.col("perturbation").is_in([CLEAN, perturbation]))
    # Clean images have no level, however the reader wrote it.
    clean = pl.col("perturbation") == CLEAN
    rows = rows.with_columns(pl.when(clean).then(None).otherwise(pl.col("level")).alias("level"))
    flags = []
    twice = rows.filter(rows.select(_KEY).is_duplicated())
    if twice.height:
        listed = shortlist(sorted(set(twice["model"])))
        flags.append(f"{listed}: a condition stands twice in the table; the first row counts")
        rows = rows.unique(_KEY, keep="first", maintain_order=True)
    return rows, flags


def _cells(rows: pl.DataFrame, models: Sequence[str]) -> dict[_Column, FloatArray]:
    place = {name: one for one, name in enumerate(models)}
    cells: dict[_Column, FloatArray] = {}
    known = rows.filter(pl.col("model").is_in(list(models)))
    shown = known.select("model", "perturbation", "level", "value")
    for model, perturbation, level, value in shown.iter_rows():
        without = level is None or math.isnan(level) or perturbation == CLEAN
        column = _Column(perturbation, None if without else float(level))
        cells.setdefault(column, np.full(len(models), math.nan))[place[model]] = value
    return cells


def _columns(cells: Mapping[_Column, FloatArray], models: int) -> tuple[list[_Column], list[str]]:
    """Conditions that half of the models have, in order, and flags of those left out."""
    found = [one for one in cells if one.perturbation != CLEAN]
    found.sort(key=lambda one: (one.perturbation, -math.inf if one.level is None else one.level))
    counts = {one: int(np.isfinite(cells[one]).sum()) for one in found}
    most = max(counts.values())
    # Where no condition is that common, the most common ones are all there is.
    least = min(_ENOUGH * models, most)
    kept = [one for one in found if counts[one] >= least]
    flags = [
        f"{one.name} is left out: only {counts[one]} of {models} models have it"
        for one in found
        if counts[one] < least
    ]
    return kept, flags


def _incomplete(models: Sequence[str], clean: FloatArray, values: FloatArray) -> list[str]:
    flags = []
    without = ~np.isfinite(clean)
    if without.all():
        flags.append(
            "no model has a clean accuracy: no rank differences and no effective robustness"
        )
    elif without.any():
        listed = shortlist([models[int(one)] for one in np.flatnonzero(without)])
        flags.append(f"no clean accuracy, so no rank difference: {listed}")
    partly = ~np.isfinite(values).all(1)
    if partly.any():
        listed = shortlist([models[int(one)] for one in np.flatnonzero(partly)])
        flags.append(f"some conditions are missing, so no place: {listed}")
    return flags


def _check_fractions(clean: FloatArray, values: FloatArray, metric: str) -> None:
    known = np.concatenate([clean, values.ravel()])
    known = known[np.isfinite(known)]
    if known.min() < 0 or known.max() > 1:
        raise BadValueError(
            f"{metric} must be a fraction in [0, 1], got {known.min():g}..{known.max():g}; only "
            "fractions of which more is better can be ranked here"
        )


def _counts(rows: pl.DataFrame, models: Sequence[str]) -> FloatArray:
    found = dict(rows.group_by("model").agg(pl.col("count").min()).iter_rows())
    return np.array(
        [math.nan if found.get(name) is None else found[name] for name in models], dtype=np.float64
    )


def _curve(
    columns: Sequence[_Column], values: FloatArray, clean: FloatArray
) -> dict[float, FloatArray]:
    """Accuracy by level: means over perturbations that all have the same levels, else empty."""
    levels: dict[str, list[float]] = {}
    for one in columns:
        levels.setdefault(one.perturbation, [])
        if one.level is not None:
            levels[one.perturbation].append(one.level)
    first, *others = levels.values()
    if not first or any(one != first for one in others):
        return {}
    found = {0.0: clean} if np.isfinite(clean).any() else {}
    for level in first:
        same = [place for place, one in enumerate(columns) if one.level == level]
        found[level] = values[:, same].mean(1)
    return found if len(found) > 1 else {}
