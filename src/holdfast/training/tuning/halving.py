"""Asynchronous successive halving: trials that fall behind are stopped early.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", MLSys, in the form of
optuna's `SuccessiveHalvingPruner`: nobody waits for a rung to fill; a trial that reaches one goes
on where it is among the best 1/reduction of those that have reached it so far. The rule is
written out here, as a function of what was recorded, because a decision must be one line of the
journal: the pruner writes as it decides, and a process that is killed in between would decide
otherwise when it goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.core.errors import BadValueError


@dataclass(frozen=True)
class Halving:
    """The rule.

    Attributes:
        grace: Epochs before a trial can be stopped; rungs are at grace * reduction^k epochs.
        reduction: One of so many goes on at each rung.
        maximize: Whether larger values are better.
    """

    grace: int = 1
    reduction: int = 2
    maximize: bool = True

    def __post_init__(self) -> None:
        for name, least in (("grace", 1), ("reduction", 2)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise BadValueError(f"{name} must be a whole number from {least} on, got {value!r}")

    def decide(
        self, epoch: int, value: float, passed: Sequence[float], others: Iterable[Sequence[float]]
    ) -> tuple[bool, list[float]]:
        """Whether a trial ends here, and its values at all rungs it has reached.

        Args:
            epoch: Epochs that it has run.
            value: What it has reached now.
            passed: Its values at the rungs before, in order.
            others: The same of all other trials.

        Returns:
            True for the end; `passed` and `value` once for each rung that is reached only now.
        """
        reached = list(passed)
        rest = list(others)
        while epoch >= self.grace * self.reduction ** len(reached):
            if math.isnan(value):
                return True, reached
            rung = len(reached)
            rivals = [one[rung] for one in rest if len(one) > rung]
            reached.append(value)
            if not self._goes_on(value, [*rivals, value]):
                return True, reached
        return False, reached

    def _goes_on(self, value: float, rivals: list[float]) -> bool:
        """With less than `reduction` rivals the best goes on: there is no one to wait for."""
        places = max(1, len(rivals) // self.reduction)
        worst = sorted(rivals, reverse=self.maximize)[places - 1]
        return value >= worst if self.maximize else value <= worst
