"""Gradient-boosted trees that learn the order of architectures, not their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.search.predictors.boosting import Goal
from holdfast.search.searchers.base import SEARCHERS
from holdfast.search.searchers.xgb import Boosted


@SEARCHERS.register("xgb_ranking")
@dataclass
class BoostedRanking(Boosted):
    """As `xgb`, with the pairwise loss of LambdaMART (Burges 2010).

    Source: the idea of the XGB-ranking variant of Lukasik, Jung and Keuper 2022. Their trees keep
    the squared error and their ranking loss (rate 0.01, 20 steps) moves the generator alone; here
    the trees themselves learn the order. Attributes are those of `xgb`.
    """

    rounds: int = 100

    about: ClassVar[str] = "gradient-boosted trees that learn the order judge random candidates"
    goal: ClassVar[Goal] = "order"
