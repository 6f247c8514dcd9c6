"""Move pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchvision.transforms import v2

from holdfast.core.errors import BadValueError
from holdfast.training.augment import _checks
from holdfast.training.augment._torchvision import (
    RESAMPLINGS,
    Resampling,
    TorchvisionAugmentation,
    resampling,
)
from holdfast.training.augment.base import augmentation

_SHIFT = "the largest move, as a fraction of the side"


@augmentation("shift")
@dataclass(frozen=True)
class Shift(TorchvisionAugmentation):
    """Move by a random number of whole pixels along each axis; what comes in is black.

    Attributes:
        fraction: Of the side; moves are drawn evenly from minus to plus this.
    """

    fraction: float = 0.08

    def __post_init__(self) -> None:
        _checks.positive(self, "fraction", 1, _SHIFT)

    def transform(self) -> Any:
        """Build the transform."""
        return v2.RandomAffine(0, translate=(self.fraction, self.fraction))


@augmentation("affine")
@dataclass(frozen=True)
class Affine(TorchvisionAugmentation):
    """Turn and move in one resampling; torchvision's RandomAffine.

    Attributes:
        degrees: Angles are drawn evenly from minus to plus this.
        shift: Moves along each axis are drawn evenly from minus to plus this fraction of the
            side, and rounded to whole pixels.
        interpolation: "nearest" or "bilinear".
    """

    degrees: float = 10.0
    shift: float = 0.08
    interpolation: Resampling = "bilinear"

    def __post_init__(self) -> None:
        _checks.number(self, "degrees", 0, 180, "the largest angle, in degrees")
        _checks.number(self, "shift", 0, 1, _SHIFT)
        _checks.one_of(self, "interpolation", RESAMPLINGS)
        if not (self.degrees or self.shift):
            raise BadValueError("affine with degrees=0 and shift=0 does nothing; leave it out")

    def transform(self) -> Any:
        """Build the transform."""
        return v2.RandomAffine(
            self.degrees,
            translate=(self.shift, self.shift),
            interpolation=resampling(self.interpolation),
        )
