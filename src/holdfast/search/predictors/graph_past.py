"""A history as AG-Net learns from it: values, constraints, ranks, devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holdfast.search.predictors.graph_generator import Layout
from holdfast.search.predictors.graph_surrogate import (
    Examples,
    encode_cells,
    rank_weights,
    ranks,
)
from holdfast.search.predictors.targets import targets
from holdfast.search.spaces.base import Space
from holdfast.search.spaces.hardware import DEVICES, HardwareNB201
from holdfast.search.trials import Trial

_OVER = 1000  # what a missed constraint multiplies a rank by (the authors' code)


@dataclass(frozen=True)
class Past:
    """Trials that have a value.

    Attributes:
        archs: What was asked, M.
        values: Larger is better; without regard to constraints, float64 [M].
        costs: By how much each constraint is missed, relative to its bound, so that smaller is
            better and 0 or less is kept, float64 [M, K].
        feasible: Whether all were kept, bool [M].
        joint: Whether small costs are wanted, too.
        centred: Whether the surrogate learns values of mean 0 and variance 1; else they are as
            they are, divided by the largest magnitude where that is above 1.
    """

    archs: tuple[str, ...]
    values: np.ndarray
    costs: np.ndarray
    feasible: np.ndarray
    joint: bool = True
    centred: bool = False

    @classmethod
    def of(cls, trials: Sequence[Trial], *, joint: bool = True, centred: bool = False) -> Past:
        """Digest trials whose merit is finite."""
        archs = tuple(trial.arch for trial in trials)
        feasible = np.array([trial.score.feasible for trial in trials])
        costs = np.array([trial.score.excess for trial in trials], dtype=np.float64)
        costs = costs.reshape(len(trials), -1)
        if not costs.shape[1]:
            values = np.array([trial.score.merit for trial in trials])
            return cls(archs, values, costs, feasible, joint, centred)
        # A merit tells of constraints as well; the surrogate learns these from the costs.
        wanted = np.array([trial.score.values for trial in trials], dtype=np.float64)
        if wanted.shape[1] > 1:
            wanted = np.stack([targets(column, "standard") for column in wanted.T], axis=1)
        values = wanted.mean(axis=1)
        return cls(archs, values, costs, feasible, joint, centred)

    @property
    def heads(self) -> int:
        """Numbers that a surrogate says of an architecture: its value, then its costs."""
        return 1 + self.costs.shape[1]

    def learned(self) -> np.ndarray:
        """What the surrogate learns, float64 [M, heads]."""
        columns = np.column_stack((self.values, self.costs))
        shift, scale = self._scales()
        return (columns - shift) / scale

    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        columns = np.column_stack((self.values, self.costs))
        if not self.centred:
            return np.zeros(self.heads), np.abs(columns).max(axis=0).clip(min=1.0)
        spread = columns.std(axis=0)
        return columns.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def places(self) -> np.ndarray:
        """Ranks of the trials, the best 0, by value, costs and constraints, int64 [M]."""
        return ranks(-self._sums(self.values, self.costs, self.feasible))

    def judge(self, said: np.ndarray) -> np.ndarray:
        """What a surrogate's numbers [P, heads] of candidates amount to, the best least, [P]."""
        if not self.costs.shape[1]:
            return -said[:, 0]
        shift, scale = self._scales()
        costs = said[:, 1:] * scale[1:] + shift[1:]
        return self._sums(said[:, 0], costs, (costs <= 0).all(axis=1))

    def _sums(self, values: np.ndarray, costs: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Sum of ranks from 1, times 1000 where a constraint is missed."""
        total = ranks(values) + 1
        if self.joint:
            total = total + sum(ranks(-cost) + 1 for cost in costs.T)
        return np.where(kept, total, total * _OVER)

    def examples(self, space: Space, k: float) -> Examples:
        """The trials with their weights, as tensors."""
        labels, edges = encode_cells(Layout.of(space), [space.graphs(arch) for arch in self.archs])
        return Examples(
            labels,
            edges,
            torch.tensor(self.learned(), dtype=torch.float32),
            condition(space, self.archs),
            torch.tensor(rank_weights(self.places(), k), dtype=torch.float32),
        )


def condition(space: Space, archs: Sequence[str]) -> Tensor:
    """What is known of architectures beside their graphs, float32 [M, D]: which device, if any."""
    whole = space.whole
    if not isinstance(whole, HardwareNB201):
        return torch.zeros(len(archs), 0)
    places = [DEVICES.index(whole.split(arch)[1]) for arch in archs]
    return torch.eye(len(DEVICES))[places]
