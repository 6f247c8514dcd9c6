"""The ordinary step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.training.batch import TrainingBatch
from holdfast.training.steps.base import Step, Work, descend, step


@step("plain")
@dataclass(frozen=True, kw_only=True)
class Plain(Step):
    """Gradients where the weights are, of images that the objective crafts."""

    def gradients(self, work: Work, batch: TrainingBatch, rng: Keys) -> Tensor:
        """See `Step`."""
        return descend(work, work.objective.craft(work.classifier, batch, rng))
