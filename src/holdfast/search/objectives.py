"""What is wanted of an architecture, as a plain callable.

The objective is built once, from the whole table; a searcher gets the callable alone. It never
reads the test split, unless that is asked for by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.quantities import (
    Choice,
    Constraint,
    Quantity,
    read_constraint,
    read_quantity,
    together,
)
from holdfast.search.spaces.base import Space
from holdfast.search.spaces.recorded import Recorded
from holdfast.search.tables.table import BenchmarkTable
from holdfast.search.trials import Score


class TableObjective:
    """Score of each architecture, worked out from a table beforehand.

    Attributes:
        space: Where the table's architectures live.
        quantities: What is wanted.
        constraints: What must be kept.
        missing: Architectures of the space without a value.
        satisfied: For each constraint, how many keep it.
        feasible: How many keep all.
    """

    def __init__(
        self,
        table: BenchmarkTable,
        quantities: Sequence[Quantity],
        constraints: Sequence[Constraint] = (),
        *,
        missing: Literal["refuse", "fail"] = "refuse",
        space: Space | None = None,
    ) -> None:
        """Read the table.

        Args:
            table: Recorded scores.
            quantities: One, or several for a Pareto front.
            constraints: What must be kept.
            missing: What an architecture without a value is: refused now, or a failed query.
            space: Where to search, if not in the whole space of the table.

        Raises:
            BadValueError: No objective, values are missing and not to be taken as failures, or
                no architecture keeps the constraints.
        """
        if not quantities:
            raise BadValueError("a search needs an objective, as in --objective clean")
        self.space = space or table.space
        self.quantities = tuple(quantities)
        self.constraints = tuple(constraints)
        wanted = [*self.quantities, *(one.quantity for one in self.constraints)]
        rows = together([one.of(table) for one in wanted], table.space)
        archs = list(rows)
        if (
            not _is_listable(self.space)
            and len(set(map(self.space.canonical, archs))) != self.space.size
        ):
            # Nearly every architecture of such a space would be one without a value.
            self.space = Recorded(self.space, tuple(archs))
        self.missing = _absent(self.space, archs)
        if self.missing and missing == "refuse":
            raise BadValueError(_tell_missing(table, self.missing, len(archs)))
        raw = np.array(list(rows.values())).reshape(len(rows), len(wanted))
        several = len(self.quantities)
        self._scores = self._scored(archs, raw[:, :several], raw[:, several:])
        self.total = len(archs)
        self._failed = Score(-math.inf, (-math.inf,) * len(quantities), feasible=False)

    def __call__(self, arch: str) -> Score:
        """Score of an architecture; a failed one where the table has no value."""
        try:
            return self._scores[arch]
        except KeyError:
            return self._scores.get(self.space.canonical(arch), self._failed)

    @property
    def digest(self) -> str:
        """Sha256 over all architectures and their scores."""
        body = hashlib.sha256()
        for arch, score in sorted(self._scores.items()):
            body.update(f"{arch} {score}\n".encode())
        return body.hexdigest()

    def ranked(self) -> list[tuple[str, Score]]:
        """All recorded architectures, the best first."""
        return sorted(self._scores.items(), key=lambda one: -one[1].merit)

    def _scored(self, archs: list[str], raw: np.ndarray, limits: np.ndarray) -> dict[str, Score]:
        signs = np.array([1.0 if one.maximize else -1.0 for one in self.quantities])
        values = raw * signs
        excess = np.empty_like(limits)
        for place, one in enumerate(self.constraints):
            excess[:, place] = one.excess(limits[:, place])
        self.satisfied = tuple(int(kept) for kept in (excess <= 0).sum(0))
        feasible = (excess <= 0).all(1)
        self.feasible = int(feasible.sum())
        if not feasible.any():
            raise BadValueError(self._infeasible(limits))
        merit = _merit(values)
        merit = np.where(feasible, merit, merit.min() - 1 - excess.clip(min=0).sum(1))
        columns = zip(
            archs, merit.tolist(), values.tolist(), limits.tolist(), excess.tolist(), strict=True
        )
        return {
            arch: Score(m, tuple(v), tuple(x), feasible=max(e, default=0.0) <= 0, excess=tuple(e))
            for arch, m, v, x, e in columns
        }

    def _infeasible(self, limits: np.ndarray) -> str:
        told = []
        for place, (one, count) in enumerate(zip(self.constraints, self.satisfied, strict=True)):
            best = limits[:, place].min() if one.upper else limits[:, place].max()
            sign = "<=" if one.upper else ">="
            told.append(
                f"{one.quantity.text} {sign} {one.bound:g} is kept by {count:,} "
                f"(the {'smallest' if one.upper else 'largest'} is {best:.4g})"
            )
        return (
            f"none of {len(limits):,} architectures keeps the constraints together: "
            + "; ".join(told)
        )


def _merit(values: np.ndarray) -> np.ndarray:
    """One number from several: the value itself, or the mean of the ranks as shares of all.

    Jung, Lukasik and Keuper add the ranks of accuracy and latency in the same way.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    from scipy.stats import rankdata  # noqa: PLC0415 - takes a while, and few need it

    return (rankdata(values, axis=0).mean(1) - 1) / max(1, len(values) - 1)


_LISTABLE = 50_000  # architectures that are looked up one by one


def _is_listable(space: Space) -> bool:
    return space.size is not None and space.size <= _LISTABLE


def _absent(space: Space, archs: list[str]) -> list[str]:
    """Architectures of a small space that the table leaves out."""
    if not _is_listable(space):
        return []
    known = set(archs)
    return [
        arch
        for arch in space.everything()
        if arch not in known and space.canonical(arch) not in known
    ]


def _tell_missing(table: BenchmarkTable, missing: list[str], count: int) -> str:
    return (
        f"{table.card.name} has no value for {len(missing):,} architectures of its space "
        f"(it has {count:,}), the first is {missing[0]}: complete the table, "
        "or count them as failed queries with --missing fail"
    )


def build_objective(
    table: BenchmarkTable,
    objectives: Sequence[str],
    constraints: Sequence[str] = (),
    *,
    choice: Choice | None = None,
    missing: Literal["refuse", "fail"] = "refuse",
    unique: bool = False,
) -> TableObjective:
    """Objective of texts; see `read_quantity`, `read_constraint` and `TableObjective`.

    Raises:
        BadValueError: As these; or `unique` for a space that does not draw classes.
    """
    chosen = choice or Choice()
    return TableObjective(
        table,
        [read_quantity(text, table, chosen) for text in objectives],
        [read_constraint(text, table, chosen) for text in constraints],
        missing=missing,
        space=_unique(table.space) if unique else None,
    )


def _unique(space: Space) -> Space:
    if not hasattr(space, "unique"):
        raise BadValueError(f"{space.spec} has no classes of equal architectures to draw from")
    return dataclasses.replace(space, unique=True)  # type: ignore[type-var]  # spaces are
