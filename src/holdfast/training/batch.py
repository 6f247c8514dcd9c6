"""What one step of training sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TrainingBatch:
    """Images of one step with what they shall be taken for.

    Attributes:
        images: float [B, C, H, W] in [0, 1], augmented.
        targets: Class probabilities, float [B, K]: one-hot, or mixed by MixUp and CutMix.
        ids: Positions in the data set, int64 [B]; they key all randomness.
        adversarial: What an attack made of the images, [B, C, H, W]; None where none was made.
        views: Further draws of the same images, [V, B, C, H, W]; None where none were made.
    """

    images: Tensor
    targets: Tensor
    ids: Tensor
    adversarial: Tensor | None = None
    views: Tensor | None = None

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, ids: Tensor, *, classes: int) -> TrainingBatch:
        """Batch with one-hot targets of labels int64 [B]."""
        return cls(images, F.one_hot(labels, classes).to(images.dtype), ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Tensor:
        """The likeliest class of each target, int64 [B]: what an attack moves away from."""
        return self.targets.argmax(1)

    def take(self, rows: slice) -> TrainingBatch:
        """Some consecutive images."""
        views = None if self.views is None else self.views[:, rows]
        adversarial = None if self.adversarial is None else self.adversarial[rows]
        return TrainingBatch(
            self.images[rows], self.targets[rows], self.ids[rows], adversarial, views
        )

    def to(self, device: torch.device | str) -> TrainingBatch:
        """Move to a device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            views=None if self.views is None else self.views.to(device, non_blocking=True),
        )
