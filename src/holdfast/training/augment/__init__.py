"""Augmentations, one kind a file; the folder indexes itself."""

from holdfast.core.registry import import_siblings
from holdfast.training.augment.base import (
    AUGMENTATIONS,
    Augmentation,
    BatchAugmentation,
    SampleAugmentation,
    SourceAugmentation,
    parse_augmentation,
)

import_siblings(__name__)

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "BatchAugmentation",
    "SampleAugmentation",
    "SourceAugmentation",
    "parse_augmentation",
]
