"""Bayesian optimisation with a Gaussian process and expected improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.search.predictors.gaussian_process import Kernel, fit, greedy_batch
from holdfast.search.predictors.targets import Target, merits, targets
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.searchers.candidates import best_first, encoded, mutants, need, seen_in
from holdfast.search.spaces.base import Encoding, Space
from holdfast.search.trials import Trial


@SEARCHERS.register("bayesian")
@dataclass
class Bayesian:
    """Bayesian optimisation with a Gaussian process over encodings.

    Source: Jones, Schonlau and Welch 1998 (expected improvement); rounds of several by the
    kriging believer of Ginsbourger et al. 2010. Candidates are random architectures and
    mutants of the best ones; length and noise are those of the largest marginal likelihood.

    Attributes:
        initial: Random architectures before the first model.
        batch: Architectures a round.
        encoding: What the process sees.
        kernel: See `kernel_matrix`.
        target: Scale of what it learns; see `targets`.
        parents: Best architectures that are mutated.
        candidates: Random candidates of a round, and mutants at least as many while there are.
        changes: Mean number of changes of a mutant beyond the first.
    """

    initial: int = 10
    batch: int = 5
    encoding: Encoding = "one_hot"
    kernel: Kernel = "hamming"
    target: Target = "normal"
    parents: int = 5
    candidates: int = 100
    changes: float = 0.8

    about: ClassVar[str] = "Gaussian process, expected improvement (Jones et al. 1998)"

    def __post_init__(self) -> None:
        # Two points are the fewest of which a process can learn a length.
        need("bayesian initial", self.initial, 2)
        for name in ("batch", "parents", "candidates"):
            need(f"bayesian {name}", getattr(self, name), 1)
        need("bayesian changes", self.changes, 0, 100)

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """First `initial` random ones, then `batch` a round; see `Searcher`."""
        if len(history) < self.initial:
            return unseen(space, history, rng, self.initial - len(history))
        seen = seen_in(space, history)
        parents = best_first(history)[: self.parents]
        pool = mutants(space, parents, seen, rng, self.candidates, self.changes)
        pool += [
            arch
            for arch in unseen(space, history, rng, self.candidates)
            if space.key(arch) not in seen
        ]
        if not pool:
            return []
        y = targets(merits(history), self.target)
        process = fit(
            encoded(space, [trial.arch for trial in history], self.encoding), y, self.kernel
        )
        at = encoded(space, pool, self.encoding)
        return [pool[place] for place in greedy_batch(process, at, float(y.max()), self.batch)]
