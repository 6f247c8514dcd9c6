"""Plain training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import Objective, objective, soft_cross_entropy


@objective("cross_entropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """Cross-entropy of the images, with label smoothing if wanted.

    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.

    Attributes:
        smoothing: Probability shared among all classes, 0 to below 1.
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise BadValueError(f"smoothing must be from 0 to below 1, got {self.smoothing}")

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of each sample, [B]."""
        targets = batch.targets
        if self.smoothing:
            targets = targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]
        return soft_cross_entropy(classifier(batch.images), targets)
