"""What an augmentation is: one of three kinds, by what it is handed.

`SourceAugmentation` cuts the stored picture before it has the network's size,
`SampleAugmentation` changes one picture of that size, `BatchAugmentation` a whole batch of floats.
A recipe's list goes through these kinds in that order.

Parts of torchvision draw from torch's global generator. Whoever applies an augmentation has
seeded it with what the sample (or the batch) and the epoch say, and puts it back afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import numpy as np
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.core.registry import Registry
from holdfast.core.specs import canonical, parse_part
from holdfast.training.batch import TrainingBatch

A = TypeVar("A", bound="Augmentation")

AUGMENTATIONS: Registry[type[Augmentation]] = Registry("augmentation")


class Augmentation(ABC):
    """Base of all augmentations; subclasses are frozen dataclasses whose fields people type."""

    name: ClassVar[str]  # set by `augmentation`

    @property
    def spec(self) -> str:
        """Canonical text."""
        return canonical(self.name, self)


class SourceAugmentation(Augmentation):
    """Takes the place of the network's own resize and crop."""

    @abstractmethod
    def cut(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Picture uint8 [H, W, 3] to uint8 [h, w, 3] of the size (h, w)."""


class SampleAugmentation(Augmentation):
    """Changes one picture and keeps its size."""

    @abstractmethod
    def change(self, image: Tensor) -> Tensor:
        """Picture uint8 [C, h, w] to another of the same shape."""


class BatchAugmentation(Augmentation):
    """Changes a batch: pixels, targets or both."""

    @abstractmethod
    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Batch to another of the same size; `rng` holds one random stream a sample."""


augmentation = AUGMENTATIONS.named  # the decorator of each


def parse_augmentation(text: str) -> Augmentation:
    """Augmentation that a person means, such as `mixup(alpha=0.3)`; see `parse_part`."""
    return parse_part(AUGMENTATIONS, text)
