"""TRADES: accuracy on images, and the same answer around them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from holdfast.core.checks import check_number
from holdfast.core.randomness import Keys
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives._inner import Inner
from holdfast.training.objectives.base import (
    Objective,
    kl_divergence,
    objective,
    soft_cross_entropy,
)


@objective("trades")
@dataclass(frozen=True, kw_only=True)
class Trades(Objective):
    """CE(p(x), y) + beta KL(p(x) || p(x')), where x' is an image around x.

    The gradient flows into both sides of the divergence, and images and attacked images go
    through the network in two passes, images first, both as in the authors' code; batch
    normalization sees each set by itself. The targets enter the cross-entropy alone.

    Source: Zhang et al. 2019, arXiv:1901.08573, equation 5 and algorithm 1, where beta is
    1/lambda. Differs: eps and step size are 8/255 and 2/255 where theirs are 0.031 and 0.007;
    their code passes the images twice, for each term once, so that dropout and running
    statistics differ. With beta = 0, or an attack of eps = 0, nothing is attacked and only the
    images pass: that is cross_entropy. Heuillet et al.'s recipe has beta 1 and apgd on
    cross-entropy as its attack.

    Attributes:
        beta: Weight of the divergence, 0 or more.
        attack: How x' is found; pgd with loss=kl as published.
    """

    beta: float = 6.0
    attack: str = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255, loss=kl, noise=0.001)"

    def __post_init__(self) -> None:
        check_number("trades beta", self.beta)
        object.__setattr__(self, "attack", Inner.of(self.attack).text)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Attack, unless the divergence has no weight."""
        if self.beta == 0:
            return batch
        return Inner.of(self.attack).applied(classifier, batch, rng)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Cross-entropy and weighted divergence of each image, [B]."""
        clean = classifier(batch.images)
        losses = soft_cross_entropy(clean, batch.targets)
        if self.beta == 0 or batch.adversarial is None:
            return losses
        moved = classifier(batch.adversarial)
        divergence = kl_divergence(F.log_softmax(clean, 1), F.log_softmax(moved, 1))
        return losses + self.beta * divergence
