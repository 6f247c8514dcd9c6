"""SimCLR: an image's views are nearer to each other than to any other image's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from holdfast.perturb.base import Classifier
from holdfast.training.objectives.base import objective
from holdfast.training.pretrain._lightly import part, several_processes
from holdfast.training.pretrain.base import SelfSupervised, View, positive, projections


@objective("simclr")
@dataclass(frozen=True, kw_only=True)
class SimCLR(SelfSupervised):
    """Cross-entropy of finding the other view among all views of the batch, by cosine.

    Source: Chen et al. 2020, arXiv:2002.05709, sections 2 and 3, equation 1 (NT-Xent); head,
    loss and views are lightly's.
    Differs: batch normalization follows both layers of the head, as in the authors' code and
    not in the paper.

    Attributes:
        hidden: Width of the head's first layer.
        projection: Width of its second.
        temperature: What cosines are divided by; the paper takes 0.1 for ImageNet and finds 0.5
            good for CIFAR-10 (its section B.9), which is the default.
    """

    hidden: int = 2048
    projection: int = 128
    temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(
            self.name,
            hidden=self.hidden,
            projection=self.projection,
            temperature=self.temperature,
        )

    def companion(self, net: nn.Module, features: int) -> nn.Module:
        """Two linear layers with batch normalization, ReLU between them."""
        head = part("models.modules.heads", "SimCLRProjectionHead")
        return head(features, self.hidden, self.projection)

    def view_transforms(self, size: tuple[int, int]) -> tuple[View, ...]:
        """Both alike."""
        view = self.lightly_view("simclr_transform.SimCLRViewTransform", size, blur=0.5)
        return (view, view)

    def batch_loss(self, classifier: Classifier, views: Tensor) -> Tensor:
        """Mean over all views."""
        loss = part("loss", "NTXentLoss")(self.temperature, gather_distributed=several_processes())
        return loss(*projections(classifier, views))
