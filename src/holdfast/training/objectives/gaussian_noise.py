"""Training under Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.core.checks import check_number
from holdfast.core.randomness import Keys
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import Objective, objective, soft_cross_entropy


@objective("gaussian_noise")
@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Objective):
    """Cross-entropy of images, some or all of which carry noise N(0, sigma^2) in each pixel.

    Source: Rusak et al. 2020, arXiv:2001.06057, section 3.1 (half of the images of a batch,
    clipped to [0, 1] as here); Cohen, Rosenfeld and Kolter 2019, arXiv:1902.02918, section 3.3
    (all images, not clipped). Differs: each image is drawn by itself whether it gets noise, so
    that it does not depend on its batch.

    Attributes:
        sigma: Standard deviation, in pixels of [0, 1]; 0 to 1.
        share: Probability that an image gets noise, 0 to 1.
    """

    sigma: float = 0.1
    share: float = 1.0

    def __post_init__(self) -> None:
        hint = f"; it is in pixels of [0, 1]: did you mean {self.sigma}/255?"
        check_number("gaussian_noise sigma", self.sigma, most=1, about=hint)
        check_number("gaussian_noise share", self.share, most=1)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Put noisy images in the place of those that are chosen."""
        if self.sigma == 0 or self.share == 0:
            return batch
        images, keys = batch.images, rng.to(batch.images.device)
        chosen = keys.stream("share").uniform() < self.share
        noise = keys.stream("noise").normal(*images.shape[1:]).to(images.dtype)
        noisy = noise.mul_(self.sigma).add_(images).clamp_(0, 1)
        return replace(batch, images=torch.where(chosen[:, None, None, None], noisy, images))

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of each image, [B]."""
        return soft_cross_entropy(classifier(batch.images), batch.targets)
