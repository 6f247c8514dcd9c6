"""Images as the networks see them: 8 x 8 gray, what lies behind a 4 x 4 mean.

The digits are blocks of 4 x 4 equal gray pixels, so that nothing of a clean image is lost. The
networks are those of 32 x 32 images on three channels whose first layer takes the mean of each
block over pixels and channels (`Pooled`). An Linf ball around the large image is mapped exactly
onto the ball of the same radius around the small one, so the worst case in it is the same, and
attacks run on the small image. FGSM finds the same there. PGD starts at a random point of the
ball, which is near its middle once blocks are averaged, and is cut off at each pixel; on networks
trained by the recipe of the table its accuracy on the large image was the same to 0.03.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.data import Broken, open_dataset
from holdfast.perturb.base import Perturbation, to_8_bit
from holdfast.perturb.corruptions import Corruption

_BLOCK = 4


class Pooled(nn.Module):
    """A network of small gray images, for images [B, 3, 32, 32] in [0, 1]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(pooled(images)[:, None])
        return logits


def pooled(images: Tensor) -> Tensor:
    """Mean over blocks of pixels and over channels: [B, 3, 32, 32] to [B, 8, 8]."""
    return F.avg_pool2d(images, _BLOCK).mean(1)


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Images float [N, 3, 32, 32] in [0, 1] and labels int64 [N] of a split."""
    images, labels = [], []
    for sample in open_dataset("digits", split=split).read():
        if isinstance(sample, Broken):
            raise TypeError(f"the embedded digits hold no broken image, got {sample}")
        images.append(torch.tensor(sample.image).permute(2, 0, 1).float() / 255)
        labels.append(sample.label)
    return torch.stack(images), torch.tensor(labels)


def corrupted(
    images: Tensor, conditions: Sequence[Perturbation], *, seed: int
) -> Iterable[tuple[str, Tensor]]:
    """Each condition's text with the small images, [N, 8, 8]; what is no corruption is clean.

    Draws are keyed as in a measurement: by the image's place, and cut to 8 bits.
    """
    ids = torch.arange(len(images))
    for condition in conditions:
        seen = images
        if isinstance(condition, Corruption):
            seen = to_8_bit(condition.corrupt(images, ids, seed=seed))
        yield condition.spec, pooled(seen)
