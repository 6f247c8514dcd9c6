"""MART: images that are misread already are treated apart."""

from __future__ import annotations

import math
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


@objective("mart")
@dataclass(frozen=True, kw_only=True)
class Mart(Objective):
    """Boosted cross-entropy at x', and a divergence weighted by how little x is believed.

    CE(p(x'), y) - log(1 - max_{k != y} p_k(x')) + beta KL(p(x) || p(x')) (1 - p_y(x)),

    where x' is the attacked image. The gradient flows into everything, the weight included, and
    images and attacked images go through the network in two passes, images first, both as in
    the authors' code. Mixed targets: the loss is the expectation over the class y that they
    draw, and the attack moves away from the likeliest one.

    Source: Wang et al. 2020, ICLR, "Improving adversarial robustness requires revisiting
    misclassified examples", equations 6 to 11; YisenWang/MART. Differs: logarithms are exact,
    where their code adds constants up to 1e-4 against a logarithm of 0; the attack starts
    uniformly in the ball (theirs: Gaussian, 0.001), with 8/255 and 2/255 where their code has
    0.031 and 0.007. With beta = 0 the images do not pass.

    Attributes:
        beta: Weight of the divergence (lambda in the paper), 0 or more.
        attack: How x' is found.
    """

    beta: float = 5.0
    attack: str = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255)"

    def __post_init__(self) -> None:
        check_number("mart beta", self.beta)
        object.__setattr__(self, "attack", Inner.of(self.attack).text)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Attack."""
        return Inner.of(self.attack).applied(classifier, batch, rng)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Loss of each image, [B]."""
        if batch.adversarial is None:
            return _boosted(classifier(batch.images), batch.targets)  # no divergence from itself
        if self.beta == 0:
            return _boosted(classifier(batch.adversarial), batch.targets)
        clean = F.log_softmax(classifier(batch.images), 1)
        moved = classifier(batch.adversarial)
        disbelief = 1 - (clean.exp() * batch.targets).sum(1)
        divergence = kl_divergence(clean, F.log_softmax(moved, 1))
        return _boosted(moved, batch.targets) + self.beta * divergence * disbelief


def _boosted(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, and minus the logarithm of 1 less the likeliest wrong class's part, [B]."""
    log_parts = F.log_softmax(logits, 1)
    likeliest = log_parts.topk(2, dim=1).indices  # [B, 2]
    itself = F.one_hot(likeliest, logits.shape[1]).bool()  # [B, 2, K]
    # The logarithm of what the other classes have together is exact also where that is tiny.
    rest = log_parts[:, None].masked_fill(itself, -math.inf).logsumexp(2)  # [B, 2]
    # The likeliest wrong class is the second where the target is the first.
    first = targets.gather(1, likeliest[:, :1])[:, 0]
    margin = -((1 - first) * rest[:, 0] + first * rest[:, 1])
    return soft_cross_entropy(logits, targets) + margin
