"""Linear regression of models that come in families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from holdfast.metrics.intervals import LEVEL, FloatArray, IntArray

Method = Literal["mixed", "clustered", "plain"]
_SMALLEST, _LARGEST = 1e-4, 1e4  # ratio of the variances between and within families, searched
_STEPS = 40  # of the coarse search before the fine one
_SAME = 1e-12
SAME_VALUES = "all values are the same"


@dataclass(frozen=True)
class Fit:
    """A line through models, with what is known of its coefficients.

    Attributes:
        coefficients: [P], the first is the intercept.
        errors: Standard errors [P].
        freedom: Degrees of freedom of each coefficient's t [P]; 0 where there is no interval.
        method: `mixed`: family is a random intercept; `clustered`: ordinary least squares with
            errors that allow for anything within a family; `plain`: ordinary, of one family.
        ratio: Variance between families over that within.
        why: Why it is not `mixed`; empty if it is.
    """

    coefficients: FloatArray
    errors: FloatArray
    freedom: FloatArray
    method: Method
    ratio: float = 0.0
    why: str = ""

    def predict(self, columns: FloatArray) -> FloatArray:
        """Values of new models [M] of other families, from columns [M, P - 1]."""
        return np.asarray(self.coefficients[0] + columns @ self.coefficients[1:])

    def interval(self, place: int, level: float = LEVEL) -> tuple[float, float]:
        """The t-interval of a coefficient; NaN where there is none."""
        if self.freedom[place] < 1 or not math.isfinite(self.errors[place]):
            return math.nan, math.nan
        half = float(stats.t.ppf(0.5 + level / 2, self.freedom[place]) * self.errors[place])
        value = float(self.coefficients[place])
        return value - half, value + half

    def p_value(self, place: int) -> float:
        """Two-sided, that a coefficient is nothing; NaN where there is no error to judge by."""
        if self.freedom[place] < 1 or not self.errors[place] > 0:
            return math.nan
        t = abs(self.coefficients[place] / self.errors[place])
        return float(2 * stats.t.sf(t, self.freedom[place]))


def fit(columns: FloatArray, values: FloatArray, families: Sequence[str]) -> Fit:
    """Fit values by columns, with a random intercept for each family, by restricted likelihood.

    Where no variance between families is found (the fit is singular), or families are too few or
    have one model each, ordinary least squares takes its place, with errors clustered by family or
    ordinary ones, whichever is larger.

    Degrees of freedom are those of containment, as in mixed procedures of SAS: a column that is
    the same within each family is judged by the families, others by the models within them;
    clustered errors are judged by the families.

    Args:
        columns: [N, P], finite, linearly independent of each other and of a constant.
        values: [N], finite.
        families: Name of each model's family.

    Source: Laird and Ware 1982, "Random-effects models for longitudinal data"; the likelihood is
    profiled over the ratio of the two variances, the only one that needs a search.
    """
    design = np.column_stack([np.ones(len(values)), columns])
    if np.ptp(values) <= _SAME * (1 + float(np.abs(values).max())):
        level = np.zeros(design.shape[1])
        level[0] = values[0]
        return Fit(level, np.zeros(len(level)), np.zeros(len(level)), "plain", why=SAME_VALUES)
    names, place = np.unique(np.asarray(families, dtype=str), return_inverse=True)
    counts = np.bincount(place, minlength=len(names)).astype(np.int64)
    if len(names) == 1:
        return _plain(design, values)
    between = _between(design, place, len(names))
    if len(names) < 3 or counts.max() < 2 or len(values) - len(names) - (~between).sum() < 1:
        return _clustered(design, values, place, "too few families, or too few models in them")
    sums = _Sums(design, values, place, counts)
    ratio = sums.best()
    if ratio <= _SMALLEST:
        return _clustered(design, values, place, "no variance between families was found")
    coefficients, covariance = sums.solve(ratio)
    inside = len(values) - len(names) - int((~between).sum())
    outside = len(names) - int(between.sum())
    if outside < 1:
        return _clustered(design, values, place, "as many attributes of families as families")
    freedom = np.where(between, outside, inside).astype(np.float64)
    errors = np.sqrt(np.diagonal(covariance))
    return Fit(coefficients, errors, freedom, "mixed", ratio)


class _Sums:
    """What the restricted likelihood of a random intercept needs of the data, for any ratio."""

    def __init__(
        self, design: FloatArray, values: FloatArray, place: IntArray, counts: IntArray
    ) -> None:
        self.count, self.width = design.shape
        self.counts = counts
        self.cross = design.T @ design
        self.toward = design.T @ values
        self.square = float(values @ values)
        self.columns = np.zeros((len(counts), self.width))
        np.add.at(self.columns, place, design)
        self.totals = np.bincount(place, weights=values, minlength=len(counts))

    def _reduced(self, ratio: float) -> tuple[FloatArray, FloatArray, float]:
        share = ratio / (1 + self.counts * ratio)
        weighted = self.columns * share[:, None]
        return (
            self.cross - weighted.T @ self.columns,
            self.toward - weighted.T @ self.totals,
            self.square - float((share * self.totals**2).sum()),
        )

    def solve(self, ratio: float) -> tuple[FloatArray, FloatArray]:
        """Coefficients and their covariance."""
        cross, toward, square = self._reduced(ratio)
        coefficients = np.linalg.solve(cross, toward)
        scale = max(square - float(toward @ coefficients), 0.0) / (self.count - self.width)
        return np.asarray(coefficients, dtype=np.float64), np.asarray(scale * np.linalg.inv(cross))

    def deviance(self, ratio: float) -> float:
        """Minus twice the restricted log-likelihood, up to a constant."""
        cross, toward, square = self._reduced(ratio)
        left = square - float(toward @ np.linalg.solve(cross, toward))
        left = max(left, _SAME * self.square)
        freedom = self.count - self.width
        return float(
            freedom * math.log(left / freedom)
            + np.log1p(self.counts * ratio).sum()
            + np.linalg.slogdet(cross)[1]
        )

    def best(self) -> float:
        """The ratio of the highest likelihood; 0 where none is better than none."""
        grid = np.geomspace(_SMALLEST, _LARGEST, _STEPS)
        found = [self.deviance(float(one)) for one in grid]
        place = int(np.argmin(found))
        low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
        fine = optimize.minimize_scalar(
            lambda log: self.deviance(math.exp(log)),
            bounds=(math.log(low), math.log(high)),
            method="bounded",
        )
        ratio = math.exp(float(fine.x))
        return 0.0 if self.deviance(0.0) <= float(fine.fun) else ratio


def _between(design: FloatArray, place: IntArray, families: int) -> NDArray[np.bool_]:
    """Which columns are the same within each family, bool [P]; the intercept is."""
    highest = np.full((families, design.shape[1]), -math.inf)
    lowest = np.full((families, design.shape[1]), math.inf)
    np.maximum.at(highest, place, design)
    np.minimum.at(lowest, place, design)
    return np.asarray((highest - lowest).max(0) <= _SAME)


def _plain(design: FloatArray, values: FloatArray) -> Fit:
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ values
    left = values - design @ coefficients
    freedom = len(values) - design.shape[1]
    scale = float(left @ left) / freedom if freedom > 0 else math.nan
    errors = np.sqrt(scale * np.diagonal(inverse))
    return Fit(
        coefficients, errors, np.full(len(errors), float(freedom)), "plain",
        why="all models are of one family",
    )  # fmt: skip


def _clustered(design: FloatArray, values: FloatArray, place: IntArray, why: str) -> Fit:
    """Ordinary least squares; errors of Liang and Zeger 1986 with the usual small correction.

    They are far too small where few families have an attribute (MacKinnon and Webb 2017, "Wild
    bootstrap inference for wildly different cluster sizes"), so an ordinary error that is larger
    takes their place.
    """
    count, width = design.shape
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ values
    left = values - design @ coefficients
    families = int(place.max()) + 1
    scores = np.zeros((families, width))
    np.add.at(scores, place, design * left[:, None])
    factor = families / (families - 1) * (count - 1) / (count - width)
    clustered = factor * np.diagonal(inverse @ (scores.T @ scores) @ inverse)
    ordinary = float(left @ left) / (count - width) * np.diagonal(inverse)
    errors = np.sqrt(np.maximum(clustered, ordinary))
    return Fit(coefficients, errors, np.full(width, float(families - 1)), "clustered", why=why)
