"""Local search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Trial


@SEARCHERS.register("local")
@dataclass
class LocalSearch:
    """Climb from the best of a few random starts; begin anew where no neighbour is better.

    Neighbours are asked one at a time in random order, and the first that is better is moved to.
    Neighbours that were asked before are neither asked again nor moved to.

    Source: White et al. 2021, "Exploring the Loss Landscape in Neural Architecture Search";
    settings of naszilla.

    Attributes:
        starts: Random architectures of which the best is climbed from.
    """

    about: ClassVar[str] = "first-improvement local search with restarts (White et al. 2021)"
    starts: int = 10
    _climb: _Climb | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.starts < 1:
            raise BadValueError(f"local starts must be 1 or more, got {self.starts}")

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """See `Searcher`."""
        if self._climb is None or not self._climb.goes_on(space, history):
            self._climb = _Climb(space, self.starts)
        self._climb.read(history)
        if self._climb.missing:
            return unseen(space, history, rng, self._climb.missing)
        near = self._climb.near
        return [near[int(rng.integers(len(near)))]]


class _Climb:
    """Where the search stands, as the history tells: kept only to save reading it again.

    Attributes:
        missing: Random starts of this climb that were not asked yet.
        near: Neighbours of the best place of this climb that were not asked yet.
    """

    def __init__(self, space: Space, starts: int) -> None:
        self.space = space
        self.starts = starts
        self.missing = starts
        self.near: list[str] = []
        self._best: Trial | None = None
        self._seen: set[str] = set()
        self._read: list[Trial] = []

    def goes_on(self, space: Space, history: Sequence[Trial]) -> bool:
        """Whether what was read is the beginning of `history`."""
        return space is self.space and list(history[: len(self._read)]) == self._read

    def read(self, history: Sequence[Trial]) -> None:
        """Take in the trials that are new."""
        for trial in history[len(self._read) :]:
            self._read.append(trial)
            self._seen.add(self.space.key(trial.arch))
            self._take(trial)

    def _take(self, trial: Trial) -> None:
        starting = self.missing > 0
        self.missing = max(0, self.missing - 1)
        better = self._best is None or trial.score.merit > self._best.score.merit
        if better:
            self._best = trial
        if self.missing or self._best is None:
            return
        moved = better or starting
        open_ = self.space.neighbours(self._best.arch) if moved else self.near
        self.near = [arch for arch in open_ if self.space.key(arch) not in self._seen]
        if not self.near:  # a summit
            self.missing, self._best = self.starts, None
