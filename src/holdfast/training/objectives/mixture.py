"""The mixture of the losses of images and attacked images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from holdfast.core.checks import check_number
from holdfast.core.randomness import Keys
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives._inner import Inner
from holdfast.training.objectives.base import Objective, both, objective, soft_cross_entropy


@objective("mixture")
@dataclass(frozen=True, kw_only=True)
class Mixture(Objective):
    """(1 - beta) CE(p(x), y) + beta CE(p(x'), y), where x' is the attacked image.

    Images and attacked images go through the network in one pass, so that batch normalization
    sees them together. At the ends only one of the two sets goes through it: beta = 0 is
    cross_entropy, and attacks nothing; beta = 1 is adversarial.

    Source: Wu et al. 2024, arXiv:2403.13134, section 3 (the loss whose kernel they study);
    before them Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572, section 6; one pass:
    Kurakin, Goodfellow and Bengio 2017, arXiv:1611.01236, section 3.

    Attributes:
        beta: Weight of the attacked images, 0 to 1.
        attack: How x' is found.
    """

    beta: float = 0.5
    attack: str = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255)"

    def __post_init__(self) -> None:
        check_number("mixture beta", self.beta, most=1)
        object.__setattr__(self, "attack", Inner.of(self.attack).text)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Attack, unless attacked images have no weight."""
        if self.beta == 0:
            return batch
        return Inner.of(self.attack).applied(classifier, batch, rng)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Weighted cross-entropies of each image, [B]."""
        if self.beta == 0 or batch.adversarial is None:
            return soft_cross_entropy(classifier(batch.images), batch.targets)
        if self.beta == 1:
            return soft_cross_entropy(classifier(batch.adversarial), batch.targets)
        clean, moved = both(classifier, batch.images, batch.adversarial)
        kept = (1 - self.beta) * soft_cross_entropy(clean, batch.targets)
        return kept + self.beta * soft_cross_entropy(moved, batch.targets)
