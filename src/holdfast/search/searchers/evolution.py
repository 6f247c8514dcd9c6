"""Regularized evolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Trial

_PATIENCE = 100  # mutations of one parent before a random architecture takes the turn


@SEARCHERS.register("evolution")
@dataclass(frozen=True)
class RegularizedEvolution:
    """Mutate the best of a random handful of the youngest; the oldest dies, not the worst.

    As published, a child may be what was asked before, even its parent, and the query counts.
    `again=False` mutates such a child further until it is new, which finds better architectures
    in the same budget.

    Source: Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search";
    settings of naszilla (10 random, population 30, tournament 10, rate 1), which redraws each
    place with probability rate / places. Differs: a mutation is as many steps to a neighbour as
    there would have been changes, so that one rule serves every space.

    Attributes:
        initial: Random architectures to begin with.
        population: How many of the youngest are alive.
        tournament: How many of these compete to be the parent.
        rate: Changes that a mutation makes on average.
        again: Whether a child may have been asked before.
    """

    about: ClassVar[str] = "regularized evolution (Real et al. 2019)"
    initial: int = 10
    population: int = 30
    tournament: int = 10
    rate: float = 1.0
    again: bool = True

    def __post_init__(self) -> None:
        if min(self.initial, self.population, self.tournament) < 1:
            raise BadValueError(
                "evolution needs initial, population and tournament of 1 or more, got "
                f"{self.initial}, {self.population}, {self.tournament}"
            )
        if not 0 < self.rate < float("inf"):
            raise BadValueError(f"evolution rate must be above 0, got {self.rate}")

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """See `Searcher`."""
        if len(history) < self.initial:
            return unseen(space, history, rng, self.initial - len(history))
        parent = self._parent(history, rng)
        child = self._mutated(space, parent, rng)
        if self.again:
            return [child]
        seen = {space.key(trial.arch) for trial in history}
        for _ in range(_PATIENCE):
            if space.key(child) not in seen:
                return [child]
            child = space.mutate(child, rng)
        return unseen(space, history, rng, 1)

    def _parent(self, history: Sequence[Trial], rng: np.random.Generator) -> str:
        alive = history[-self.population :]
        rivals = rng.choice(len(alive), min(self.tournament, len(alive)), replace=False)
        # Of equals the youngest wins, whatever the order of the draw.
        return alive[max(rivals, key=lambda place: (alive[place].score.merit, place))].arch

    def _mutated(self, space: Space, arch: str, rng: np.random.Generator) -> str:
        places = max(1, (space.most_nodes - 2) * space.graphs_each)
        for _ in range(int(rng.binomial(places, min(1.0, self.rate / places)))):
            arch = space.mutate(arch, rng)
        return arch
