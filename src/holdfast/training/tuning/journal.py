"""The record of all trials: optuna's journal, one line a change, shared by all processes.

A process that is killed leaves at most half a line, which the next writer cuts off, and locks
that the kernel frees. A trial is added by one line with all its values, so that there is either
all of it or nothing; whoever holds the lock of a trial is running it, and a running trial whose
lock is free was left behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import torch

from holdfast.core.errors import MissingError
from holdfast.core.randomness import keys_for
from holdfast.training.tuning.settings import TuningOptions
from holdfast.training.tuning.space import Dimension, Space

JOURNAL_FILE = "journal.log"
_STUDY = "holdfast"
_PROGRESS, _END, _SPENT = "progress", "end", "spent:"
_MISSING = "tuning needs optuna: pip install 'holdfast[tune]'"
Status = Literal["complete", "pruned", "failed", "unfinished"]


def optuna() -> Any:
    """The library.

    Raises:
        MissingError: It is not installed.
    """
    try:
        import optuna as library  # noqa: PLC0415 - slow, and an extra
    except ImportError as error:
        raise MissingError(_MISSING) from error
    return library


@dataclass(frozen=True)
class Trial:
    """One trial as it was recorded.

    Attributes:
        number: From 0 on, in the order in which trials began.
        values: What was drawn, by field; see `Dimension.value`.
        status: complete: ran to its end; pruned: stopped early; failed: could not be trained;
            unfinished: under way, or left behind.
        score: Best of its rows; NaN before the first.
        epochs: Of its last row.
        seconds: What it took, all starts together.
        rungs: Its values at the rungs that it has reached.
        pruned: Whether it was decided to stop it; true shortly before the status says so.
        error: Why it failed.
    """

    number: int
    values: dict[str, Any]
    status: Status = "unfinished"
    score: float = math.nan
    epochs: int = 0
    seconds: float = 0.0
    rungs: tuple[float, ...] = ()
    pruned: bool = False
    error: str = ""


class Journal:
    """Trials in a folder.

    Args:
        folder: Made when it is not there.
        options: Which way is better, and how values are drawn.
        space: Where they are drawn from.
        seed: Of the draws; a trial's depend on its number and on the trials before it.

    Raises:
        MissingError: Optuna is not installed.
    """

    def __init__(self, folder: Path, options: TuningOptions, space: Space, seed: int) -> None:
        self._optuna = optuna()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._options, self._seed = folder, options, seed
        self._distributions = {
            one.field: _distribution(self._optuna, one) for one in space.dimensions
        }
        with filelock.FileLock(folder / ".claim.lock"):
            self._storage = _storage(self._optuna, folder / JOURNAL_FILE)
            with _quiet(self._optuna):
                self._study = self._optuna.create_study(
                    storage=self._storage,
                    study_name=_STUDY,
                    direction="maximize" if options.maximize else "minimize",
                    load_if_exists=True,
                )
        self._id = self._storage.get_study_id_from_name(_STUDY)

    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [_trial(one) for one in self._frozen()]

    @contextmanager
    def claim(self) -> Iterator[Trial | None]:
        """A trial that nobody else runs: one that was left behind, or a new one; None: no more."""
        with filelock.FileLock(self._folder / ".claim.lock"):
            found, lock = self._left_behind()
            if found is None and len(self._frozen()) < (self._options.trials or math.inf):
                found = self._draw()
                lock = self._lock(found.number)
                lock.acquire()
        try:
            yield found
        finally:
            if lock is not None:
                lock.release()

    def report(self, trial: Trial, value: float) -> None:
        """Record `trial` as it is now, with the value that was measured at its last epoch."""
        place = self._place(trial.number)
        self._storage.set_trial_intermediate_value(place, trial.epochs, value)
        self._storage.set_trial_user_attr(place, _PROGRESS, _progress(trial))

    def end(self, trial: Trial) -> None:
        """Record the end of `trial`, which has any status but unfinished."""
        body = {**_progress(trial), "status": trial.status, "error": trial.error}
        self._storage.set_trial_user_attr(self._place(trial.number), _END, body)
        self._tell(trial)

    def spend(self, start: str, seconds: float) -> None:
        """Record how long the start called `start` has been running."""
        self._storage.set_study_user_attr(self._id, f"{_SPENT}{start}", seconds)

    def spent(self) -> float:
        """Seconds of all starts."""
        attrs = self._storage.get_study_user_attrs(self._id)
        return sum(value for key, value in attrs.items() if key.startswith(_SPENT))

    def _frozen(self) -> list[Any]:
        found: list[Any] = self._storage.get_all_trials(self._id, deepcopy=False)
        return found

    def _place(self, number: int) -> int:
        place: int = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        return place

    def _lock(self, number: int) -> filelock.BaseFileLock:
        return filelock.FileLock(self._folder / "trials" / f"{number:05d}.lock")

    def _left_behind(self) -> tuple[Trial | None, filelock.BaseFileLock | None]:
        """Called under the lock of claims: nobody else takes one meanwhile."""
        (self._folder / "trials").mkdir(exist_ok=True)
        for number in self._running():
            lock = self._lock(number)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                continue
            if number in self._running():  # it may have ended just before its lock was free
                trial = self.trials()[number]
                if trial.status == "unfinished":
                    return trial, lock
                self._tell(trial)  # killed between the two lines of an end
            lock.release()
        return None, None

    def _running(self) -> list[int]:
        return [one.number for one in self._frozen() if not one.state.is_finished()]

    def _draw(self) -> Trial:
        """Add a trial; its values are drawn in a copy, as samplers leave traces of their own."""
        number = len(self._frozen())
        word = keys_for(torch.tensor([number]), seed=self._seed, stream="tune")
        draws = int(word.integers(0, 2**31))
        kind = {"tpe": "TPESampler", "random": "RandomSampler"}[self._options.sampler]
        sampler = getattr(self._optuna.samplers, kind)(seed=draws)
        with _quiet(self._optuna):
            copy = self._optuna.create_study(sampler=sampler, direction=self._study.direction)
        copy.add_trials(self._frozen())
        values = copy.ask(self._distributions).params
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=self._optuna.trial.TrialState.RUNNING,
                params=values,
                distributions=self._distributions,
            )
        )
        return Trial(number, values)

    def _tell(self, trial: Trial) -> None:
        states = self._optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        value = trial.score if trial.status == "complete" else None
        self._study.tell(trial.number, value, state=state[trial.status])


def _trial(frozen: Any) -> Trial:
    body: dict[str, Any] = frozen.user_attrs.get(_END) or frozen.user_attrs.get(_PROGRESS) or {}
    body = {**body, "rungs": tuple(body.get("rungs", ()))}
    return Trial(frozen.number, dict(frozen.params), **body)


def _progress(trial: Trial) -> dict[str, Any]:
    names = ("score", "epochs", "seconds", "rungs", "pruned")
    return {name: getattr(trial, name) for name in names}


def _distribution(library: Any, one: Dimension) -> Any:
    kinds = library.distributions
    if one.kind == "choice":
        return kinds.CategoricalDistribution(one.choices)
    if one.kind == "int":
        return kinds.IntDistribution(one.low, one.high, log=one.log)
    return kinds.FloatDistribution(one.low, one.high, log=one.kind == "log")


class _Lock:
    """What optuna's journal asks of a lock; the kernel frees it, optuna's own outlive a kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        _cut_half_line(self._path)
        return True

    def release(self) -> None:
        self._lock.release()


def _storage(library: Any, path: Path) -> Any:
    backend = library.storages.journal.JournalFileBackend(str(path), lock_obj=_Lock(path))
    return library.storages.JournalStorage(backend)


def _cut_half_line(path: Path) -> None:
    """Remove what a killed writer left after the last whole line."""
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without optuna's line about each study."""
    before = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.WARNING)
    try:
        yield
    finally:
        library.logging.set_verbosity(before)


def best_of(trials: Sequence[Trial], *, maximize: bool) -> Trial | None:
    """The best complete trial, the earliest of equals; of the others where none is complete."""
    scored = [one for one in trials if not math.isnan(one.score) and one.status != "failed"]
    among = [one for one in scored if one.status == "complete"] or scored
    sign = -1 if maximize else 1
    return min(among, key=lambda one: (sign * one.score, one.number), default=None)
