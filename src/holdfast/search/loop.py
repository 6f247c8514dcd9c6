"""The loop of a search: it alone owns the budget and the record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.mixing import name_word
from holdfast.search.searchers.base import Remembers, Searcher
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Objective, Trial


@dataclass(frozen=True)
class Problem:
    """Where to search, and what is wanted there."""

    space: Space
    objective: Objective


@dataclass(frozen=True)
class Round:
    """What one proposal led to.

    Attributes:
        trials: The trials of this round, oldest first.
        kept: What the searcher keeps for the next round; empty where the history is enough.
        seconds: What proposing and asking took.
    """

    trials: tuple[Trial, ...]
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)


def rounds(
    problem: Problem,
    searcher: Searcher,
    *,
    budget: int,
    key: tuple[int, int] = (0, 0),
    done: Sequence[Round] = (),
) -> Iterator[Round]:
    """Search, a round at a time, until `budget` architectures were asked.

    A search that goes on after the rounds `done` does what an uninterrupted one would have
    done. It ends early where the searcher has nothing left to propose.

    Args:
        problem: Where to search, and for what; the objective is asked once a trial.
        searcher: Who proposes; this object is left alone, a copy does the work.
        budget: Queries in all, those of `done` included.
        key: Seed and repetition, which with the step decide every draw.
        done: Rounds of the same search that are known, from the first on.

    Raises:
        BadValueError: No budget, or a searcher that proposes what is not in the space.
    """
    if budget < 1:
        raise BadValueError(f"the budget must be 1 query or more, got {budget}")
    worker = cast("Searcher", dataclasses.replace(cast("Any", searcher)))
    history = [trial for one in done for trial in one.trials]
    if done and isinstance(worker, Remembers):
        worker.load(done[-1].kept)
    while len(history) < budget:
        start, began = len(history), time.perf_counter()
        proposed = worker.propose(problem.space, history, generator(*key, start))
        if not proposed:
            return
        trials = tuple(
            Trial(start + place, start, arch, problem.objective(arch))
            for place, arch in enumerate(map(problem.space.check, proposed[: budget - start]))
        )
        history += trials
        kept = worker.save() if isinstance(worker, Remembers) else {}
        yield Round(trials, kept, time.perf_counter() - began)


def search(
    problem: Problem, searcher: Searcher, *, budget: int, key: tuple[int, int] = (0, 0)
) -> list[Trial]:
    """All trials of one search; see `rounds`."""
    found = rounds(problem, searcher, budget=budget, key=key)
    return [trial for one in found for trial in one.trials]


def generator(seed: int, repetition: int, step: int) -> np.random.Generator:
    """Random numbers of the round that begins at `step`; searchers of one seed share them."""
    words = (seed % 2**64, repetition, step, name_word("search"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def incumbents(trials: Sequence[Trial]) -> list[Trial]:
    """The best trial after each query; of equals the first."""
    best: list[Trial] = []
    for trial in trials:
        better = not best or trial.score.merit > best[-1].score.merit
        best.append(trial if better else best[-1])
    return best
