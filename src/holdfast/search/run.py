"""A whole search: several searchers, many repetitions, in as many processes as there are cores.

Each repetition is a file to which finished rounds are appended, so that a search that was
stopped goes on where it was; more repetitions or searchers later cost only themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from holdfast.core.errors import BadValueError
from holdfast.core.identity import digest_json
from holdfast.core.randomness import checked_seed
from holdfast.core.specs import parse_spec
from holdfast.search.log import RoundLog
from holdfast.search.loop import Problem, incumbents, rounds
from holdfast.search.objectives import Choice, Split, TableObjective, build_objective
from holdfast.search.searchers.base import Remembers, Searcher, searcher, spec_of
from holdfast.search.tables.loading import open_table
from holdfast.search.tables.table import BenchmarkTable
from holdfast.search.trials import Trial

_PARTS = "parts"
_CHUNK = 5.0  # seconds of work that a process is given at a time
_ALONE = 10.0  # seconds of work in all for which no processes are started
_MOST = 100_000  # repetitions that a person means


@dataclass(frozen=True)
class Plan:
    """Everything that decides a search.

    Attributes:
        table: As `open_table` takes it.
        objectives: Texts of `read_quantity`; several for a Pareto front.
        searchers: Texts of `searcher`.
        constraints: Texts of `read_constraint`.
        budget: Queries of a repetition.
        repetitions: Of each searcher.
        seed: Decides, with the number of a repetition, every draw.
        select_on: Split that searchers may see.
        given: Keys of columns where a text does not say: dataset, training, epochs.
        missing: What an architecture without a value is: a reason to stop, or a failed query.
        unique: Draw each class of equal architectures with the same probability.
    """

    table: str
    objectives: tuple[str, ...]
    searchers: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    budget: int = 192
    repetitions: int = 10
    seed: int = 0
    select_on: Split = "validation"
    given: Mapping[str, object] = field(default_factory=dict)
    missing: Literal["refuse", "fail"] = "refuse"
    unique: bool = False

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        for name in ("budget", "repetitions"):
            if not 1 <= getattr(self, name) <= _MOST:
                raise BadValueError(f"{name} must be 1 to {_MOST:,}, got {getattr(self, name)}")
        if not self.searchers:
            raise BadValueError("a search needs a searcher, as in --searcher random")


@dataclass(frozen=True)
class Repetition:
    """One finished repetition of one searcher.

    Attributes:
        searcher: As it was typed.
        repetition: Its number, from 0 on.
        trials: All queries.
        seconds: What the queries that were made now took.
        known: Queries that an earlier run had made.
    """

    searcher: str
    repetition: int
    trials: list[Trial]
    seconds: float
    known: int = 0

    @property
    def best(self) -> Trial:
        """Where it ended."""
        return incumbents(self.trials)[-1]


class Prepared:
    """A plan whose table was read and whose texts were understood.

    Raises:
        HoldfastError: The first thing of the plan that cannot be done.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.searchers: list[Searcher] = [searcher(text) for text in plan.searchers]
        self.specs = [spec_of(one) for one in self.searchers]
        self.names = [str(parse_spec(text)) for text in plan.searchers]
        twice = [spec for spec in self.specs if self.specs.count(spec) > 1]
        if twice:
            raise BadValueError(f"{twice[0]} is named twice; name it once")
        self.table: BenchmarkTable = open_table(plan.table)
        self.objective: TableObjective = build_objective(
            self.table,
            plan.objectives,
            plan.constraints,
            choice=Choice(plan.select_on, plan.given),
            missing=plan.missing,
            unique=plan.unique,
        )

    @cached_property
    def problem(self) -> Problem:
        """Where to search, and for what."""
        return Problem(self.objective.space, self.objective)

    @cached_property
    def digest(self) -> str:
        """What the trials of a repetition hang on, the searcher apart."""
        quantities = [*self.objective.quantities, *(c.quantity for c in self.objective.constraints)]
        body = {
            "space": self.objective.space.spec,
            "columns": [
                [[str(column), term.weight] for term in one.terms for column in term.columns]
                for one in quantities
            ],
            "directions": [one.maximize for one in quantities],
            "bounds": [[one.upper, one.bound] for one in self.objective.constraints],
            "scores": self.objective.digest,
            "budget": self.plan.budget,
            "seed": self.plan.seed,
        }
        return digest_json(body)[:20]

    def repeat(self, place: int, repetition: int, folder: Path | None) -> Repetition:
        """Run one repetition of the searcher at `place`, or finish it."""
        spec, worker = self.specs[place], self.searchers[place]
        path = (
            folder and folder / _PARTS / self.digest / f"{digest_json(spec)[:12]}-{repetition:05d}"
        )
        log = RoundLog(path, remembers=isinstance(worker, Remembers), budget=self.plan.budget)
        done = log.read()
        known = sum(len(one.trials) for one in done)
        began = time.perf_counter()
        found = list(done)
        key = (self.plan.seed, repetition)
        for one in rounds(self.problem, worker, budget=self.plan.budget, key=key, done=done):
            found.append(one)
            log.add(one)
        log.close()
        trials = [trial for one in found for trial in one.trials]
        return Repetition(self.names[place], repetition, trials, time.perf_counter() - began, known)


def run(prepared: Prepared, *, folder: Path | None = None, jobs: int = 0) -> Iterator[Repetition]:
    """Run all repetitions of all searchers, in any order.

    Args:
        prepared: What to do.
        folder: Where finished rounds are kept, so that the search can go on later.
        jobs: Processes; as many as there are cores, where there is enough to do, if 0.

    Raises:
        BadValueError: Fewer than 0 jobs.
        StoreError: The folder cannot be written.
    """
    if jobs < 0:
        raise BadValueError(f"--jobs must be 0 (as many as there are cores) or more, got {jobs}")
    repetitions = prepared.plan.repetitions
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else _cores()
    many = min(jobs or cores or 1, repetitions * len(prepared.specs))
    left: list[tuple[int, range]] = []
    costs = 0.0
    for place in range(len(prepared.specs)):
        first = prepared.repeat(place, 0, folder)  # tells how long one takes
        yield first
        costs += first.seconds * (repetitions - 1)
        step = max(1, min(repetitions, int(_CHUNK / max(first.seconds, 1e-3))))
        left += [
            (place, range(begin, min(begin + step, repetitions)))
            for begin in range(1, repetitions, step)
        ]
    if many == 1 or costs < _ALONE:
        for place, numbers in left:
            for number in numbers:
                yield prepared.repeat(place, number, folder)
        return
    yield from _in_processes(prepared.plan, left, folder, many)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    plan: Plan, left: list[tuple[int, range]], folder: Path | None, jobs: int
) -> Iterator[Repetition]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(plan,)) as pool:
        waiting: list[Future[list[Repetition]]] = [
            pool.submit(_work, place, numbers, folder) for place, numbers in left
        ]
        try:
            for done in as_completed(waiting):
                yield from done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_WORKER: list[Prepared] = []  # of a worker process: what it was begun with


def _begin(plan: Plan) -> None:
    import torch  # noqa: PLC0415 - a core a process

    torch.set_num_threads(1)
    _WORKER[:] = [Prepared(plan)]


def _work(place: int, numbers: range, folder: Path | None) -> list[Repetition]:
    return [_WORKER[0].repeat(place, number, folder) for number in numbers]
