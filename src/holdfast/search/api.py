"""A search from Python, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.records.searches import Scored, Search, write_search
from holdfast.search.conclude import conclude, trials_frame
from holdfast.search.run import Plan, Prepared, run

Texts = str | Sequence[str]


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        record: Winners, their scores with intervals, flags, the optimum of the table.
        trials: One row a query: searcher, repetition, step, round, arch, merit, feasible,
            value_0, ..., limit_0, ...
    """

    record: Search
    trials: pl.DataFrame

    @property
    def best(self) -> str:
        """The architecture that the first searcher ended with most often."""
        return self.record.winners[0].arch

    def scores(self, searcher: str | None = None) -> dict[str, Scored]:
        """Mean and interval of the final architectures, by column; of the first searcher."""
        spec = searcher or self.record.searchers[0].spec
        names = {one.spec for one in self.record.searchers if spec in (one.spec, one.settings)}
        return {one.column: one for one in self.record.scored if one.searcher in names}


def search(
    table: str = "digits",
    objective: Texts = "clean",
    *,
    searcher: Texts = "local",
    folder: str | Path | None = None,
    jobs: int = 1,
    **settings: Any,
) -> Found:
    """Search a table of recorded scores; `holdfast search run` from Python.

    Args:
        table: See `open_table`.
        objective: What to maximize, see `read_quantity`; several for a Pareto front.
        searcher: See `holdfast list searchers`; several are compared.
        folder: Where trials are kept, so that the same call goes on; nowhere if None.
        jobs: Processes; as many as there are cores if 0 (a script then needs a main guard).
        settings: More fields of `Plan`: constraints, budget, repetitions, seed, select_on,
            given, missing, unique.

    Raises:
        HoldfastError: What cannot be searched; see `Plan`, `open_table`, `TableObjective`.
    """
    prepared = Prepared(Plan(table, _several(objective), _several(searcher), **settings))
    kept = None if folder is None else Path(folder)
    done = list(run(prepared, folder=kept, jobs=jobs))
    found = Found(conclude(prepared, done), trials_frame(prepared, done))
    if kept is not None:
        write_search(kept, found.record, found.trials)
    return found


def _several(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)
