"""What is wanted: columns of a table, weighed, joined and bounded, as a plain callable.

The objective is built once, from the whole table; a searcher gets the callable alone. It never
reads the test split, unless that is asked for by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.spaces.base import Space
from holdfast.search.spaces.recorded import Recorded
from holdfast.search.tables.naming import split_qualifiers
from holdfast.search.tables.table import BenchmarkTable, Column
from holdfast.search.trials import Score

Split = Literal["validation", "test"]
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NAMED = re.compile(r"^[A-Za-z_]\w*\s*(\(|\[|$)")  # begins as a condition does
_TINY = 1e-12  # a bound of 0 is compared as it is
_WEIGHT = re.compile(rf"^({_NUMBER})\s*\*\s*(.+)$")
_BOUND = re.compile(rf"^(.+?)\s*(<=|>=)\s*({_NUMBER})$")


@dataclass(frozen=True)
class Choice:
    """Which columns may be meant where a text does not say.

    Attributes:
        select_on: Split that a search may see.
        given: Keys that all columns share: dataset, training, epochs.
    """

    select_on: Split = "validation"
    given: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """A weighted mean of columns.

    Attributes:
        columns: One column, or those whose mean is meant.
        weight: What it is multiplied by.
    """

    columns: tuple[Column, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Quantity:
    """A sum of terms, larger or smaller being better.

    Attributes:
        text: As it was written.
        terms: What is added.
        maximize: Whether more is better.
    """

    text: str
    terms: tuple[Term, ...]
    maximize: bool

    def of(self, table: BenchmarkTable) -> dict[str, float]:
        """Value of each architecture that has all columns."""
        parts = [
            (term.weight / len(term.columns), column)
            for term in self.terms
            for column in term.columns
        ]
        weights = [weight for weight, _ in parts]
        rows = _together([table.values(column) for _, column in parts], table.space)
        return {
            arch: sum(weight * value for weight, value in zip(weights, row, strict=True))
            for arch, row in rows.items()
        }


def _together(columns: Sequence[Mapping[str, float]], space: Space) -> dict[str, tuple[float, ...]]:
    """Values of the architectures that have all columns: their own, or else those of their class.

    Some tables hold the members of a class one by one in one column, and once in another.
    """
    found: dict[str, tuple[float, ...]] = {}
    for arch in dict.fromkeys(arch for column in columns for arch in column):
        row = [column.get(arch) for column in columns]
        if None in row:
            first = space.canonical(arch)
            row = [
                column.get(first) if value is None else value
                for value, column in zip(row, columns, strict=True)
            ]
        values = tuple(value for value in row if value is not None)
        if len(values) == len(columns):
            found[arch] = values
    return found


@dataclass(frozen=True)
class Constraint:
    """A bound on a quantity."""

    quantity: Quantity
    upper: bool
    bound: float

    def excess(self, values: np.ndarray) -> np.ndarray:
        """By how much values miss the bound, relative to it; 0 or less where it is kept."""
        over = values - self.bound if self.upper else self.bound - values
        return over / max(abs(self.bound), _TINY)


def read_quantity(text: str, table: BenchmarkTable, choice: Choice) -> Quantity:
    """Objective that `text` names: `[max:|min:] [WEIGHT *] COLUMN [+ ...]`.

    COLUMN is a condition with what tells it from others in brackets, as in
    `pgd(eps=8/255)[training=adversarial]`, or `mean(CONDITION)` over all that match.

    Raises:
        UnknownNameError: No column matches; the nearest is named.
        BadValueError: Several match, they are on the test split only, or the text is wrong.
    """
    turned, body = _direction(text)
    if not body.strip():
        raise BadValueError("an objective names a column, as in clean or mean(attacks); got none")
    parts = _parts(body)
    if not all(map(_is_term, parts)):
        raise _unreadable(text)
    terms = tuple(_term(part, table, choice) for part in parts)
    if turned is None:
        turned = _natural(text, terms)
    return Quantity(text.strip(), terms, turned)


def read_constraint(text: str, table: BenchmarkTable, choice: Choice) -> Constraint:
    """Bound that `text` names: `COLUMN <= NUMBER` or `COLUMN >= NUMBER`; see `read_quantity`.

    Raises:
        UnknownNameError: No column matches.
        BadValueError: No bound, or a column that cannot be told.
    """
    found = _BOUND.match(text.strip())
    if not found or re.search("<|>| and ", found[1]) or not math.isfinite(float(found[3])):
        raise BadValueError(
            f"cannot read the constraint {text!r}: expected COLUMN <= NUMBER or COLUMN >= NUMBER, "
            "as in 'latency(device=pi5) <= 6'; write one --constraint a bound"
        )
    quantity = read_quantity(found[1], table, choice)
    return Constraint(quantity, found[2] == "<=", float(found[3]))


def _parts(text: str) -> list[str]:
    """Terms of a sum: cut at plus signs outside of brackets that do not belong to a number."""
    found, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(character, 0)
        if character == "+" and depth == 0 and text[:place].strip() and text[place - 1] not in "eE":
            found.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*found, text[start:]]]


def _is_term(text: str) -> bool:
    """Whether a text could be a term: what it names is looked up later."""
    weighed = _WEIGHT.match(text)
    return bool(_NAMED.match(weighed[2] if weighed else text))


def _direction(text: str) -> tuple[bool | None, str]:
    for word, larger in (("max:", True), ("min:", False)):
        if text.strip().startswith(word):
            return larger, text.strip().removeprefix(word)
    return None, text


def _natural(text: str, terms: tuple[Term, ...]) -> bool:
    """Direction that the columns have by themselves; a sum with a negative weight is maximized."""
    if any(term.weight < 0 for term in terms):
        return True
    larger = {term.columns[0].better == "higher" for term in terms}
    if len(larger) > 1:
        raise BadValueError(
            f"the terms of {text!r} pull in opposite directions: give what should be small a "
            "negative weight, as in 'clean + -0.1*latency(device=pi5)', or say max: or min: first"
        )
    return larger.pop()


def _term(text: str, table: BenchmarkTable, choice: Choice) -> Term:
    weighed = _WEIGHT.match(text.strip())
    weight, body = (float(weighed[1]), weighed[2]) if weighed else (1.0, text.strip())
    if not math.isfinite(weight) or weight == 0:
        raise BadValueError(f"the weight in {text.strip()!r} must be a number that is not 0")
    if not body.startswith("mean("):
        return Term((_one(body, table, choice),), weight)
    inside, closed, after = body.removeprefix("mean(").rpartition(")")
    if not closed or not inside.strip() or (after.strip() and not after.strip().startswith("[")):
        raise _unreadable(text)
    condition, given = split_qualifiers(f"{inside}{after}")
    return Term(_several(condition, given, table, choice), weight)


def _unreadable(text: str) -> BadValueError:
    return BadValueError(
        f"cannot read the objective {text.strip()!r}: expected [min:] [WEIGHT*]COLUMN [+ ...], "
        "as in clean, mean(attacks), 'pgd(eps=8/255)[training=adversarial]' or "
        "'0.5*clean + -0.1*latency(device=pi5)'"
    )


def _one(text: str, table: BenchmarkTable, choice: Choice) -> Column:
    condition, given = split_qualifiers(text)
    found = _readable(condition, given, table, choice)
    if len(found) > 1:
        raise BadValueError(
            f"{text!r} names {len(found)} columns of {table.card.name}: "
            + "; ".join(map(str, found[:4]))
            + ("; ..." if len(found) > 4 else "")
            + f". Say more, or mean({condition})"
        )
    return found[0]


def _several(
    condition: str, given: Mapping[str, object], table: BenchmarkTable, choice: Choice
) -> tuple[Column, ...]:
    found = _readable(condition, given, table, choice)
    for name in ("dataset", "training", "epochs", "metric"):
        kinds = list(dict.fromkeys(getattr(column, name) for column in found))
        if len(kinds) > 1:
            raise BadValueError(
                f"mean({condition}) would mix {name} {' and '.join(map(str, kinds))}: "
                f"say which, as in mean({condition})[{name}={kinds[0]}]"
            )
    return tuple(found)


def _readable(
    condition: str, given: Mapping[str, object], table: BenchmarkTable, choice: Choice
) -> list[Column]:
    """Columns that match and that a search may see."""
    asked = {**choice.given, **given}
    found = _matching(condition, asked, table)
    seen = [column for column in found if column.split in (choice.select_on, "none")]
    if seen:
        return seen
    splits = " and ".join(sorted({column.split for column in found}))
    if splits == "test" and choice.select_on == "validation":
        name = f"{condition} of {table.card.name}"
        what = (
            f"{name} on the test split"
            if "split" in asked
            else f"{name} is recorded on the test split alone, which"
        )
        raise BadValueError(
            f"{what} is out of a search's reach: what is selected by test images is no longer "
            "judged by them. Published comparisons do it: --select-on test does, too, and the "
            "page says so"
        )
    raise BadValueError(
        f"{condition} of {table.card.name} is recorded on {splits}, not on {choice.select_on}"
    )


def _matching(condition: str, asked: Mapping[str, object], table: BenchmarkTable) -> list[Column]:
    """Columns of a condition; latency and size have no training and no epochs to be told."""
    free = [column for column in table.matching(condition) if column.split == "none"]
    keys = {key: value for key, value in asked.items() if not free or key == "dataset"}
    if free and not any(column.dataset == keys.get("dataset") for column in free):
        keys = {}
    return table.matching(condition, **keys)


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
        rows = _together([one.of(table) for one in wanted], table.space)
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
