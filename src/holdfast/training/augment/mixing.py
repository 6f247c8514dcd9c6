"""Mix pairs of images and their targets."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torchvision.transforms import v2

from holdfast.core.randomness import Keys
from holdfast.training.augment import _checks
from holdfast.training.augment.base import BatchAugmentation, augmentation
from holdfast.training.batch import TrainingBatch


@dataclass(frozen=True)
class MixingAugmentation(BatchAugmentation):
    """Mixes each image with the one before it in the batch, the first with the last.

    All draws are one a batch, from torch's global generator. Targets become soft.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        about = "the parameter of the Beta distribution"
        _checks.positive(self, "alpha", 1e6, about)
        _checks.number(self, "alpha", 1e-3, 1e6, about)  # below, torch draws no numbers

    @abstractmethod
    def transform(self) -> Any:
        """Build the transform of (images, targets)."""

    @cached_property
    def _built(self) -> Any:
        return self.transform()

    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Mix images and targets; the ids stay those of the images that are mixed into."""
        images, targets = self._built(batch.images, batch.targets)
        return replace(batch, images=images, targets=targets)


@augmentation("mixup")
@dataclass(frozen=True)
class MixUp(MixingAugmentation):
    """Blend images and targets of pairs with one weight a batch; torchvision's MixUp.

    Source: Zhang et al. 2018, arXiv:1710.09412.

    Attributes:
        alpha: The weight is drawn from Beta(alpha, alpha).
    """

    alpha: float = 0.3

    def transform(self) -> Any:
        """Build the transform."""
        return v2.MixUp(alpha=self.alpha)


@augmentation("cutmix")
@dataclass(frozen=True)
class CutMix(MixingAugmentation):
    """Paste one rectangle of the pair's other image, the same a batch; torchvision's CutMix.

    Targets are blended by the share of the area. Source: Yun et al. 2019, arXiv:1905.04899.

    Attributes:
        alpha: The share that stays is drawn from Beta(alpha, alpha).
    """

    alpha: float = 1.0

    def transform(self) -> Any:
        """Build the transform."""
        return v2.CutMix(alpha=self.alpha)
