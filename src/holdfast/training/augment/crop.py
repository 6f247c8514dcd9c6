"""Cut a window out of the padded picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.training.augment import _checks
from holdfast.training.augment._vectorized import VectorizedAugmentation
from holdfast.training.augment.base import augmentation


@augmentation("crop")
@dataclass(frozen=True)
class Crop(VectorizedAugmentation):
    """Pad with black and cut a window of the old size, as torchvision's RandomCrop does.

    Source: the usual augmentation of CIFAR (He et al. 2016, arXiv:1512.03385, section 4.2).

    Attributes:
        padding: Pixels on each side; each window is as likely as the others.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        _checks.whole(self, "padding", 1, 4096, "the pixels added on each side")

    def change_all(self, images: Tensor, rng: Keys) -> Tensor:
        """Cut one window a picture, uint8 [B, C, h, w]."""
        height, width = images.shape[2:]
        if self.padding >= min(height, width):
            raise BadValueError(
                f"crop padding={self.padding} is too much for pictures of {height}x{width}: "
                f"nothing would be left of some; give at most {min(height, width) - 1}"
            )
        padded = F.pad(images, (self.padding,) * 4)
        corners = rng.integers(0, 2 * self.padding + 1, 2)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: nothing is copied
        return windows[torch.arange(len(images)), :, corners[:, 0], corners[:, 1]]
