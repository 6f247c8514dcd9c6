"""Classic adversarial training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives._inner import Inner
from holdfast.training.objectives.base import Objective, objective, soft_cross_entropy


@objective("adversarial")
@dataclass(frozen=True, kw_only=True)
class Adversarial(Objective):
    """Cross-entropy of the images at which the network is worst, and of no others.

    Source: Madry et al. 2018, arXiv:1706.06083, section 2.

    Attributes:
        attack: Any attack with a radius, such as pgd(eps=8/255, steps=7); eps=0 is plain training.
    """

    attack: str = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "attack", Inner.of(self.attack).text)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Attack."""
        return Inner.of(self.attack).applied(classifier, batch, rng)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of each adversarial image, [B]."""
        images = batch.images if batch.adversarial is None else batch.adversarial
        return soft_cross_entropy(classifier(images), batch.targets)
