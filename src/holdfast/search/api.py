"""A search from Python, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadTypeError, unknown_name
from holdfast.records.searches import Search, write_search
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

    @property
    def front(self) -> list[str]:
        """For several objectives, the architectures that none asked for beats in all."""
        return [one.arch for one in self.record.front]

    def scores(self, searcher: str | None = None) -> pl.DataFrame:
        """What final architectures score: column, metric, mean, low, high, count; of the first.

        Args:
            searcher: Another one than the first.

        Raises:
            UnknownNameError: No such searcher in this search.
        """
        spec = searcher or self.record.searchers[0].spec
        names = {one.spec for one in self.record.searchers if spec in (one.spec, one.settings)}
        if not names:
            raise unknown_name(
                "searcher of this search", spec, (r.spec for r in self.record.searchers)
            )
        rows = [one.model_dump() for one in self.record.scored if one.searcher in names]
        return pl.DataFrame(rows).drop("searcher")

    def __repr__(self) -> str:
        asked = " and ".join(one.text for one in self.record.objectives)
        return f"Found({asked}: {self.best}, {len(self.trials):,} queries)"


# What the command line calls them, and the fields of `Plan`.
_ALSO = {"trials": "repetitions", "constraint": "constraints"}
_KEYS = ("dataset", "training", "epochs")  # of columns


def search(
    table: str | Path = "digits",
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
        settings: As on the command line: constraint, budget, trials, seed, select_on, dataset,
            training, epochs, missing, unique, score.

    Raises:
        UnknownNameError: A setting that is none of these.
        HoldfastError: What cannot be searched; see `Plan`, `open_table`, `TableObjective`.
    """
    plan = Plan(str(table), _several(objective), _several(searcher), **_fields(settings))
    prepared = Prepared(plan)
    kept = None if folder is None else Path(folder)
    done = list(run(prepared, folder=kept, jobs=jobs))
    found = Found(conclude(prepared, done), trials_frame(prepared, done))
    if kept is not None:
        write_search(kept, found.record, found.trials)
    return found


def _fields(settings: dict[str, Any]) -> dict[str, Any]:
    """Fields of `Plan` from settings as a person names them."""
    known = {one.name for one in dataclasses.fields(Plan)} - {"table", "objectives", "searchers"}
    found: dict[str, Any] = {}
    given = {key: settings[key] for key in _KEYS if settings.get(key) is not None}
    for name, value in settings.items():
        if name in _KEYS:
            continue
        field = _ALSO.get(name, name)
        if field not in known:
            raise unknown_name("setting of a search", name, {*known, *_ALSO, *_KEYS} - {"given"})
        found[field] = _several(value) if field in ("constraints", "score") else value
    return {**found, "given": {**dict(found.get("given") or {}), **given}}


def _several(texts: Texts) -> tuple[str, ...]:
    several = (texts,) if isinstance(texts, str) else tuple(texts)
    for text in several:
        if not isinstance(text, str):
            raise BadTypeError(f"expected a text, or a list of texts, got {type(text).__name__}")
    return several
