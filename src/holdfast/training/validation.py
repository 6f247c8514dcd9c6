"""Clean and robust accuracy on images that stay the same throughout a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.models import Classifier
from holdfast.perturb.attacks.craft import craft
from holdfast.training.devices import is_full
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
        right = held = start = 0
        count, size = len(self.labels), _CHUNK
        while start < count:
            try:
                correct, robust_ones = self._counts(classifier, attack, slice(start, start + size))
            except RuntimeError as error:  # also torch.OutOfMemoryError
                if size == 1 or not is_full(error):
                    raise
                size = (size + 1) // 2  # no number depends on it
            else:
                right, held, start = right + correct, held + robust_ones, start + size
        robust = held / count if attack is not None and attack.attack is not None else None
        return Accuracy(right / count, robust, count)

    def _counts(self, classifier: Classifier, attack: Inner | None, rows: slice) -> tuple[int, int]:
        """Images of a pass that are right, and those that stay so under attack."""
        device = classifier.device
        images, labels = self.images[rows].to(device), self.labels[rows].to(device)
        with torch.no_grad():
            right = int((classifier(images).argmax(1) == labels).sum())
        if attack is None or attack.attack is None:
            return right, 0
        found = craft(attack.attack, classifier, images, labels, ids=self.ids[rows])
        return right, round(found.robust_accuracy * len(images))
