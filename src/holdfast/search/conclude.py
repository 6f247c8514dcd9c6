"""From the trials of a search to its record: final values, winners, the best there is.

Incumbents are scored here, afterwards: on the test split, and under conditions that no searcher
saw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from holdfast.core.version import VERSION
from holdfast.metrics.pareto import pareto_front
from holdfast.metrics.trajectories import repeated_mean
from holdfast.records.searches import (
    Asked,
    Correlations,
    Limit,
    Optimum,
    Ran,
    Ranked,
    Scored,
    Search,
    TableInfo,
    Winner,
    trial_columns,
)
from holdfast.search.analysis import cells, correlations, labels, shared
from holdfast.search.quantities import Quantity
from holdfast.search.run import Prepared, Repetition
from holdfast.search.spaces.recorded import Recorded
from holdfast.search.tables.naming import family
from holdfast.search.tables.table import Column

_LONGEST_FRONT = 40  # architectures
_SHOWN = 3  # winners of a searcher that are kept
_ROUNDING = 1e-6  # recorded values are rounded, so that means of equal ones may differ by less
_CORRUPTED = "mean_corruption"  # a column of tables that keep no single corruptions
_MOST_COLUMNS = 24  # beside the objectives, without being asked for


def trials_frame(prepared: Prepared, done: Sequence[Repetition]) -> pl.DataFrame:
    """All queries, a row each; columns of `records.searches.trial_columns`."""
    objectives, constraints = prepared.objective.quantities, prepared.objective.constraints
    rows = [
        (
            one.searcher,
            one.repetition,
            trial.step,
            trial.round,
            trial.arch,
            trial.score.merit,
            trial.score.feasible,
            *(value if math.isfinite(value) else None for value in trial.score.values),
            *(trial.score.limits or (None,) * len(constraints)),
        )
        for one in _ordered(prepared, done)
        for trial in one.trials
    ]
    schema = trial_columns(len(objectives), len(constraints))
    return pl.DataFrame(rows, schema=schema, orient="row")


def conclude(prepared: Prepared, done: Sequence[Repetition], *, command: str = "") -> Search:
    """Record of a finished search.

    Args:
        prepared: What was searched.
        done: All repetitions of all searchers.
        command: What to type to get this again.
    """
    objective, plan = prepared.objective, prepared.plan
    wanted = [*_wanted_columns(prepared), *(prepared.scored or _main_columns(prepared))]
    wanted = list(dict.fromkeys(wanted))
    names = labels(wanted)
    values = dict(zip(names, wanted, strict=True))
    many = len(objective.quantities) > 1
    best_arch, best = objective.ranked()[0]
    ordered = _ordered(prepared, done)
    card = prepared.table.card
    return Search(
        table=TableInfo(
            name=card.name, title=card.title, source=card.source, space=objective.space.spec
        ),
        objectives=tuple(_asked(one) for one in objective.quantities),
        constraints=tuple(
            Limit(
                text=f"{one.quantity.text} {'<=' if one.upper else '>='} {one.bound:g}",
                column=_named(one.quantity),
                bound=one.bound,
                satisfied=kept,
                of=objective.total,
            )
            for one, kept in zip(objective.constraints, objective.satisfied, strict=True)
        ),
        select_on=plan.select_on,
        budget=plan.budget,
        repetitions=plan.repetitions,
        seed=plan.seed,
        searchers=tuple(
            Ran(
                spec=typed,
                settings=spec,
                about=searcher.about,
                seconds=sum(one.seconds for one in ordered if one.searcher == typed),
                found=math.nan if many else _share(ordered, typed, best.merit),
            )
            for spec, typed, searcher in zip(
                prepared.specs, prepared.names, prepared.searchers, strict=True
            )
        ),
        optimum=None if many else Optimum(merit=best.merit, values=best.values, arch=best_arch),
        winners=tuple(_winners(prepared, ordered, values)),
        front=tuple(_front(prepared, ordered, values)) if many else (),
        scored=tuple(
            one.model_copy(update={"metric": wanted[names.index(one.column)].metric})
            for one in _scored(prepared, ordered, values)
        ),
        scored_on=shared(wanted),
        flags=tuple(_flags(prepared, ordered)),
        correlations=_correlations(prepared, wanted),
        command=command,
        version=VERSION,
    )


def _share(done: list[Repetition], spec: str, merit: float) -> float:
    mine = [one for one in done if one.searcher == spec]
    least = merit - _ROUNDING * max(1.0, abs(merit))
    return sum(one.best.score.merit >= least for one in mine) / len(mine)


def _ordered(prepared: Prepared, done: Iterable[Repetition]) -> list[Repetition]:
    return sorted(done, key=lambda one: (prepared.names.index(one.searcher), one.repetition))


def _named(quantity: Quantity) -> str:
    columns = [column for term in quantity.terms for column in term.columns]
    return str(columns[0]) if len(columns) == 1 else quantity.text


def _asked(quantity: Quantity) -> Asked:
    columns = [column for term in quantity.terms for column in term.columns]
    splits = {column.split for column in columns} - {"none"}
    metrics = {column.metric for column in columns}
    return Asked(
        text=quantity.text,
        direction="maximize" if quantity.maximize else "minimize",
        column=_named(quantity),
        metric=metrics.pop() if len(metrics) == 1 else "",
        split=" and ".join(sorted(splits)),
    )


def _wanted_columns(prepared: Prepared) -> list[Column]:
    """Columns of objectives and constraints; of the mean of very many the first."""
    quantities = [
        *prepared.objective.quantities,
        *(one.quantity for one in prepared.objective.constraints),
    ]
    wanted = [column for one in quantities for term in one.terms for column in term.columns]
    return list(dict.fromkeys(wanted if len(wanted) <= _MOST_COLUMNS else wanted[:1]))


def _main_columns(prepared: Prepared) -> list[Column]:
    """Those wanted, on every split there is, then clean and attacks of the same training."""
    table, wanted = prepared.table, _wanted_columns(prepared)
    datasets = {column.dataset for column in wanted}
    trainings = {column.training for column in wanted if column.training != "none"}
    others = [
        column
        for column in table.columns
        if column.dataset in datasets
        and column.split in ("test", "validation")
        and column.metric == "accuracy"
        and (family(column.condition) in ("clean", "attack") or column.condition == _CORRUPTED)
    ]
    twins = [one for one in others if any(_is_twin(one, column) for column in wanted)]
    same = [
        one
        for one in others
        if one.split == "test" and (one.training in trainings or not trainings)
    ]
    return list(dict.fromkeys([*wanted, *twins, *same]))[:_MOST_COLUMNS]


def _is_twin(one: Column, other: Column) -> bool:
    """Whether two columns differ in nothing but the split."""
    keys = ("dataset", "training", "epochs", "condition", "metric")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _winners(
    prepared: Prepared, done: list[Repetition], columns: dict[str, Column]
) -> Iterable[Winner]:
    space = prepared.objective.space
    for spec in prepared.names:
        ended = [one.best for one in done if one.searcher == spec]
        counts = Counter(trial.arch for trial in ended)
        merits = {trial.arch: trial.score.merit for trial in ended}
        most = sorted(counts, key=lambda arch: (-counts[arch], -merits[arch]))[:_SHOWN]
        for arch in most:
            told = {name: prepared.table.lookup(one, arch) for name, one in columns.items()}
            yield Winner(
                searcher=spec,
                arch=arch,
                share=counts[arch] / len(ended),
                values={name: value for name, value in told.items() if value is not None},
                cells=cells(space, arch),
            )


def _front(
    prepared: Prepared, done: list[Repetition], columns: dict[str, Column]
) -> Iterable[Ranked]:
    """Feasible architectures that no other one asked for beats in everything, by the first."""
    space = prepared.objective.space
    asked = {
        space.key(trial.arch): trial
        for one in done
        for trial in one.trials
        if trial.score.feasible and trial.score.merit > -math.inf
    }
    trials = list(asked.values())
    if not trials:
        return
    unbeaten = pareto_front(np.array([trial.score.values for trial in trials]))
    kept = [trial for trial, whether in zip(trials, unbeaten, strict=True) if whether]
    ordered = sorted(kept, key=lambda one: one.score.values)
    for trial in reversed(ordered[-_LONGEST_FRONT:]):
        told = {name: prepared.table.lookup(one, trial.arch) for name, one in columns.items()}
        yield Ranked(
            arch=trial.arch,
            values={name: value for name, value in told.items() if value is not None},
            cells=cells(space, trial.arch),
        )


def _scored(
    prepared: Prepared, done: list[Repetition], columns: dict[str, Column]
) -> Iterable[Scored]:
    for spec in prepared.names:
        ended = [one.best.arch for one in done if one.searcher == spec]
        for name, column in columns.items():
            found = prepared.table.lookups(column, ended)
            bounds = (0.0, 1.0) if column.metric == "accuracy" else (-math.inf, math.inf)
            mean = repeated_mean([one for one in found if one is not None], bounds=bounds)
            yield Scored(
                searcher=spec,
                column=name,
                mean=mean.value,
                low=mean.low,
                high=mean.high,
                count=mean.count,
            )


def _flags(prepared: Prepared, done: list[Repetition]) -> Iterable[str]:
    objective = prepared.objective
    if objective.missing:
        yield (
            f"{len(objective.missing):,} architectures of the space have no value in the table; "
            "asking for one counts as a failed query"
        )
    early = [one for one in done if len(one.trials) < prepared.plan.budget]
    if early:
        yield (
            f"{len(early)} of {len(done)} repetitions ended before {prepared.plan.budget} "
            "queries: the searcher had nothing left to propose"
        )
    if isinstance(objective.space, Recorded):
        yield f"searched among the {objective.total:,} recorded architectures of the space alone"
    empty = [one for one in done if one.best.score.merit == -math.inf]
    if empty:
        yield f"{len(empty)} of {len(done)} repetitions asked for nothing that has a value"
    lost = [one for one in done if one not in empty and not one.best.score.feasible]
    if lost:
        yield (
            f"{len(lost)} of {len(done)} repetitions found no architecture that keeps the "
            "constraints"
        )
    scalar = [
        name
        for name, one in zip(prepared.names, prepared.searchers, strict=True)
        if not getattr(one, "many_objectives", False)
    ]
    if len(objective.quantities) > 1 and scalar:
        yield f"{', '.join(scalar)} went by the mean rank of the objectives; nsga2 goes by each"


def _correlations(prepared: Prepared, wanted: list[Column]) -> Correlations | None:
    """Of the columns that were scored, where there are two with values."""
    if len(wanted) < 2:
        return None
    return correlations(prepared.table, wanted)
