"""Trials as arrays: what each searcher had found after each query of each repetition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import Estimate, FloatArray, IntArray
from holdfast.metrics.trajectories import hypervolumes, incumbents, repeated_mean
from holdfast.records.searches import Search
from holdfast.report.search.shell import Unit


@dataclass(frozen=True, eq=False)
class SearcherRuns:
    """All repetitions of a searcher; a repetition that ended early keeps its last incumbent.

    Attributes:
        spec: Of the searcher.
        place: Among the searchers.
        merit: Of the incumbent after each query, larger is better, [R, Q]; -inf before there is
            one that keeps the constraints.
        value: Of the incumbent in each objective as the table has it, [R, Q, M]; NaN before.
        bounds: What the first objective cannot leave: the best of the table, where it is known.
    """

    spec: str
    place: int
    merit: FloatArray
    value: FloatArray
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def repetitions(self) -> int:
        """How many, R."""
        return len(self.merit)

    @property
    def queries(self) -> int:
        """How many the longest repetition asked, Q."""
        return self.merit.shape[1]

    def after(self, queries: int) -> Estimate:
        """Mean of the first objective over repetitions after some queries, with t interval."""
        place = min(queries, self.queries) - 1
        return repeated_mean(self.value[:, place, 0], bounds=self.bounds)

    def curve(self) -> list[Estimate]:
        """`after` each query."""
        return [self.after(queries) for queries in range(1, self.queries + 1)]

    def first_at(self, merit: float) -> IntArray:
        """Queries until the incumbent had this merit, [R]; 0 where it never had."""
        reached = self.merit >= merit
        return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Findings:
    """A search as the page needs it.

    Attributes:
        search: All but the trials.
        trials: One row a query.
        runs: By searcher, in the order of the search.
        unit: Of the first objective.
    """

    search: Search
    trials: pl.DataFrame
    runs: tuple[SearcherRuns, ...]
    unit: Unit

    @classmethod
    def of(cls, search: Search, trials: pl.DataFrame) -> Findings:
        """Arrange trials.

        Raises:
            BadValueError: No trials, or no objective.
        """
        if trials.is_empty() or not search.objectives:
            raise BadValueError("a page needs a search with an objective and a trial or more")
        ordered = trials.sort("searcher", "repetition", "step", maintain_order=True)
        named = [one.spec for one in search.searchers]
        there = ordered["searcher"].unique(maintain_order=True).to_list()
        specs = [name for name in dict.fromkeys([*named, *there]) if name in set(there)]
        runs = [
            _runs(search, spec, place, ordered.filter(pl.col("searcher") == spec))
            for place, spec in enumerate(specs)
        ]
        return cls(search, ordered, tuple(runs), Unit.of(search.objectives[0].metric))

    @property
    def optimum(self) -> float:
        """Best value of the one objective in the whole table; NaN where it is not known."""
        return _optimum(self.search)

    @property
    def metrics(self) -> dict[str, str]:
        """Metric of each column that was scored."""
        return {one.column: one.metric for one in self.search.scored}

    @property
    def found(self) -> dict[str, float]:
        """Share of each searcher's repetitions that found the best of the table."""
        return {one.spec: one.found for one in self.search.searchers}

    def volumes(self) -> list[tuple[SearcherRuns, list[Estimate]]]:
        """Share of the box between worst and best values that trials dominate, by query.

        The box spans the feasible trials of all searchers.
        """
        names = [f"value_{place}" for place in range(len(self.search.objectives))]
        able = self.trials.filter("feasible").select(names).to_numpy()
        able = able[np.isfinite(able).all(axis=1)]
        if not len(able):
            return []
        low, size = able.min(axis=0), np.ptp(able, axis=0)
        size = np.where(size > 0, size, 1.0)
        return [(run, self._volume(run, names, (low, size))) for run in self.runs]

    def _volume(
        self, run: SearcherRuns, names: list[str], box: tuple[FloatArray, FloatArray]
    ) -> list[Estimate]:
        low, size = box
        rows = self.trials.filter(pl.col("searcher") == run.spec)
        table = np.empty((run.repetitions, run.queries))
        parts = rows.partition_by("repetition", maintain_order=True)
        for place, part in enumerate(parts):
            values = (part.select(names).to_numpy() - low) / size
            values[~part["feasible"].to_numpy()] = math.nan
            values[~np.isfinite(values).all(axis=1)] = math.nan
            volumes = hypervolumes(values, np.zeros(len(names)))
            table[place] = np.pad(volumes, (0, run.queries - len(volumes)), mode="edge")
        return [repeated_mean(column, bounds=(0.0, 1.0)) for column in table.T]


def _optimum(search: Search) -> float:
    best = search.optimum
    if best is None or not best.values or len(search.objectives) > 1:
        return math.nan
    return best.values[0] * search.objectives[0].sign


def _bounds(search: Search) -> tuple[float, float]:
    best = _optimum(search)
    if math.isnan(best):
        return -math.inf, math.inf
    return (-math.inf, best) if search.objectives[0].sign > 0 else (best, math.inf)


def _runs(search: Search, spec: str, place: int, rows: pl.DataFrame) -> SearcherRuns:
    names = [f"value_{number}" for number in range(len(search.objectives))]
    signs = np.array([one.sign for one in search.objectives])
    parts = rows.partition_by("repetition", maintain_order=True)
    longest = max(map(len, parts))
    merit = np.full((len(parts), longest), -math.inf)
    value = np.full((len(parts), longest, len(names)), math.nan)
    for number, part in enumerate(parts):
        merits = np.where(part["feasible"].to_numpy(), part["merit"].to_numpy(), -math.inf)
        best = incumbents(merits)
        best = np.pad(best, (0, longest - len(best)), mode="edge")
        known = best >= 0
        merit[number, known] = merits[best[known]]
        value[number, known] = part.select(names).to_numpy()[best[known]] * signs
    return SearcherRuns(spec, place, merit, value, _bounds(search))
