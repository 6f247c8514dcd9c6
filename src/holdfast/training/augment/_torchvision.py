"""Augmentations that are a transform of torchvision and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, Literal

from torch import Tensor
from torchvision.transforms import v2

from holdfast.training.augment.base import SampleAugmentation

Resampling = Literal["nearest", "bilinear"]
RESAMPLINGS = ("nearest", "bilinear")


class TorchvisionAugmentation(SampleAugmentation):
    """One transform of torchvision's v2 on one picture; it draws from torch's global generator."""

    @abstractmethod
    def transform(self) -> Any:
        """Build the transform, uint8 [C, h, w] to the same."""

    @cached_property
    def _built(self) -> Any:
        return self.transform()

    def change(self, image: Tensor) -> Tensor:
        """Picture uint8 [C, h, w] to another of the same shape."""
        return self._built(image)


def resampling(name: str) -> v2.InterpolationMode:
    """Torchvision's word for a resampling."""
    return v2.InterpolationMode(name)


def sometimes(transform: Any, p: float) -> Any:
    """Apply with probability p; at 1 nothing is drawn for it."""
    return transform if p == 1 else v2.RandomApply([transform], p=p)
