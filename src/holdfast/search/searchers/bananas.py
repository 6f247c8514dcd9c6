"""BANANAS: an ensemble of networks over path encodings, and Thompson sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.search.predictors.ensemble import Ensemble, Training
from holdfast.search.predictors.targets import Target, merits, targets
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.searchers.candidates import (
    best_first,
    encoded,
    mutants,
    need,
    path_or_next,
    seen_in,
)
from holdfast.search.spaces.base import Encoding, Space
from holdfast.search.trials import Trial


@SEARCHERS.register("bananas")
@dataclass
class Bananas:
    """Bayesian optimisation with neural networks.

    Source: White, Neiswanger and Savani 2021, "BANANAS", with the settings of the authors' code:
    an ensemble is trained on all that was asked, candidates are mutants of the best, and
    each candidate is judged by one draw from a normal with the ensemble's mean and spread
    (independent Thompson sampling).

    Attributes:
        initial: Random architectures before the first model.
        batch: Architectures a round.
        members: Networks of the ensemble.
        epochs: Passes over the data when the ensemble is trained.
        encoding: What the networks see; a space without paths gives `adjacency`, else `one_hot`.
        paths: Only the first numbers of the encoding; all where None. The authors' code keeps the
            first 30 of NAS-Bench-201, which leaves out the paths of three edges.
        target: Scale of what they learn; see `targets`.
        parents: Best architectures that may be mutated.
        candidates: Mutations tried of each, until as many are found.
        changes: Mean number of changes beyond the first; 0.8 gives about the numbers that the
            authors' code gives on NAS-Bench-201, where each edge changes with probability 1/4.
    """

    initial: int = 10
    batch: int = 10
    members: int = 5
    epochs: int = 150
    encoding: Encoding = "path"
    paths: int | None = None
    target: Target = "standard"
    parents: int = 5
    candidates: int = 100
    changes: float = 0.8

    about: ClassVar[str] = "BANANAS: ensemble over paths, Thompson sampling (White et al. 2021)"

    def __post_init__(self) -> None:
        for name in ("initial", "batch", "members", "epochs", "parents", "candidates"):
            need(f"bananas {name}", getattr(self, name), 1)
        need("bananas changes", self.changes, 0, 100)
        if self.paths is not None:
            need("bananas paths", self.paths, 1)

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """First `initial` random ones, then `batch` a round; see `Searcher`."""
        if len(history) < self.initial:
            return unseen(space, history, rng, self.initial - len(history))
        parents = best_first(history)[: self.parents]
        pool = mutants(space, parents, seen_in(space, history), rng, self.candidates, self.changes)
        if not pool:
            return unseen(space, history, rng, self.batch)
        opinions = self.opinions(space, history, pool, rng)
        drawn = rng.normal(opinions.mean(axis=0), opinions.std(axis=0))
        return [pool[place] for place in np.argsort(-drawn, kind="stable")[: self.batch]]

    def opinions(
        self, space: Space, history: Sequence[Trial], pool: Sequence[str], rng: np.random.Generator
    ) -> np.ndarray:
        """What each network, trained on the history, says of each candidate: [members, N]."""
        how = path_or_next(space, pool[0], self.encoding)
        x = encoded(space, [trial.arch for trial in history], how)[:, : self.paths]
        at = encoded(space, pool, how)[:, : self.paths]
        y = targets(merits(history), self.target)
        ensemble = Ensemble(self.members, x.shape[1], Training(epochs=self.epochs), rng)
        return ensemble.fit(x, y, rng).predict(at).astype(np.float64)
