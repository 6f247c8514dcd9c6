"""Add Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.training.augment import _checks
from holdfast.training.augment.base import BatchAugmentation, augmentation
from holdfast.training.batch import TrainingBatch

_LARGEST = 10.0  # beyond, nothing of an image is left
_SIGMA = "in [0, 1] pixel units: divide by 255 if it is in levels"


@augmentation("gaussian_noise")
@dataclass(frozen=True)
class GaussianNoise(BatchAugmentation):
    """Add Gaussian noise of one strength to all images, and clip to [0, 1].

    Source: Cohen et al. 2019, arXiv:1902.02918, section 3.3. Differs: is clipped.

    Attributes:
        sigma: Standard deviation in [0, 1] pixel units.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _checks.positive(self, "sigma", _LARGEST, _SIGMA)

    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Add noise, each image its own."""
        return _noisy(batch, self.sigma, rng)


@augmentation("random_noise")
@dataclass(frozen=True)
class RandomNoise(BatchAugmentation):
    """Add Gaussian noise of a strength drawn for each image, and clip to [0, 1].

    Attributes:
        sigma: Upper end of the standard deviation in [0, 1] pixel units; drawn evenly from 0.
    """

    sigma: float = 0.4

    def __post_init__(self) -> None:
        _checks.positive(self, "sigma", _LARGEST, _SIGMA)

    def mix(self, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Add noise, each image its own."""
        sigma = rng.stream("sigma").uniform(1, 1, 1, high=self.sigma).float()
        return _noisy(batch, sigma, rng)


def _noisy(batch: TrainingBatch, sigma: float | Tensor, rng: Keys) -> TrainingBatch:
    noise = sigma * rng.normal(*batch.images.shape[1:])
    return replace(batch, images=(batch.images + noise).clamp(0, 1))
