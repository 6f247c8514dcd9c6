"""Ever so small networks, as the training loop hands them to an objective."""

from __future__ import annotations

import torch
from torch import nn

from holdfast.models.small import small_cnn
from holdfast.training.batch import TrainingBatch
from holdfast.training.pretrain import Headless

SMALL = {
    "barlow_twins": {"projection": 6},
    "simclr": {"hidden": 6, "projection": 4},
    "vicreg": {"projection": 6},
    "dino": {"hidden": 6, "bottleneck": 4, "prototypes": 5},
}


class Projecting:
    """Normalization, network without its last layer, companion."""

    def __init__(self, method, *, width=2, seed=0, dtype=torch.float32):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.headless = Headless(small_cnn(10, width=width).to(dtype))
            self.net = self.headless.net
            self.companion = method.companion(self.net, self.headless.dimension).to(dtype)

    def __call__(self, images):
        return self.companion(self.net((images - 0.4) / 0.2))


class Fixed:
    """Gives these projections [V, B, P], whatever it is shown."""

    def __init__(self, projections):
        self.projections = projections
        self.companion = nn.Identity()

    def __call__(self, images):
        assert len(images) == self.projections.shape[0] * self.projections.shape[1]
        return self.projections.flatten(0, 1)


def uniform(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def batch_of(count, *, views=2, seed=0, dtype=torch.float32):
    images = uniform(count, 3, 8, 8, seed=seed, dtype=dtype)
    batch = TrainingBatch.of(
        images, torch.zeros(count, dtype=torch.int64), torch.arange(count), classes=10
    )
    drawn = uniform(views, count, 3, 8, 8, seed=seed + 1, dtype=dtype)
    return TrainingBatch(batch.images, batch.targets, batch.ids, views=drawn)
