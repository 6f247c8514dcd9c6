"""Networks and batches so small that a law can be checked on each weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from holdfast.core.randomness import Keys, keys_for
from holdfast.training.batch import TrainingBatch

CLASSES = 3
SIDE = 8


class Seen(nn.Module):
    """A network that notes what it was shown, and in which mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.shown: list[Tensor] = []
        self.with_gradient: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach().clone())
        self.with_gradient.append(images.requires_grad)
        return self.network(images)


class Pair:
    """A classifier whose images are looked for on another."""

    def __init__(self, network: Seen, search: Seen) -> None:
        self.network = network
        self.search = search

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images)


def network(*, normalized: bool = False, seed: int = 1) -> nn.Sequential:
    """Smooth, in training mode; with batch normalization if wanted."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        middle = [nn.BatchNorm2d(2)] if normalized else []
        made = nn.Sequential(
            nn.Conv2d(3, 2, 3, 2), *middle, nn.Tanh(), nn.Flatten(), nn.Linear(18, CLASSES)
        )
        nn.init.normal_(made[-1].weight, std=1.0)
    return made.train()


def linear(weight: Tensor) -> nn.Sequential:
    """Logits weight [K, 3 * 8 * 8] times pixels, without bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    made = nn.Sequential(nn.Flatten(), layer)
    made[1].weight.data.copy_(weight)
    return made


def batch(
    count: int = 4, *, classes: int = CLASSES, mixed: bool = False, seed: int = 5
) -> TrainingBatch:
    """Images on the 8-bit grid, away from the ends of the box, with their ids."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(60, 196, (count, 3, SIDE, SIDE), generator=generator) / 255
    labels = torch.randint(0, classes, (count,), generator=generator)
    made = TrainingBatch.of(images, labels, torch.arange(count) + 10, classes=classes)
    if not mixed:
        return made
    targets = torch.rand(count, classes, generator=generator).softmax(1)
    return TrainingBatch(images, targets, made.ids)


def keys(of: TrainingBatch, seed: int = 0) -> Keys:
    return keys_for(of.ids, seed=seed, stream="train")


def double(of: TrainingBatch) -> TrainingBatch:
    """The same in float64."""
    adversarial = None if of.adversarial is None else of.adversarial.double()
    views = None if of.views is None else of.views.double()
    return TrainingBatch(of.images.double(), of.targets.double(), of.ids, adversarial, views)


def gradients(of: nn.Module) -> list[Tensor]:
    return [weight.grad.clone() for weight in of.parameters()]


def all_equal(left: list[Tensor], right: list[Tensor]) -> bool:
    """Bit for bit."""
    return len(left) == len(right) and all(map(torch.equal, left, right))
