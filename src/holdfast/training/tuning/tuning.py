"""Looking for settings: trials of a recipe in one folder, by as many processes as are wanted.

Processes meet in the folder alone (see `journal`), so that a second command on the same folder
helps the first, and one that was killed goes on where it was. With one job everything that is
drawn and decided is the same whether the process was killed or not.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.core.errors import BadValueError
from holdfast.training.recipe import Recipe
from holdfast.training.tuning.journal import Journal, Trial
from holdfast.training.tuning.pool import finished
from holdfast.training.tuning.results import TuningResult, keep_asked, summarize, write_result
from holdfast.training.tuning.runner import Runner
from holdfast.training.tuning.settings import TuningOptions, score_of
from holdfast.training.tuning.space import Space

_HOPELESS = 10  # first trials that all fail before it is the recipe's fault
_SLACK = 1e-6  # of epochs, which are quotients


@dataclass(frozen=True)
class Start:
    """One call of `Tuning.run`: its name, and when it began and ends in seconds since 1970."""

    name: str
    begun: float
    ends: float


class Tuning:
    """Trials of a recipe with values from a space.

    Args:
        recipe: What all trials share, the seed included.
        space: What they differ in.
        folder: Holds everything: `trials/NUMBER` of each run, the journal, and what `result`
            writes; made when it is not there.
        options: How to look.
        runner: What trains a trial.

    Raises:
        MissingError: Optuna is not installed.
        HoldfastError: The space does not fit the recipe, or the metric is never measured.
        ChangedInputError: The folder holds trials of another recipe, space or way to look.
    """

    def __init__(
        self, recipe: Recipe, space: Space, folder: Path, options: TuningOptions, runner: Runner
    ) -> None:
        self.recipe, self.space, self.options = recipe, space, options
        self.folder, self.runner = Path(folder), runner
        self._column = options.column(recipe)
        space.check(recipe)
        keep_asked(self.folder, recipe, space, options)
        _ = self.journal

    @cached_property
    def journal(self) -> Journal:
        """What was recorded; each process has its own view of the one file."""
        return Journal(self.folder, self.options, self.space, self.recipe.seed)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "journal"}

    def run(self) -> Iterator[Trial]:
        """Run trials until there are enough or time is up; each is given when it has ended.

        Raises:
            BadValueError: The first trials have all failed.
            StoreError: A process was killed; call again to go on.
            MissingError: Ray is wanted and not installed.
        """
        now = time.time()
        left = (self.options.seconds or math.inf) - self.journal.spent()
        start = Start(uuid.uuid4().hex, now, now + left)
        for trial in finished(self, start):
            yield trial
            self._give_up_if_hopeless()
            write_result(self.folder, self.result())
        write_result(self.folder, self.result())

    def result(self) -> TuningResult:
        """What is known so far."""
        return summarize(self.journal.trials(), self.recipe, self.space, self.options)

    def run_one(self, start: Start) -> Trial | None:
        """Take a trial and run it; None: there is none, or time is up.

        Returns:
            The trial with its status, which is unfinished where time was up.
        """
        if time.time() >= start.ends:
            return None
        with self.journal.claim() as trial:
            return None if trial is None else self._run(trial, start)

    def recipe_of(self, trial: Trial) -> Recipe:
        """What a trial trains.

        Raises:
            BadValueError: Values that do not go together.
        """
        values = {one.field: one.value(trial.values[one.field]) for one in self.space.dimensions}
        return self.space.recipe(self.recipe, values)

    def _run(self, trial: Trial, start: Start) -> Trial:
        begun = time.time() - trial.seconds
        try:
            trial = self._rows(trial, start, begun)
        except BadValueError as error:
            trial = replace(self.journal.trials()[trial.number], status="failed", error=str(error))
        trial = replace(trial, seconds=time.time() - begun)
        self.journal.spend(start.name, time.time() - start.begun)
        if trial.status != "unfinished":
            self.journal.end(trial)
        return trial

    def _rows(self, trial: Trial, start: Start, begun: float) -> Trial:
        """Run until the rule or the clock says stop."""
        if trial.pruned:  # killed after it was decided
            return replace(trial, status="pruned")
        recipe = self.recipe_of(trial)
        folder = self.folder / "trials" / f"{trial.number:05d}"
        rows: Any = self.runner(recipe, folder)
        with closing(rows):
            for row in rows:
                if row["epoch"] <= trial.epochs + _SLACK:  # before training, or known already
                    continue
                trial = self._judged(trial, row, recipe)
                trial = replace(trial, seconds=time.time() - begun)
                self.journal.report(trial, score_of(row, self._column))
                self.journal.spend(start.name, time.time() - start.begun)
                if trial.pruned:
                    return replace(trial, status="pruned")
                if time.time() >= start.ends and trial.epochs < recipe.train.epochs:
                    return trial
        if math.isnan(trial.score):
            raise BadValueError("it ended without a measurement after the start")
        return replace(trial, status="complete")

    def _judged(self, trial: Trial, row: Mapping[str, Any], recipe: Recipe) -> Trial:
        """The trial with a row more; at its last epoch there is nothing left to save."""
        epoch, value = _whole(row), score_of(row, self._column)
        if math.isnan(value):
            raise BadValueError(f"{self._column} is NaN after epoch {epoch}")
        better = max if self.options.maximize else min
        best = value if math.isnan(trial.score) else better(trial.score, value)
        trial = replace(trial, epochs=epoch, score=best)
        if epoch >= recipe.train.epochs:
            return trial
        others = [one.rungs for one in self.journal.trials() if one.number != trial.number]
        ends, rungs = self.options.halving.decide(epoch, value, trial.rungs, others)
        return replace(trial, pruned=ends, rungs=tuple(rungs))

    def _give_up_if_hopeless(self) -> None:
        trials = [one for one in self.journal.trials() if one.status != "unfinished"]
        if len(trials) >= _HOPELESS and all(one.status == "failed" for one in trials):
            raise BadValueError(
                f"the first {len(trials)} trials all failed, the first with: {trials[0].error}; "
                "set the recipe or the space right, and start in another folder"
            )


def _whole(row: Mapping[str, Any]) -> int:
    """Whole epochs of a row."""
    return math.floor(row["epoch"] + _SLACK)
