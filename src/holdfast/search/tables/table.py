"""A benchmark table: recorded scores of architectures, and how a column of it is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from holdfast.core.errors import BadValueError, UnknownNameError, unknown_name
from holdfast.core.specs import parse_spec
from holdfast.search.spaces import Space, space_of
from holdfast.search.tables.schema import SMALLER_IS_BETTER

_KIN = 6  # conditions of one name that an error lists
KEYS = ("dataset", "split", "training", "epochs", "condition", "metric")


@dataclass(frozen=True)
class Card:
    """Where a table comes from.

    Attributes:
        name: As people type it.
        title: One line.
        source: Paper and release.
        verified: What the reader was checked against; empty where no real file was at hand.
        address: Public address of the file; empty where there is none.
        manual: What to do by hand where a program cannot fetch the file.
    """

    name: str
    title: str
    source: str
    verified: str = ""
    address: str = ""
    manual: str = ""


@dataclass(frozen=True)
class Column:
    """One quantity of a table: a value an architecture."""

    dataset: str
    split: str
    training: str
    epochs: int | None
    condition: str
    metric: str

    @property
    def better(self) -> str:
        """`lower` or `higher`."""
        return "lower" if self.metric in SMALLER_IS_BETTER else "higher"

    def __str__(self) -> str:
        said = [f"dataset={self.dataset}", f"training={self.training}", f"split={self.split}"]
        if self.epochs is not None:
            said.append(f"epochs={self.epochs}")
        if self.metric != "accuracy":
            said.append(f"metric={self.metric}")
        return f"{self.condition}[{', '.join(text for text in said if not text.endswith('none'))}]"


@dataclass(frozen=True, eq=False)
class BenchmarkTable:
    """Recorded scores.

    Attributes:
        card: Where they come from.
        frame: Rows of `schema.SCHEMA`.
    """

    card: Card
    frame: pl.DataFrame

    @cached_property
    def space(self) -> Space:
        """The search space of the architectures.

        Raises:
            BadValueError: The table is empty or has several.
        """
        names = self.frame["space"].unique().cast(pl.String).to_list()
        if len(names) != 1:
            raise BadValueError(
                f"{self.card.name} has architectures of {len(names)} spaces "
                f"({', '.join(sorted(names))}); expected one"
            )
        return space_of(names[0])

    @cached_property
    def columns(self) -> list[Column]:
        """All columns, in the order of the rows."""
        rows = self.frame.select(KEYS).unique(maintain_order=True).iter_rows(named=True)
        return [Column(**row) for row in rows]

    @cached_property
    def _parts(self) -> dict[tuple[object, ...], pl.DataFrame]:
        return self.frame.partition_by(KEYS, as_dict=True)

    @cached_property
    def no_data(self) -> int:
        """Rows without a number: NaN or nothing in the published file."""
        value = pl.col("value")
        return int(self.frame.select((value.is_null() | value.is_nan()).sum()).item())

    @cached_property
    def _found(self) -> dict[Column, dict[str, float]]:
        return {}

    def values(self, column: Column) -> dict[str, float]:
        """Value of each recorded architecture, the mean over its seeds.

        Where the members of a class have rows of their own, each is there under its string.
        Where a class has rows, but its representative has none, the first stands under the
        representative, so that `value` finds it for all of them.

        NaN and absent values are left out: no data is not zero.
        """
        if column not in self._found:
            self._found[column] = self._values(column)
        return self._found[column]

    def _values(self, column: Column) -> dict[str, float]:
        key = tuple(getattr(column, name) for name in KEYS)
        means = (
            self._parts[key]
            .filter(pl.col("value").is_not_nan())
            .group_by("arch", maintain_order=True)
            .agg(pl.col("value").cast(pl.Float64).mean())
            .with_columns(pl.col("arch").cast(pl.String))
        )
        names = self._names
        own = {names[arch][0]: value for arch, value in means.iter_rows() if value is not None}
        found: dict[str, float] = {}
        for arch, value in own.items():
            first = names[arch][1]
            found[arch if first in own or first in found else first] = value
        return found

    @cached_property
    def _names(self) -> _Names:
        return _Names(self.space)

    def value(self, column: Column, arch: str) -> float:
        """Value of an architecture, as `lookup` finds it.

        Raises:
            BadValueError: The table has none, or `arch` is none of the space.
        """
        value = self.lookup(column, arch)
        if value is None:
            raise BadValueError(
                f"{self.card.name} has no {column} of {arch}: it has {len(self.values(column)):,} "
                f"architectures of {self.space.spec}; take a table with all of them, or restrict "
                "the space"
            )
        return value

    def lookup(self, column: Column, arch: str) -> float | None:
        """Value of an architecture: its own, or else that of its class; None without either.

        Raises:
            BadValueError: `arch` is none of the space.
        """
        return self.lookups(column, [arch])[0]

    def lookups(self, column: Column, archs: Iterable[str]) -> list[float | None]:
        """`lookup` of many architectures, in their order.

        Raises:
            BadValueError: One is none of the space.
        """
        found = self.values(column)
        named = map(self._names.__getitem__, archs)
        return [found[own] if own in found else found.get(first) for own, first in named]

    def pick(self, condition: str, **given: object) -> Column:
        """The one column of a condition with the given keys; see `matching`.

        Raises:
            UnknownNameError: No such column.
            BadValueError: Several.
        """
        found = self.matching(condition, **given)
        if len(found) > 1:
            raise BadValueError(
                f"{condition!r} names {len(found)} columns of {self.card.name}; say which: "
                + "; ".join(map(str, found[:6]))
                + ("; ..." if len(found) > 6 else "")
            )
        return found[0]

    def matching(self, condition: str, **given: object) -> list[Column]:
        """Columns of a condition: `clean`, `pgd(eps=8/255)`, `attacks`, `corruptions`.

        Keys between the parentheses that are not written match anything, and accuracy is meant
        where no metric is said and there is one. A condition that is written as a column has it
        means that one only: `clean` beside `clean(weights=released)`.

        Raises:
            UnknownNameError: No column matches; the nearest is named.
        """
        from holdfast.search.tables.naming import matches  # noqa: PLC0415 - needs this module

        named = [column for column in self.columns if matches(condition, column.condition)]
        if not named:
            raise self._no_column(condition)
        kept = [
            column
            for column in named
            if all(getattr(column, key) == value for key, value in given.items())
        ]
        if not kept:
            asked = ", ".join(f"{key}={value}" for key, value in given.items())
            raise unknown_name(
                f"column of {self.card.name}", f"{condition}[{asked}]", map(str, named)
            )
        accuracy = [column for column in kept if column.metric == "accuracy"]
        kept = accuracy if accuracy and "metric" not in given else kept
        exact = [column for column in kept if column.condition == str(parse_spec(condition))]
        return exact or kept

    def _no_column(self, condition: str) -> UnknownNameError:
        """Error for a condition that nothing has: its kin with other keys, or the nearest name."""
        known = list(dict.fromkeys(column.condition for column in self.columns))
        name = parse_spec(condition).name
        kin = [one for one in known if parse_spec(one).name == name]
        if not kin:
            names = {parse_spec(one).name for one in known}
            return unknown_name(f"column of {self.card.name}", condition, {*known, *names})
        more = f" and {len(kin) - _KIN} more" if len(kin) > _KIN else ""
        return UnknownNameError(
            f"{self.card.name} has no column {condition}; of {name} it has "
            f"{', '.join(kin[:_KIN])}{more}"
        )


class _Names(dict[str, tuple[str, str]]):
    """An architecture as its space prints it, and its class; worked out once."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    def __missing__(self, arch: str) -> tuple[str, str]:
        self[arch] = (self._space.check(arch), self._space.canonical(arch))
        return self[arch]
