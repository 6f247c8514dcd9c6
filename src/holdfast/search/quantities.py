"""How a person writes what is wanted: columns of a table, weighed, added and bounded.

The test split is out of reach here, where texts become columns, unless it is asked for by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.spaces.base import Space
from holdfast.search.tables.naming import split_qualifiers
from holdfast.search.tables.table import BenchmarkTable, Column

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
        rows = together([table.values(column) for _, column in parts], table.space)
        return {
            arch: sum(weight * value for weight, value in zip(weights, row, strict=True))
            for arch, row in rows.items()
        }


def together(columns: Sequence[Mapping[str, float]], space: Space) -> dict[str, tuple[float, ...]]:
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
