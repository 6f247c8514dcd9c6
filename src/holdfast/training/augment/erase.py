"""Blank out a part of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchvision.transforms import v2

from holdfast.core.errors import BadValueError
from holdfast.training.augment import _checks
from holdfast.training.augment._torchvision import TorchvisionAugmentation
from holdfast.training.augment.base import augmentation


@augmentation("erase")
@dataclass(frozen=True)
class Erase(TorchvisionAugmentation):
    """Blacken a random rectangle; torchvision's RandomErasing on stored pixels.

    Source: Zhong et al. 2017, arXiv:1708.04896. Differs: black instead of random pixels, as
    torchvision's default is. Where ten draws find no rectangle that fits, nothing is erased.

    Attributes:
        p: Share of the pictures.
        smallest: Least share of the area.
        largest: Largest share of the area.
    """

    p: float = 0.5
    smallest: float = 0.02
    largest: float = 0.33

    def __post_init__(self) -> None:
        _checks.share(self)
        for field in ("smallest", "largest"):
            _checks.positive(self, field, 1, "a share of the picture's area")
        if self.smallest > self.largest:
            raise BadValueError(
                f"erase smallest={self.smallest} is above largest={self.largest}; exchange them"
            )

    def transform(self) -> Any:
        """Build the transform."""
        return v2.RandomErasing(self.p, scale=(self.smallest, self.largest))
