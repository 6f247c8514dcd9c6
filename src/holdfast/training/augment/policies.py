"""Random compositions of many simple changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torchvision.transforms import v2

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.training.augment import _checks
from holdfast.training.augment._torchvision import TorchvisionAugmentation
from holdfast.training.augment.base import augmentation

_POLICIES = {
    "imagenet": v2.AutoAugmentPolicy.IMAGENET,
    "cifar10": v2.AutoAugmentPolicy.CIFAR10,
    "svhn": v2.AutoAugmentPolicy.SVHN,
}


@augmentation("randaugment")
@dataclass(frozen=True)
class RandAugment(TorchvisionAugmentation):
    """A few changes of one strength each; torchvision's RandAugment.

    Source: Cubuk et al. 2020, arXiv:1909.13719.

    Attributes:
        changes: How many follow each other.
        magnitude: Their strength, 0 to 30.
    """

    changes: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        _checks.whole(self, "changes", 1, 14, "how many changes follow each other")
        _checks.whole(self, "magnitude", 0, 30, "the strength on torchvision's scale")

    def transform(self) -> Any:
        """Build the transform."""
        return v2.RandAugment(self.changes, self.magnitude)


@augmentation("trivialaugment")
@dataclass(frozen=True)
class TrivialAugment(TorchvisionAugmentation):
    """One change at a random strength; torchvision's TrivialAugmentWide.

    Source: Müller and Hutter 2021, arXiv:2103.10158.
    """

    def transform(self) -> Any:
        """Build the transform."""
        return v2.TrivialAugmentWide()


@augmentation("autoaugment")
@dataclass(frozen=True)
class AutoAugment(TorchvisionAugmentation):
    """One of 25 learned pairs of changes; torchvision's AutoAugment.

    Source: Cubuk et al. 2019, arXiv:1805.09501.

    Attributes:
        policy: The set on which the pairs were learned: imagenet, cifar10 or svhn.
    """

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"

    def __post_init__(self) -> None:
        _checks.one_of(self, "policy", tuple(_POLICIES))

    def transform(self) -> Any:
        """Build the transform."""
        return v2.AutoAugment(_POLICIES[self.policy])


@augmentation("augmix")
@dataclass(frozen=True)
class AugMix(TorchvisionAugmentation):
    """Mix a picture with several chains of changes of itself; torchvision's AugMix.

    Source: Hendrycks et al. 2020, arXiv:1912.02781. This is its mixing alone; the consistency
    loss is an objective. As there, changes that are corruptions of the benchmark are left out.

    Attributes:
        severity: Strength of the changes, 1 to 10.
        width: How many chains.
        depth: Changes in a chain; -1 draws 1 to 3 for each.
        alpha: Of the Dirichlet and Beta distributions of the weights.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _checks.whole(self, "severity", 1, 10, "the strength on torchvision's scale")
        _checks.whole(self, "width", 1, 100, "how many chains are mixed")
        _checks.positive(self, "alpha", 1000, "the parameter of the weights' distributions")
        if type(self.depth) is not int:
            raise BadTypeError(f"augmix depth must be a whole number, got {self.depth!r}")
        if self.depth != -1 and not 1 <= self.depth <= 100:
            raise BadValueError(
                f"augmix depth must be from 1 to 100, or -1 for a random one, got {self.depth}"
            )

    def transform(self) -> Any:
        """Build the transform."""
        return v2.AugMix(self.severity, self.width, self.depth, self.alpha, all_ops=False)
