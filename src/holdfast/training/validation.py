"""Clean and robust accuracy on images that stay the same throughout a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.models import Classifier
from holdfast.perturb.attacks.craft import craft
from holdfast.training.objectives._inner import Inner

_CHUNK = 256  # images of a pass


@dataclass(frozen=True)
class Accuracy:
    """Of one set of images.

    Attributes:
        clean: Part of the images that is classified correctly.
        robust: Part that no image of the attack breaks; None where nothing was attacked.
        count: Images.
    """

    clean: float
    robust: float | None
    count: int


@dataclass(frozen=True)
class Examined:
    """Images to measure accuracy on.

    Attributes:
        images: float [N, C, H, W] in [0, 1].
        labels: int64 [N].
        ids: Positions in their data set, int64 [N]; they key the attack.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor

    def accuracy(self, classifier: Classifier, attack: Inner | None) -> Accuracy:
        """Accuracy in evaluation mode, in float32; the attack's draws are always the same."""
        right = held = 0
        device, count = classifier.device, len(self.labels)
        for start in range(0, count, _CHUNK):
            rows = slice(start, start + _CHUNK)
            images, labels = self.images[rows].to(device), self.labels[rows].to(device)
            with torch.no_grad():
                right += int((classifier(images).argmax(1) == labels).sum())
            if attack is not None and attack.attack is not None:
                found = craft(attack.attack, classifier, images, labels, ids=self.ids[rows])
                held += round(found.robust_accuracy * len(images))
        robust = held / count if attack is not None and attack.attack is not None else None
        return Accuracy(right / count, robust, count)
