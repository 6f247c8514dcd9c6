"""Statistics of many models at once: places, scores, groups, odds. NumPy and SciPy alone."""

from holdfast.explain.statistics.effective import Effective, effective_robustness
from holdfast.explain.statistics.letters import compact_letters
from holdfast.explain.statistics.multiplicity import holm
from holdfast.explain.statistics.odds import WinOdds, sign_test, win_odds
from holdfast.explain.statistics.places import rank_diff, rank_places
from holdfast.explain.statistics.scores import (
    borda,
    constant_answers,
    fair_borda,
    geometric_mean,
    product_sum,
    score_sum,
)
from holdfast.explain.statistics.variance import FTest, Grouped, grouped, nested, one_way, tukey

__all__ = [
    "Effective",
    "FTest",
    "Grouped",
    "WinOdds",
    "borda",
    "compact_letters",
    "constant_answers",
    "effective_robustness",
    "fair_borda",
    "geometric_mean",
    "grouped",
    "holm",
    "nested",
    "one_way",
    "product_sum",
    "rank_diff",
    "rank_places",
    "score_sum",
    "sign_test",
    "tukey",
    "win_odds",
]
