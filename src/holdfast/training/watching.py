"""What a run's measurements decide: the best weights, and whether to end before its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.training.recipe import Recipe

# Wong, Rice and Kolter 2020, arXiv:2001.03994, section 5.4: the accuracy under PGD on training
# images drops by 20 points within an epoch when one-step training is overfitted.
_DROP = 0.2


class Watch:
    """Reads the rows of the curves one after another.

    Attributes:
        best_epoch: Epoch of the best score after the start; None before any.
        best_score: Robust validation accuracy where there is one, else the clean one.
        flags: What a reader must know: `catastrophic_overfitting`.
        stop: Why the run is to end; empty while it is not.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._patience = recipe.validate_with.patience
        self._single_step = recipe.objective.single_step
        self._ends = recipe.train.stop_on_overfitting
        self.best_epoch: float | None = None
        self.best_score: float | None = None
        self.flags: set[str] = set()
        self.stop = ""
        self._waited = 0
        self._held: float | None = None  # best accuracy under attack on training images

    def take(self, row: Mapping[str, Any]) -> bool:
        """Note one row; whether its weights are the best so far."""
        self._look_for_overfitting(row)
        score = row["validation_robust"]
        score = row["validation_accuracy"] if score is None else score
        if score is None:
            return False
        if row["step"] == 0:
            return False  # the start is no result of the run
        if self.best_score is None or score > self.best_score:
            self.best_score, self.best_epoch, self._waited = score, row["epoch"], 0
            return True
        self._waited += 1
        if self._patience is not None and self._waited >= self._patience and not self.stop:
            self.stop = (
                f"no better score than {self.best_score:.3f} of epoch {self.best_epoch:g} in "
                f"{self._waited} measurements (validate.patience)"
            )
        return False

    def state(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        body = {key: value for key, value in vars(self).items() if key not in _SETTINGS}
        return {**body, "flags": sorted(self.flags)}

    def restore(self, body: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        vars(self).update({**body, "flags": set(body["flags"])})

    def forget_best(self) -> None:
        """Choose anew from here on: the best weights are gone."""
        self.best_epoch = self.best_score = None
        self._waited = 0

    def _look_for_overfitting(self, row: Mapping[str, Any]) -> None:
        held = row["train_robust"]
        if not self._single_step or held is None:
            return
        if self._held is not None and held < self._held - _DROP:
            self.flags.add("catastrophic_overfitting")
            if self._ends and not self.stop:
                self.stop = (
                    f"catastrophic overfitting in epoch {row['epoch']:g}: accuracy on training "
                    f"images under the measured attack fell from {self._held:.3f} to {held:.3f}"
                )
        self._held = held if self._held is None else max(self._held, held)


_SETTINGS = ("_patience", "_single_step", "_ends")
