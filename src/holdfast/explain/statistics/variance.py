"""Analyses of variance, and which groups differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from holdfast.core.checks import check_number
from holdfast.core.errors import BadValueError
from holdfast.explain.statistics.letters import compact_letters
from holdfast.metrics.intervals import FloatArray, IntArray
from holdfast.records.explanations.rules import GroupTest

ALPHA = 0.05
_FEW_PAIRS = 150
_NOTHING = 1e-12  # share of the whole scatter below which scatter is rounding


@dataclass(frozen=True)
class Grouped:
    """Values sorted into their groups, highest mean first."""

    names: tuple[str, ...]
    means: FloatArray
    counts: IntArray
    within: float  # sum of squares about the means of the groups
    between: float  # sum of squares of those means about the grand mean

    @property
    def freedom(self) -> int:
        """Degrees of freedom within the groups."""
        return int(self.counts.sum()) - len(self.names)

    @property
    def error(self) -> float:
        """Mean square within the groups; NaN where each group has one value."""
        return self.within / self.freedom if self.freedom > 0 else math.nan


@dataclass(frozen=True)
class FTest:
    """F of an analysis of variance with its degrees of freedom; NaN where there is no test."""

    f_value: float
    p_value: float
    upper: int
    lower: int


def one_way(
    values: ArrayLike,
    groups: Sequence[str],
    alpha: float = ALPHA,
    *,
    attribute: str = "",
    outcome: str = "",
) -> GroupTest:
    """One-way analysis of variance with the letters of Tukey's honest significant difference.

    Values that are not finite are left out. Where there are fewer than two groups, or no group
    has two values, F and p are NaN and there are no letters.

    Args:
        values: One a model, [N].
        groups: Name of each model's group, N of them.
        alpha: Level of Tukey's test: groups that share a letter do not differ at it.
        attribute: What the groups are groups of; goes into the result.
        outcome: What the values are; likewise.

    Raises:
        BadValueError: Lengths differ, or a level that is not in (0, 1).
    """
    found = grouped(values, groups)
    test = _f_test(found.between, len(found.names) - 1, found.within, found.freedom)
    letters: tuple[str, ...] = ()
    if len(found.names) > 1 and found.freedom > 0:
        letters = compact_letters(differing(found, checked_alpha(alpha)))
    return GroupTest(
        attribute=attribute,
        outcome=outcome,
        groups=found.names,
        means=tuple(map(float, found.means)),
        counts=tuple(map(int, found.counts)),
        letters=letters,
        f_value=test.f_value,
        p_value=test.p_value,
    )


def nested(values: ArrayLike, outer: Sequence[str], inner: Sequence[str]) -> tuple[FTest, FTest]:
    """Analyse the variance of `inner` groups nested in `outer` ones: tests of (outer, inner).

    This is the type II analysis of the formula `value ~ C(outer) / C(inner)`: `outer` is tested
    against the grand mean, `inner` against the means of `outer`, both over the scatter within the
    inner groups. Sums of squares are computed from the means of the cells that occur, so that cells
    without a value, which leave a design matrix without full rank, need no care.

    Args:
        values: [N]; those that are not finite are left out.
        outer: Name of each value's outer group.
        inner: Name of its inner group; equal names in two outer groups are two groups.

    Raises:
        BadValueError: Lengths differ.
    """
    if len(outer) != len(inner):
        raise BadValueError(f"one inner group a value, got {len(inner)} for {len(outer)}")
    # Texts of NumPy are texts, too, but are written differently.
    pairs = [(str(one), str(other)) for one, other in zip(outer, inner, strict=True)]
    above = grouped(values, outer)
    # Names of cells must not run into each other, as `a` + `bc` and `ab` + `c` would.
    cells = grouped(values, [repr(pair) for pair in pairs])
    steps = len(cells.names) - len(above.names)
    return (
        _f_test(above.between, len(above.names) - 1, cells.within, cells.freedom),
        _f_test(cells.between - above.between, steps, cells.within, cells.freedom),
    )


def grouped(values: ArrayLike, groups: Sequence[str]) -> Grouped:
    """Sort values [N] into groups by name; those that are not finite are left out.

    Raises:
        BadValueError: Lengths differ.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (len(groups),):
        raise BadValueError(f"one group a value is needed, got {len(groups)} for {column.shape}")
    kept = np.isfinite(column)
    column = column[kept]
    names, place = np.unique(np.asarray(groups, dtype=str)[kept], return_inverse=True)
    counts = np.bincount(place, minlength=len(names)).astype(np.int64)
    means = np.bincount(place, weights=column, minlength=len(names)) / np.maximum(counts, 1)
    within = float(np.square(column - means[place]).sum())
    grand = float(column.mean()) if len(column) else math.nan
    between = float((counts * np.square(means - grand)).sum())
    order = np.argsort(-means, kind="stable")
    listed = tuple(str(names[one]) for one in order)
    return Grouped(listed, means[order], counts[order], within, between)


def tukey(found: Grouped) -> FloatArray:
    """p-values [G, G] of Tukey's honest significant difference, in Kramer's form.

    The diagonal is 1. Equal values within all groups make every other difference certain.

    Source: Tukey 1949; Kramer 1956, "Extension of multiple range tests to group means with unequal
    numbers of replications".
    """
    count = len(found.names)
    p = np.ones((count, count))
    if count < 2 or found.freedom <= 0:
        return p
    first, second = np.triu_indices(count, 1)
    q = _studentized(found)[first, second]
    found_p = np.clip(stats.studentized_range.sf(q, count, found.freedom), 0, 1)
    p[first, second] = p[second, first] = np.where(np.isinf(q), 0.0, found_p)
    return p


def differing(found: Grouped, alpha: float) -> NDArray[np.bool_]:
    """Which groups differ by Tukey's test at the level `alpha`, [G, G]; as `tukey(found) < alpha`.

    A p-value is an integral that takes milliseconds, so of many groups their distances are held
    against the one critical value.
    """
    count = len(found.names)
    if count * (count - 1) // 2 <= _FEW_PAIRS or found.freedom <= 0:
        return np.asarray(tukey(found) < alpha)
    critical = float(stats.studentized_range.isf(alpha, count, found.freedom))
    return np.asarray(_studentized(found) > critical)


def _studentized(found: Grouped) -> FloatArray:
    """Distances of means over their standard errors, [G, G]; infinite where there is no error."""
    gap = np.abs(found.means[:, None] - found.means[None])
    inverse = 1 / found.counts
    spread = np.sqrt(found.error / 2 * (inverse[:, None] + inverse[None]))
    q = np.divide(gap, spread, out=np.full(gap.shape, math.inf), where=spread > 0)
    q[gap == 0] = 0.0
    return q


def checked_alpha(alpha: float) -> float:
    """The level, refused where it is none.

    Raises:
        BadValueError: Not in (0, 1).
        BadTypeError: No number.
    """
    check_number("alpha", alpha, least=0, most=1)
    if alpha in (0, 1):
        raise BadValueError(f"alpha must lie between 0 and 1, as 0.05 does; got {alpha}")
    return alpha


def _f_test(upper: float, upper_freedom: int, lower: float, lower_freedom: int) -> FTest:
    if upper_freedom <= 0 or lower_freedom <= 0:
        return FTest(math.nan, math.nan, max(upper_freedom, 0), max(lower_freedom, 0))
    whole = upper + lower
    if lower <= _NOTHING * whole:
        # No scatter within: any difference is certain, and none is no difference at all.
        certain = upper > _NOTHING * whole
        found = (math.inf, 0.0) if certain else (math.nan, math.nan)
        return FTest(*found, upper_freedom, lower_freedom)
    f = max(0.0, upper / upper_freedom) / (lower / lower_freedom)
    p = float(special.fdtrc(upper_freedom, lower_freedom, f))
    return FTest(f, p, upper_freedom, lower_freedom)
