"""Cut a random part out of the stored picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from PIL import Image
from torchvision.transforms import v2

from holdfast.core.errors import BadValueError
from holdfast.training.augment import _checks
from holdfast.training.augment.base import SourceAugmentation, augmentation


@augmentation("random_resized_crop")
@dataclass(frozen=True)
class RandomResizedCrop(SourceAugmentation):
    """Cut a rectangle of random area and aspect and scale it to the network's size with PIL.

    Torchvision's RandomResizedCrop. Source: Szegedy et al. 2015, arXiv:1409.4842, section 6.

    Attributes:
        min_scale: Least share of the area.
        max_scale: Largest share of the area.
        min_ratio: Least width over height.
        max_ratio: Largest width over height.
        interpolation: "bilinear" or "bicubic".
    """

    min_scale: float = 0.08
    max_scale: float = 1.0
    min_ratio: float = 0.75
    max_ratio: float = 4 / 3
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        for field in ("min_scale", "max_scale"):
            _checks.positive(self, field, 1, "a share of the picture's area")
        for field in ("min_ratio", "max_ratio"):
            _checks.positive(self, field, math.inf, "width over height")
        for low, high in (("min_scale", "max_scale"), ("min_ratio", "max_ratio")):
            if getattr(self, low) > getattr(self, high):
                raise BadValueError(
                    f"{self.name} {low}={getattr(self, low)} is above {high}="
                    f"{getattr(self, high)}; exchange them"
                )
        _checks.one_of(self, "interpolation", ("bilinear", "bicubic"))

    def cut(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Picture uint8 [H, W, 3] to uint8 [h, w, 3] of the size (h, w)."""
        return np.asarray(_transform(self, size)(Image.fromarray(image)))


@lru_cache(maxsize=8)
def _transform(part: RandomResizedCrop, size: tuple[int, int]) -> Any:
    return v2.RandomResizedCrop(
        size,
        scale=(part.min_scale, part.max_scale),
        ratio=(part.min_ratio, part.max_ratio),
        interpolation=v2.InterpolationMode(part.interpolation),
    )
