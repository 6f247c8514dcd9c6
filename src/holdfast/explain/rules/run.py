"""From a table of models x levels to design rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import checked_seed
from holdfast.explain.observations import Observations
from holdfast.explain.rules.attributes import Described, Tracer, describe
from holdfast.explain.rules.features import Row, averages, first_norm, is_clip
from holdfast.explain.rules.held_out import held_out
from holdfast.explain.rules.outcomes import Outcomes, chosen_perturbation, outcomes_of
from holdfast.explain.rules.pairs import pair_effects
from holdfast.explain.rules.regression import merged, regress
from holdfast.explain.rules.verdicts import verdicts_on
from holdfast.explain.statistics import one_way
from holdfast.records.explanations import GroupTest, ModelSlope, Rules
from holdfast.records.explanations.rules import Outcome

FEWEST = 5  # models below which there are no rules
_GROUPED = ("kind", "stem_pool", "head_pool", "norm", "pretraining", "average_pooling")
_SHOWN_ATTRIBUTES = (
    "stem", "stem_kernel", "downsampling", "shortcut_downsampling", "anti_aliased", "head_pool",
    "norms", "input_size", "parameters", "pretraining", "pretraining_data", "recipe",
)  # fmt: skip
# Of these test sets the classes are some of ImageNet's, and clean accuracy is over all of them.
_FEWER_CLASSES = ("imagenet-a", "imagenet-r", "objectnet-1.0-beta")


def find_rules(
    observations: Observations,
    *,
    perturbation: str | None = None,
    given: pl.DataFrame | None = None,
    trace: Tracer | None = None,
    seed: int = 0,
) -> Rules:
    """Which design attributes go with robustness, by pairs, by regression, and held out.

    Args:
        observations: Of any source; fewer than five models with an outcome are refused.
        perturbation: One of its names, or `all`; None: gaussian_noise, or the only one there is.
        given: Attributes that win over computed ones: `model` and further columns.
        trace: Computes anatomies of names; None computes them here, on the meta device.
        seed: Of the random halves of families.

    Raises:
        BadValueError: No such data, fewer than five models, or attributes that do not fit.
        UnknownNameError: No such perturbation.
    """
    seed = checked_seed(seed)
    outcomes = outcomes_of(observations, chosen_perturbation(observations, perturbation))
    _check_enough(observations, outcomes)
    described = _in_order(describe(observations, given, trace=trace), outcomes.models)
    effects = pair_effects(described, outcomes.values)
    flags: dict[Outcome, Sequence[str]] = {}
    for outcome, values in outcomes.values.items():
        found = regress(described, outcome, values, outcomes.clean)
        effects += found.effects
        flags[outcome] = found.flags
    halves = [
        one
        for outcome, values in outcomes.values.items()
        if (one := held_out(described, outcome, values, seed=seed)) is not None
    ]
    told = [*observations.flags, *outcomes.flags, *described.flags, *merged(flags)]
    told += _about_test_set(outcomes.perturbation, observations)
    points = _points(described, outcomes)
    measured = _measured(outcomes)
    return Rules(
        source=observations.source,
        flags=tuple(dict.fromkeys(told)),
        perturbation=outcomes.perturbation,
        levels=outcomes.levels,
        models=int(measured.sum()),
        described=sum(points[int(place)].kind != "" for place in np.flatnonzero(measured)),
        effects=tuple(effects),
        verdicts=tuple(verdicts_on(effects, list(outcomes.values))),
        held_out=tuple(halves),
        linearity=outcomes.linearity,
        groups=tuple(_groups(described, outcomes)),
        points=tuple(points),
    )


def _measured(outcomes: Outcomes) -> NDArray[np.bool_]:
    """Which models have a slope or a drop."""
    known = np.zeros(len(outcomes.models), dtype=bool)
    for outcome in ("slope", "drop"):
        if outcome in outcomes.values:
            known |= np.isfinite(outcomes.values[outcome])
    return known


def _check_enough(observations: Observations, outcomes: Outcomes) -> None:
    count = int(_measured(outcomes).sum())
    if count < FEWEST:
        raise BadValueError(
            f"{observations.source} has {count} of {len(outcomes.models)} models with a slope or a "
            f"drop under {outcomes.perturbation}; rules need {FEWEST} or more, and a regression "
            "ten: measure further models, or see `holdfast explain ranks`"
        )


def _in_order(described: Described, models: Sequence[str]) -> Described:
    """The same, a row for each of these models and in their order."""
    order = pl.DataFrame({"model": list(models)}, schema={"model": pl.String})
    table = order.join(described.table, on="model", how="left", maintain_order="left")
    return Described(table, described.extra, described.flags)


def _about_test_set(perturbation: str, observations: Observations) -> list[str]:
    if perturbation in _FEWER_CLASSES and "table" in observations.source:
        return [
            (
                f"{perturbation} has some of the classes alone, and clean accuracy is over all: "
                "drops are of another task"
            )
        ]
    return []


def _points(described: Described, outcomes: Outcomes) -> list[ModelSlope]:
    missing = np.full(len(outcomes.models), math.nan)
    columns = [outcomes.values.get(name, missing) for name in ("slope", "rank_diff", "drop")]
    return [
        ModelSlope(
            model=row["model"],
            family=row["family"] or "",
            kind=row["kind"] or "",
            clean=float(outcomes.clean[place]),
            r_squared=float(outcomes.fits[place]),
            slope=float(columns[0][place]),
            rank_diff=float(columns[1][place]),
            drop=float(columns[2][place]),
            attributes=_shown(row),
        )
        for place, row in enumerate(described.table.iter_rows(named=True))
    ]


def _shown(row: Row) -> dict[str, str]:
    if row["resolved"] is None:
        return {"unresolved": row["how"] or "not in the table of attributes"}
    if row["failed"] is not None:
        return {"resolved": row["resolved"], "failed": row["failed"]}
    found = {name: str(row[name]) for name in _SHOWN_ATTRIBUTES if row[name] not in {None, ""}}
    return {"resolved": row["resolved"], **found}


def _groups(described: Described, outcomes: Outcomes) -> list[GroupTest]:
    """Analyses of variance over kinds of an attribute that two or more models have."""
    rows = list(described.table.iter_rows(named=True))
    main: list[Outcome] = ["slope" if "slope" in outcomes.values else "drop", "rank_diff"]
    found = []
    for outcome in main:
        values = outcomes.values.get(outcome)
        for attribute in _GROUPED if values is not None else ():
            groups = [_group(row, attribute) for row in rows]
            known = [
                place
                for place, group in enumerate(groups)
                if group is not None and math.isfinite(values[place])  # type: ignore[index]
            ]
            names = [str(groups[place]) for place in known]
            kept = [
                (place, name)
                for place, name in zip(known, names, strict=True)
                if names.count(name) > 1
            ]
            if len({name for _, name in kept}) > 1:
                some = np.asarray(values)[[place for place, _ in kept]]
                labels = [name for _, name in kept]
                found.append(one_way(some, labels, attribute=attribute, outcome=outcome))
    return found


def _group(row: Row, attribute: str) -> Any:
    if row["kind"] is None:
        return None
    derived = {"norm": first_norm, "average_pooling": _yes_or_no}
    if attribute in derived:
        return derived[attribute](row)
    if attribute == "pretraining" and is_clip(row):
        return "clip"
    return row[attribute]


def _yes_or_no(row: Row) -> str | None:
    found = averages(row)
    return None if found is None else ("average" if found else "none that averages")
