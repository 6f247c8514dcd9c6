"""Turn pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchvision.transforms import v2

from holdfast.training.augment import _checks
from holdfast.training.augment._torchvision import (
    RESAMPLINGS,
    Resampling,
    TorchvisionAugmentation,
    resampling,
    sometimes,
)
from holdfast.training.augment.base import augmentation


@augmentation("rotation")
@dataclass(frozen=True)
class Rotation(TorchvisionAugmentation):
    """Turn about the center by a random angle; corners without a picture are black.

    Torchvision's RandomRotation, with its default of taking the nearest pixel, which the
    published fine-tuning recipes leave as it is.

    Attributes:
        degrees: Angles are drawn evenly from minus to plus this.
        p: Share of the pictures.
        interpolation: "nearest" or "bilinear".
    """

    degrees: float = 20.0
    p: float = 1.0
    interpolation: Resampling = "nearest"

    def __post_init__(self) -> None:
        _checks.positive(self, "degrees", 180, "the largest angle, in degrees")
        _checks.share(self)
        _checks.one_of(self, "interpolation", RESAMPLINGS)

    def transform(self) -> Any:
        """Build the transform."""
        turn = v2.RandomRotation(self.degrees, interpolation=resampling(self.interpolation))
        return sometimes(turn, self.p)
