"""Mirror pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.training.augment import _checks
from holdfast.training.augment._vectorized import VectorizedAugmentation
from holdfast.training.augment.base import augmentation


@dataclass(frozen=True)
class _Mirror(VectorizedAugmentation):
    axis: ClassVar[int]  # of [B, C, h, w]

    p: float = 0.5

    def __post_init__(self) -> None:
        _checks.share(self)

    def change_all(self, images: Tensor, rng: Keys) -> Tensor:
        """Mirror a random share of the pictures uint8 [B, C, h, w]."""
        chosen = rng.uniform() < self.p
        changed = images.clone()
        changed[chosen] = images[chosen].flip(self.axis)
        return changed


@augmentation("flip")
@dataclass(frozen=True)
class Flip(_Mirror):
    """Mirror left and right, as torchvision's RandomHorizontalFlip does.

    Attributes:
        p: Share of the pictures.
    """

    axis: ClassVar[int] = 3


@augmentation("vertical_flip")
@dataclass(frozen=True)
class VerticalFlip(_Mirror):
    """Mirror top and bottom, as torchvision's RandomVerticalFlip does.

    Attributes:
        p: Share of the pictures.
    """

    axis: ClassVar[int] = 2
