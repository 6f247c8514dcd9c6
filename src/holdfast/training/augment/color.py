"""Change colors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchvision.transforms import v2

from holdfast.training.augment import _checks
from holdfast.training.augment._torchvision import TorchvisionAugmentation, sometimes
from holdfast.training.augment.base import augmentation


@augmentation("color_jitter")
@dataclass(frozen=True)
class ColorJitter(TorchvisionAugmentation):
    """Change brightness, contrast, saturation and hue in a random order; torchvision's.

    A factor is drawn evenly from 1 - x to 1 + x, but not below 0; a shift of the hue from minus
    to plus x turns around the color circle.

    Attributes:
        brightness: x of the brightness.
        contrast: x of the contrast.
        saturation: x of the saturation.
        hue: x of the hue, at most half a turn.
        p: Share of the pictures.
    """

    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    hue: float = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        for field in ("brightness", "contrast", "saturation"):
            _checks.number(self, field, 0, 100, "how far the factor may lie from 1")
        _checks.number(self, "hue", 0, 0.5, "a part of the color circle")
        _checks.share(self)

    def transform(self) -> Any:
        """Build the transform."""
        jitter = v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)
        return sometimes(jitter, self.p)


@augmentation("grayscale")
@dataclass(frozen=True)
class Grayscale(TorchvisionAugmentation):
    """Take the color away, on three equal channels; torchvision's RandomGrayscale.

    Attributes:
        p: Share of the pictures.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _checks.share(self)

    def transform(self) -> Any:
        """Build the transform."""
        return v2.RandomGrayscale(self.p)
