"""A whole search: several searchers, many repetitions, in as many processes as there are cores.

Each repetition is a file to which finished rounds are appended, so that a search that was
stopped goes on where it was; more repetitions or searchers later cost only themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import filelock
import polars as pl
from threadpoolctl import threadpool_limits

from holdfast.core.errors import BadValueError, StoreError
from holdfast.core.identity import digest_json
from holdfast.core.processes import cores, workers
from holdfast.core.randomness import checked_seed
from holdfast.core.specs import parse_spec, split_specs
from holdfast.search.analysis.columns import named_columns
from holdfast.search.log import RoundLog
from holdfast.search.loop import Problem, incumbents, rounds
from holdfast.search.objectives import TableObjective, build_objective
from holdfast.search.quantities import Choice, Split
from holdfast.search.searchers.base import Remembers, Searcher, searcher, spec_of
from holdfast.search.tables.loading import open_table
from holdfast.search.tables.table import BenchmarkTable, Card
from holdfast.search.trials import Trial

_PARTS = "parts"
_CHUNK = 5.0  # seconds of work that a process is given at a time
_ALONE = 10.0  # seconds of work in all for which no processes are started
_MOST = 100_000  # queries or repetitions that a person means


@dataclass(frozen=True)
class Plan:
    """Everything that decides a search.

    Attributes:
        table: As `open_table` takes it; several with commas between, of one space, are joined.
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
        score: Columns under which winners are scored afterwards; the main ones where empty.
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
    score: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        for name, said in (("budget", "--budget"), ("repetitions", "--trials")):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _MOST:
                raise BadValueError(f"{said} must be a whole number of 1 to {_MOST:,}, got {value}")
        for name, known in (("select_on", ("validation", "test")), ("missing", ("refuse", "fail"))):
            if getattr(self, name) not in known:
                raise BadValueError(
                    f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}"
                )
        if not self.searchers:
            raise BadValueError("a search needs a searcher, as in --searcher random")


@dataclass(frozen=True)
class Repetition:
    """One finished repetition of one searcher.

    Attributes:
        searcher: As it was typed.
        repetition: Its number, from 0 on.
        trials: All queries.
        seconds: What all queries took, those of an earlier run included.
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


def joined(tables: list[BenchmarkTable]) -> BenchmarkTable:
    """Tables of one space as one, such as accuracies of one source and latencies of another.

    Raises:
        BadValueError: Tables of different spaces.
    """
    if len(tables) == 1:
        return tables[0]
    spaces = {table.card.name: table.space.spec for table in tables}
    if len(set(spaces.values())) > 1:
        told = ", ".join(f"{name} of {space}" for name, space in spaces.items())
        raise BadValueError(f"tables of different spaces cannot be joined: {told}")
    names = " and ".join(spaces)
    card = Card(
        names, names, "; ".join(table.card.source for table in tables),
        verified="; ".join(table.card.verified for table in tables if table.card.verified),
    )  # fmt: skip
    return BenchmarkTable(card, pl.concat([table.frame for table in tables]))


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
        self.table = joined([open_table(text) for text in split_specs(plan.table) or [plan.table]])
        self.objective: TableObjective = build_objective(
            self.table,
            plan.objectives,
            plan.constraints,
            choice=Choice(plan.select_on, plan.given),
            missing=plan.missing,
            unique=plan.unique,
        )
        self.scored = named_columns(self.table, plan.score, plan.given) if plan.score else []

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

    def files(self, place: int) -> str:
        """Pattern of the files that repetitions of the searcher at `place` have in a folder."""
        return f"{_PARTS}/{self.digest}/{digest_json(self.specs[place])[:12]}-*.jsonl"

    def repeat(self, place: int, repetition: int, folder: Path | None) -> Repetition:
        """Run one repetition of the searcher at `place`, or finish it, on one thread."""
        spec, worker = self.specs[place], self.searchers[place]
        log: RoundLog | None = None
        if folder is not None:
            name = f"{digest_json(spec)[:12]}-{repetition:05d}"
            path = folder / _PARTS / self.digest / name
            remembers = isinstance(worker, Remembers)
            log = RoundLog(path, remembers=remembers, budget=self.plan.budget)
        with _one_thread():
            done = [] if log is None else log.read(self.problem)
            found = list(done)
            key = (self.plan.seed, repetition)
            for one in rounds(self.problem, worker, budget=self.plan.budget, key=key, done=done):
                found.append(one)
                if log is not None:
                    log.add(one)
        if log is not None:
            log.close()
        trials = [trial for one in found for trial in one.trials]
        known = sum(len(one.trials) for one in done)
        seconds = sum(one.seconds for one in found)
        return Repetition(self.names[place], repetition, trials, seconds, known)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep numerical libraries to one thread: the arrays of a searcher are too small for more."""
    torch = sys.modules.get("torch")  # a searcher that needs it has imported it
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(limits=1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def run(prepared: Prepared, *, folder: Path | None = None, jobs: int = 0) -> Iterator[Repetition]:
    """Run all repetitions of all searchers, in any order.

    Args:
        prepared: What to do.
        folder: Where finished rounds are kept, so that the search can go on later; one search
            at a time.
        jobs: Processes; as many as there are cores, where there is enough to do, if 0.

    Raises:
        BadValueError: Fewer than 0 jobs.
        StoreError: The folder cannot be written, or another search is writing into it.
    """
    if type(jobs) is not int or jobs < 0:
        raise BadValueError(f"--jobs must be 0 (as many as there are cores) or more, got {jobs}")
    if folder is None:
        yield from _run(prepared, None, jobs)
        return
    with _alone_in(folder):
        yield from _run(prepared, folder, jobs)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    lock = filelock.FileLock(folder / _PARTS / ".lock")
    try:
        (folder / _PARTS).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise StoreError(
            f"another search is writing into {folder}: wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _run(prepared: Prepared, folder: Path | None, jobs: int) -> Iterator[Repetition]:
    repetitions = prepared.plan.repetitions
    many = min(jobs or cores(), repetitions * len(prepared.specs))
    left: list[tuple[int, range]] = []
    costs = 0.0
    for place in range(len(prepared.specs)):
        first = prepared.repeat(place, 0, folder)  # tells how long one takes
        yield first
        begun = len(list(folder.glob(prepared.files(place)))) if folder else 1
        costs += first.seconds * max(0, repetitions - begun)
        step = max(1, min(repetitions, int(_CHUNK / max(first.seconds, 1e-3))))
        left += [
            (place, range(begin, min(begin + step, repetitions)))
            for begin in range(1, repetitions, step)
        ]
    if many == 1 or (jobs == 0 and costs < _ALONE) or not left:
        for place, numbers in left:
            for number in numbers:
                yield prepared.repeat(place, number, folder)
        return
    yield from _in_processes(prepared.plan, left, folder, many)


def _in_processes(
    plan: Plan, left: list[tuple[int, range]], folder: Path | None, jobs: int
) -> Iterator[Repetition]:
    with workers(jobs, _begin, plan) as pool:
        waiting = [pool.submit(_work, place, numbers, folder) for place, numbers in left]
        for done in as_completed(waiting):
            yield from done.result()


_WORKER: list[Prepared] = []  # of a worker process: what it was begun with


def _begin(plan: Plan) -> None:
    _WORKER[:] = [Prepared(plan)]


def _work(place: int, numbers: range, folder: Path | None) -> list[Repetition]:
    return [_WORKER[0].repeat(place, number, folder) for number in numbers]
