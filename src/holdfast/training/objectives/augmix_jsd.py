"""AugMix with a consistency of the answers to three views."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import AugMix

from holdfast.core.checks import check_number, check_whole
from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives.base import (
    Objective,
    kl_divergence,
    objective,
    soft_cross_entropy,
)

_VIEWS = 2  # besides the image itself
_STRONGEST = 10  # torchvision's magnitudes are ten
_CHANNELS = 1, 3  # of pictures that torchvision can posterize and equalize


@objective("augmix_jsd")
@dataclass(frozen=True, kw_only=True)
class AugmixJsd(Objective):
    """CE(p(x), y) + alpha JSD(p(x), p(x_1), p(x_2)), x_1 and x_2 drawn from x by AugMix.

    JSD is the mean divergence of the three from their mean, from 0 to log 3. All three sets go
    through the network in one pass, as in the authors' code, and the gradient flows into all
    parts. The targets enter the cross-entropy of the images alone.

    Source: Hendrycks et al. 2020, arXiv:1912.02781, section 3; google-research/augmix. Views
    are torchvision's, with the paper's nine operations (none that the corruptions of ImageNet-C
    contain). Differs: torchvision draws one of the `severity` lowest of ten magnitudes, of which
    the lowest moves nothing, where the authors draw from an interval up to severity / 10, and
    it cuts a view to 8 bits; the mean needs no clamp, since it is taken of logarithms. With
    alpha = 0 no view is drawn: that is cross_entropy.

    Attributes:
        alpha: Weight of the consistency, 0 or more.
        severity: Strongest magnitude of an operation, 1 to 10.
        width: Chains of operations that a view mixes.
        depth: Operations of a chain; -1: 1 to 3, drawn for each.
    """

    alpha: float = 12.0
    severity: int = 3
    width: int = 3
    depth: int = -1

    def __post_init__(self) -> None:
        check_number("augmix_jsd alpha", self.alpha)
        check_whole("augmix_jsd severity", self.severity, most=_STRONGEST)
        check_whole("augmix_jsd width", self.width)
        if self.depth != -1:
            check_whole("augmix_jsd depth (if not -1, which draws it)", self.depth)

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Draw two views of each image, each from a generator of its own.

        Raises:
            BadValueError: Images of neither 1 nor 3 channels.
        """
        if self.alpha == 0:
            return batch
        images = batch.images
        if images.shape[1] not in _CHANNELS:
            raise BadValueError(
                f"augmix_jsd needs images of 1 or 3 channels, got {images.shape[1]}: take another "
                "objective"
            )
        pictures = images.detach().mul(255).round_().to("cpu", torch.uint8)
        views = self._views(pictures, rng).to(images.device).to(images.dtype).div_(255)
        return replace(batch, views=views)

    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Cross-entropy and weighted divergence of each image, [B]."""
        if self.alpha == 0 or batch.views is None:
            return soft_cross_entropy(classifier(batch.images), batch.targets)
        logits = classifier(torch.cat([batch.images, *batch.views]))
        logits = logits.reshape(-1, len(batch), logits.shape[1])  # [V, B, K]
        consistency = jensen_shannon(F.log_softmax(logits, 2))
        return soft_cross_entropy(logits[0], batch.targets) + self.alpha * consistency

    def _views(self, pictures: Tensor, rng: Keys) -> Tensor:
        """Pictures uint8 [B, C, H, W] to views of them, uint8 [V, B, C, H, W]."""
        mixed = AugMix(
            severity=self.severity,
            mixture_width=self.width,
            chain_depth=self.depth,
            all_ops=False,
        )
        seeds = rng.stream("augmix").bits(_VIEWS).cpu()  # [B, V]
        views = torch.empty(_VIEWS, *pictures.shape, dtype=torch.uint8)
        with torch.random.fork_rng(devices=[]):
            for row, picture in enumerate(pictures):
                for view in range(_VIEWS):
                    # torch.manual_seed would reach the accelerators' generators too.
                    torch.default_generator.manual_seed(int(seeds[row, view]))
                    views[view, row] = mixed(picture)
        return views


def jensen_shannon(log_parts: Tensor) -> Tensor:
    """Mean KL divergence from their mean of V distributions, from logarithms [V, B, K] to [B]."""
    mean = log_parts.logsumexp(0) - math.log(len(log_parts))
    return torch.stack([kl_divergence(one, mean) for one in log_parts]).mean(0)
