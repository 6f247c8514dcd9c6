"""Gradient-boosted trees over encoded architectures, by the XGBoost library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from holdfast.core.errors import MissingError

Goal = Literal["value", "order"]
_OBJECTIVES: dict[Goal, str] = {"value": "reg:squarederror", "order": "rank:pairwise"}


@dataclass(frozen=True)
class Trees:
    """Settings of the trees (Chen and Guestrin 2016).

    Attributes:
        goal: `value` fits the targets by squared error; `order` fits only their order, pair by
            pair (LambdaMART, Burges 2010).
        depth: Largest depth of a tree.
        rate: Shrinkage of each tree.
        rounds: How many trees.
    """

    goal: Goal = "value"
    depth: int = 6
    rate: float = 0.3
    rounds: int = 500

    def predict(self, x: np.ndarray, y: np.ndarray, at: np.ndarray, seed: int) -> np.ndarray:
        """Fit x [N, D] to y [N], and say what that gives at rows of `at` [M, D]: float32 [M].

        Args:
            x: Encodings.
            y: Targets, larger is better.
            at: Encodings of candidates.
            seed: Decides which pairs `order` compares; `value` draws nothing.

        Raises:
            MissingError: XGBoost is not installed.
        """
        xgboost = _library()
        data = xgboost.DMatrix(x, label=y, nthread=1)
        if self.goal == "order":
            data.set_group([len(x)])
        settings = {
            "objective": _OBJECTIVES[self.goal],
            "max_depth": self.depth,
            "eta": self.rate,
            "tree_method": "exact",
            "nthread": 1,
            "seed": seed,
            "verbosity": 0,
        }
        trees = xgboost.train(settings, data, num_boost_round=self.rounds)
        return np.asarray(trees.predict(xgboost.DMatrix(at, nthread=1)))


def _library() -> Any:
    try:
        import xgboost  # noqa: PLC0415 - only two searchers need it
    except ImportError:
        raise MissingError(
            "this searcher needs XGBoost, which is not installed: "
            "run pip install 'holdfast[search]', or use another searcher"
        ) from None
    return xgboost
