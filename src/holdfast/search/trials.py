"""What a search leaves behind: one row a query, in the order in which they were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What an objective says of one architecture.

    Attributes:
        merit: One number, larger is better: what a search for one thing goes by. Architectures
            that miss a constraint lie below all that keep them; one without a value is -inf.
        values: Each objective by itself, turned so that larger is better; -inf without a value.
        limits: Measured value of each constraint's column.
        feasible: Whether every constraint is kept.
        excess: By how much each constraint is missed, relative to its bound; 0 or less where it
            is kept.
    """

    merit: float
    values: tuple[float, ...]
    limits: tuple[float, ...] = ()
    feasible: bool = True
    excess: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One query.

    Attributes:
        step: Queries before this one.
        round: Step at which the round of this query began: the searcher saw the trials before.
        arch: What was asked.
        score: The answer.
    """

    step: int
    round: int
    arch: str
    score: Score


Objective = Callable[[str], Score]
