"""How to look for settings, and by what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.training.recipe import Recipe
from holdfast.training.tuning.halving import Halving

Sampler = Literal["tpe", "random"]
SCORE: Final = "score"
# Columns of a run's rows, and which way is better.
METRICS: Final[dict[str, str]] = {
    SCORE: "maximize",
    "validation_accuracy": "maximize",
    "validation_robust": "maximize",
    "loss": "minimize",
}


@dataclass(frozen=True)
class TuningOptions:
    """How to look.

    Attributes:
        trials: Trials of the folder in all, failed ones included; None: as many as time allows.
        seconds: Wall time in all, that of earlier starts included; None does not look at the
            clock. Trials that are under way then stop and can go on later.
        jobs: Processes; each trains a trial at a time, with one thread where there are several.
        sampler: tpe models the trials so far (Bergstra et al. 2011, NeurIPS; optuna's, whose
            parameters are modelled together); random does not.
        metric: Of a validation row: score is robust accuracy, or accuracy where the recipe
            attacks nothing; validation_accuracy, validation_robust; loss, the mean of what is
            minimized over an epoch of training, the least of which is best.
        grace: Epochs before a trial can be stopped.
        reduction: Of the trials that reach a rung, one of so many goes on; the rungs are at
            grace, grace * reduction, grace * reduction^2, ... epochs.
        ray: Run trials as tasks of a Ray cluster, all of whose machines see the folder.
    """

    trials: int | None = None
    seconds: float | None = None
    jobs: int = 1
    sampler: Sampler = "tpe"
    metric: str = SCORE
    grace: int = 1
    reduction: int = 2
    ray: bool = False

    def __post_init__(self) -> None:
        if self.trials is None and self.seconds is None:
            raise BadValueError("tuning needs an end: give trials, seconds or both")
        for name, value in (("trials", self.trials), ("jobs", self.jobs)):
            if value is not None and (type(value) is not int or value < 1):
                raise BadValueError(f"{name} must be a whole number from 1 on, got {value!r}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise BadValueError(f"seconds must be a number above 0, got {self.seconds!r}")
        if self.sampler not in get_args(Sampler):
            raise unknown_name("sampler", str(self.sampler), get_args(Sampler))
        if self.metric not in METRICS:
            raise unknown_name("metric", str(self.metric), METRICS)
        _ = self.halving

    @property
    def maximize(self) -> bool:
        """Whether a larger score is better."""
        return METRICS[self.metric] == "maximize"

    @property
    def halving(self) -> Halving:
        """When trials are stopped early."""
        return Halving(self.grace, self.reduction, maximize=self.maximize)

    def column(self, recipe: Recipe) -> str:
        """Column of a row that is the score.

        Raises:
            BadValueError: The recipe does not measure it.
        """
        robust = recipe.robust_attack is not None and recipe.robust_attack.attack is not None
        if recipe.data.validation is None and self.metric != "loss":
            raise BadValueError(
                f"{self.metric} is measured on validation images, and the recipe holds none out; "
                "set data.validation=0.1"
            )
        if self.metric == SCORE:
            return "validation_robust" if robust else "validation_accuracy"
        if self.metric == "validation_robust" and not robust:
            raise BadValueError(
                "validation_robust is never measured: the recipe attacks nothing; set "
                "validate.attack, or take the metric validation_accuracy"
            )
        return self.metric

    def body(self) -> dict[str, Any]:
        """What decides the trials; how many, how long and where they run does not."""
        return {name: getattr(self, name) for name in ("sampler", "metric", "grace", "reduction")}


def score_of(row: Mapping[str, Any], column: str) -> float:
    """Score of a row.

    Raises:
        BadValueError: It was not measured.
    """
    value = row.get(column)
    if value is None:
        raise BadValueError(f"a measurement has no {column}: it has {', '.join(map(str, row))}")
    return float(value)
