"""Whether one of two beats the other more often than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from holdfast.core.errors import BadValueError


@dataclass(frozen=True)
class WinOdds:
    """How often the first beats the second, with Fisher's exact test.

    Attributes:
        wins: Pairs in which the first is better.
        losses: Pairs in which the second is.
        odds_ratio: Of the table ((wins, losses), (losses, wins)): (wins / losses)^2; infinite
            where none was lost, NaN where there was none.
        p_value: Two-sided.
    """

    wins: int
    losses: int
    odds_ratio: float
    p_value: float


def win_odds(first: ArrayLike, second: ArrayLike) -> WinOdds:
    """Count in how many pairs [N] the first value is larger; ties and NaN count for neither.

    The table is that of Heuillet et al. 2025: wins against losses of the first, over losses
    against wins of the second. Each pair stands in it twice, so Fisher's p-value is smaller than
    that of `sign_test`, which counts a pair once; we report the published one.

    Raises:
        BadValueError: Columns of unlike shapes.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise BadValueError(f"expected two columns of one length, got {one.shape} and {two.shape}")
    wins, losses = int((one > two).sum()), int((one < two).sum())
    if wins + losses == 0:
        return WinOdds(0, 0, math.nan, math.nan)
    ratio = math.inf if losses == 0 else (wins / losses) ** 2
    p = float(stats.fisher_exact([[wins, losses], [losses, wins]]).pvalue)
    return WinOdds(wins, losses, ratio, p)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p-value of so many wins and losses if both were as likely; NaN without any."""
    if wins + losses == 0:
        return math.nan
    return float(stats.binomtest(wins, wins + losses).pvalue)
