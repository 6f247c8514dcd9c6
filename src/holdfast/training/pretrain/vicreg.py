"""VICReg: views agree, features vary, and no two of them together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from holdfast.perturb.base import Classifier
from holdfast.training.objectives.base import objective
from holdfast.training.pretrain._lightly import part, several_processes
from holdfast.training.pretrain.base import SelfSupervised, View, positive, projections


@objective("vicreg")
@dataclass(frozen=True, kw_only=True)
class VICReg(SelfSupervised):
    """Invariance, variance and covariance of two views' projections.

    Source: Bardes et al. 2022, arXiv:2105.04906, section 4, equations 1 to 6; head, loss and
    views are lightly's.
    Differs: the head is 2048 wide where the paper's is 8192. The variance term is the mean of
    both views' and not their sum, as in the authors' code and not in the paper's equation 6.

    Attributes:
        jitter: As above; lightly takes 0.5.
        projection: Width of the head's three layers.
        invariance: Weight of the squared distance of the views.
        variance: Weight of the deviations' shortfall from 1.
        covariance: Weight of the squared covariances.
    """

    jitter: float = 0.5
    projection: int = 2048
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(
            self.name,
            projection=self.projection,
            invariance=self.invariance,
            variance=self.variance,
            covariance=self.covariance,
        )

    def companion(self, net: nn.Module, features: int) -> nn.Module:
        """Three linear layers, the first two with batch normalization and ReLU."""
        head = part("models.modules.heads", "VICRegProjectionHead")
        return head(features, self.projection, self.projection)

    def view_transforms(self, size: tuple[int, int]) -> tuple[View, ...]:
        """Both alike, sometimes solarized."""
        view = self.lightly_view("vicreg_transform.VICRegViewTransform", size, blur=0.5)
        return (view, view)

    def batch_loss(self, classifier: Classifier, views: Tensor) -> Tensor:
        """Weighted sum of the three terms."""
        loss = part("loss", "VICRegLoss")(
            self.invariance,
            self.variance,
            self.covariance,
            gather_distributed=several_processes(),
        )
        return loss(*projections(classifier, views))
