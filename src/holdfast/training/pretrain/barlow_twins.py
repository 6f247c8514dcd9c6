"""Barlow Twins: views correlate in each feature, and features with no other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from holdfast.perturb.base import Classifier
from holdfast.training.objectives.base import objective
from holdfast.training.pretrain._lightly import part, several_processes
from holdfast.training.pretrain.base import SelfSupervised, View, positive, projections


@objective("barlow_twins")
@dataclass(frozen=True, kw_only=True)
class BarlowTwins(SelfSupervised):
    """Cross-correlation matrix of two views' projections, drawn to the identity.

    Source: Zbontar et al. 2021, arXiv:2103.03230, section 2 and algorithm 1; head, loss and
    views are lightly's, the views being those of BYOL (Grill et al. 2020, arXiv:2006.07733,
    appendix B), as in the paper.
    Differs: the head is 2048 wide where the paper's is 8192, whose matrix alone takes 268 MB.

    Attributes:
        projection: Width of the head's three layers.
        redundancy: Weight of the entries off the diagonal.
    """

    projection: int = 2048
    redundancy: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, projection=self.projection, redundancy=self.redundancy)

    def companion(self, net: nn.Module, features: int) -> nn.Module:
        """Three linear layers, the first two with batch normalization and ReLU."""
        head = part("models.modules.heads", "BarlowTwinsProjectionHead")
        return head(features, self.projection, self.projection)

    def view_transforms(self, size: tuple[int, int]) -> tuple[View, ...]:
        """One always blurred, the other seldom and sometimes solarized."""
        return (
            self.lightly_view("byol_transform.BYOLView1Transform", size, blur=1.0),
            self.lightly_view("byol_transform.BYOLView2Transform", size, blur=0.1),
        )

    def batch_loss(self, classifier: Classifier, views: Tensor) -> Tensor:
        """Squared distance of the matrix to the identity, redundancy weighted."""
        loss = part("loss", "BarlowTwinsLoss")(
            self.redundancy, gather_distributed=several_processes()
        )
        return loss(*projections(classifier, views))
