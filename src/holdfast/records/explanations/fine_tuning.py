"""The robust fine-tuning grid of Heuillet et al. 2025, as one study."""

from __future__ import annotations

import math
from typing import Any

from pydantic import model_validator

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value
from holdfast.records.explanations.rules import GroupTest


class Configuration(Part):
    """A backbone with a loss under one protocol, over all data sets.

    Attributes:
        backbone: Its id.
        loss: TRADES or Classic AT, as in the table.
        size: small, medium or large.
        kind: convolutional, attention or hybrid.
        strategy: Of pretraining.
        borda: Sum over metrics and data sets of its rank from below, ties at their least place.
        fair_borda: The same with mid-ranks, and least places where it answers a constant.
        score_sum: Sum of the accuracies.
        geometric: Sum over data sets of the product of the five accuracies.
        constant: In how many data sets it looks like a constant answer.
        means: Mean accuracy over data sets, one a metric.
    """

    backbone: str
    loss: str
    size: str
    kind: str
    strategy: str
    borda: int
    fair_borda: Number
    score_sum: Number
    geometric: Number
    constant: int
    means: tuple[Number, ...]


class Odds(Part):
    """How often one loss beats the other, within a group."""

    group: str
    wins: int
    losses: int
    odds_ratio: Number  # of the table (wins, losses; losses, wins); infinite where none lost
    p_value: Number

    @model_validator(mode="before")
    @classmethod
    def _infinite(cls, data: Any) -> Any:
        """JSON has no infinity and holds null; the counts tell it from no data."""
        if isinstance(data, dict) and data.get("odds_ratio") is None:
            lossless = data.get("wins") and not data.get("losses")
            return {**data, "odds_ratio": math.inf if lossless else math.nan}
        return data


class BestOf(Part):
    """Best configuration of a data set: highest Borda there, then the highest sum.

    Attributes:
        dataset: Its name.
        backbone: Of the best.
        loss: Of the best.
        accuracies: Of the best, one a metric.
        tied: Others with the same Borda, `backbone with loss`.
    """

    dataset: str
    backbone: str
    loss: str
    accuracies: tuple[Number, ...]
    tied: tuple[str, ...] = ()


class Protocol(Part):
    """One protocol: FFT-50, FFT-5 or LP-50.

    Attributes:
        name: Short.
        means: Mean accuracy over all configurations, one a metric.
        spearman: Between metrics over all rows, [M][M].
        mac: Mean absolute correlation off the diagonal, averaged over data sets.
        configurations: Highest Borda first.
        groups: Analyses of variance of Borda, one a factor.
        nested: p-values of a nested analysis, by `outer/inner` and `outer`.
        odds: TRADES against classic adversarial training by size.
        best: Of each data set.
        chance: Rows whose clean accuracy is below 2 %.
    """

    name: str
    means: tuple[Number, ...]
    spearman: tuple[tuple[Number, ...], ...]
    mac: Number
    configurations: tuple[Configuration, ...]
    groups: tuple[GroupTest, ...]
    nested: dict[str, Number]
    odds: tuple[Odds, ...]
    best: tuple[BestOf, ...]
    chance: int


class Proxy(Part):
    """How well a cheap protocol ranks what the dear one ranks."""

    cheap: str
    dear: str
    group: str  # all, TRADES or Classic AT
    spearman: Value


class FineTuning(Explanation):
    """The whole grid.

    Attributes:
        metrics: Names of the accuracies, the order of every tuple of them.
        rows: Of the table.
        protocols: Each on its own.
        proxies: Of the cheap protocols.
        lost_workers: Accuracies that are no multiples of the usual test size.
        headline: The answer in one sentence.
        mac_global: Mean absolute correlation of the metrics over all rows of the first
            protocol, data sets together.
        datasets: In alphabetical order.
    """

    metrics: tuple[str, ...]
    rows: int
    protocols: tuple[Protocol, ...]
    proxies: tuple[Proxy, ...]
    lost_workers: int = 0
    headline: str = ""
    mac_global: Number = math.nan
    datasets: tuple[str, ...] = ()
