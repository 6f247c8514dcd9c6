"""One number for a model out of many accuracies: Borda counts, sums, products.

A table [N, C] has a row a model and a column a condition; NaN is what was not measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import FloatArray

NEAR_CHANCE = 0.12  # of ten equal classes a tenth, with what sampling adds
_CLOSE = 1 / 3  # of the median: a quarter of the images may be missing, and a few more differ
_FEWEST = 3  # conditions that a verdict needs
_FORGIVING = 4  # conditions from which one may stray
_ROUNDING = 1e-9


def borda(accuracies: ArrayLike) -> FloatArray:
    """Sum over conditions of a model's rank from below, ties at their least place, [N].

    The worst gets 1 in each condition and the best N. A model that was not measured in some
    condition gets NaN, and ranks there are among the others.

    Beware: where most models fall to 0 % under attack, they share the first place from below, and
    a model that gives one answer to everything stands above them all; see `fair_borda`.

    Raises:
        BadValueError: Not a table.

    Source: Heuillet et al. 2025, arXiv:2508.14079, MaxHeuillet/robust_training.
    """
    return _summed(_table(accuracies), "min")


def fair_borda(accuracies: ArrayLike, constant: ArrayLike) -> FloatArray:
    """The same with mid-ranks, and place 1 wherever the model gives a constant answer, [N].

    Ours. Mid-ranks give tied models the mean of the places that they take, so that being one of
    many at 0 % costs no more than it should.

    Args:
        accuracies: [N, C].
        constant: Whether an accuracy comes from a constant answer, bool [N, C] or [N].

    Raises:
        BadValueError: Not a table, or shapes that do not fit.
    """
    table = _table(accuracies)
    flags = np.asarray(constant, dtype=bool)
    if flags.ndim == 1:
        flags = flags[:, None]
    if flags.shape[0] != len(table) or flags.shape[1] not in {1, table.shape[1]}:
        raise BadValueError(f"constants of the shape {flags.shape} do not fit {table.shape}")
    flags = np.broadcast_to(flags, table.shape)
    lowered = np.where(flags & np.isfinite(table), -np.inf, table)
    ranks = _ranks(lowered, "average")
    ranks[np.isneginf(lowered)] = 1.0
    return np.asarray(ranks.sum(1))


def constant_answers(accuracies: ArrayLike, *, near: float = NEAR_CHANCE) -> NDArray[np.bool_]:
    """Whether each model looks as if it gave one answer to every image of a data set, [N].

    Nothing changes the accuracy of a constant answer, not even an attack, and it is low. So: no
    accuracy lies above `near`, and all lie within a third of their median. Of four conditions or
    more, one may stray: published tables hold accuracies over part of the images. A model
    that attacks bring from 2 % to 0 % is weak and no constant. Fewer than three conditions never
    tell. Where one class has more than `near` of the images, constants go undetected.

    Raises:
        BadValueError: Not a table.
    """
    table = _table(accuracies)
    found = np.zeros(len(table), dtype=bool)
    for place, row in enumerate(table):
        known = row[np.isfinite(row)]
        if len(known) < _FEWEST or known.max() > near:
            continue
        middle = float(np.median(known))
        astray = int((np.abs(known - middle) > _CLOSE * middle + _ROUNDING).sum())
        found[place] = astray <= (1 if len(known) >= _FORGIVING else 0)
    return found


def score_sum(accuracies: ArrayLike) -> FloatArray:
    """Sum of the accuracies of each model, [N]; NaN where one is missing.

    Raises:
        BadValueError: Not a table.
    """
    return np.asarray(_table(accuracies).sum(1))


def geometric_mean(accuracies: ArrayLike) -> FloatArray:
    """Geometric mean of the accuracies of each model, [N]: 0 where one is 0, NaN where missing.

    Raises:
        BadValueError: Not a table.
    """
    table = _table(accuracies)
    if table.shape[1] == 0:
        return np.full(len(table), np.nan)
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(table).mean(1)))


def product_sum(accuracies: ArrayLike) -> FloatArray:
    """Sum over data sets of the product of the accuracies there, [N] of [N, data sets, metrics].

    Raises:
        BadValueError: Another number of dimensions.

    Source: `geom` of Heuillet et al. 2025.
    """
    block = np.asarray(accuracies, dtype=np.float64)
    if block.ndim != 3:
        raise BadValueError(f"expected [models, data sets, metrics], got the shape {block.shape}")
    return np.asarray(block.prod(2).sum(1))


def _table(accuracies: ArrayLike) -> FloatArray:
    table = np.asarray(accuracies, dtype=np.float64)
    if table.ndim != 2:
        raise BadValueError(f"expected a table [models, conditions], got the shape {table.shape}")
    return table


def _summed(table: FloatArray, ties: str) -> FloatArray:
    return np.asarray(_ranks(table, ties).sum(1))


def _ranks(table: FloatArray, ties: str) -> FloatArray:
    if table.size == 0:
        return np.full(table.shape, np.nan)
    return np.asarray(stats.rankdata(table, method=ties, axis=0, nan_policy="omit"), float)
