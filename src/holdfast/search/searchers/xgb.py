"""Gradient-boosted trees that pick the most promising of random candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.search.predictors.boosting import Goal, Trees
from holdfast.search.predictors.targets import Target, merits, targets
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.searchers.candidates import encoded, need
from holdfast.search.spaces.base import Encoding, Space
from holdfast.search.trials import Trial

_SEEDS = 2**31 - 1  # what XGBoost takes for a seed


@SEARCHERS.register("xgb")
@dataclass
class Boosted:
    """Trees fitted to the history judge random candidates; the best are asked.

    Source: the XGB baseline of Lukasik, Jung and Keuper 2022 ("Learning Where To Look", AG-Net):
    their trees, their numbers of architectures. It differs in that candidates are drawn from
    the space, not from a generator, and the trees are fitted anew to the whole history.

    Attributes:
        initial: Random architectures before the first model.
        batch: Architectures a round.
        candidates: Random candidates of a round.
        depth: Largest depth of a tree.
        rate: Shrinkage of each tree.
        rounds: Trees.
        encoding: What the trees see.
    """

    initial: int = 16
    batch: int = 16
    candidates: int = 100
    depth: int = 6
    rate: float = 0.3
    rounds: int = 500
    encoding: Encoding = "one_hot"

    about: ClassVar[str] = "gradient-boosted trees judge random candidates (Lukasik et al. 2022)"
    goal: ClassVar[Goal] = "value"
    target: ClassVar[Target] = "standard"

    def __post_init__(self) -> None:
        for name in ("initial", "batch", "candidates", "depth", "rounds"):
            need(f"xgb {name}", getattr(self, name), 1)
        need("xgb rate", self.rate, np.finfo(float).tiny)

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """First `initial` random ones, then `batch` a round; see `Searcher`."""
        if len(history) < self.initial:
            return unseen(space, history, rng, self.initial - len(history))
        pool = unseen(space, history, rng, self.candidates)
        if not pool:
            return []
        trees = Trees(self.goal, self.depth, self.rate, self.rounds)
        x = encoded(space, [trial.arch for trial in history], self.encoding)
        at = encoded(space, pool, self.encoding)
        y = targets(merits(history), self.target)
        judged = trees.predict(x, y, at, int(rng.integers(_SEEDS)))
        return [pool[place] for place in np.argsort(-judged, kind="stable")[: self.batch]]
