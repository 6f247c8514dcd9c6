"""The training loop: yields what happened in each epoch, and says nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks.inner import worst_images
from holdfast.perturb.attacks.pgd import PGD
from holdfast.training.recipe import Recipe

_GROWING = 0.5  # share of the epochs in which the radius of adversarial training grows


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images did.

    Attributes:
        epoch: Counts from 1.
        loss: Mean training loss.
    """

    epoch: int
    loss: float


def fit(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> Iterator[Epoch]:
    """Train `net` in place on images float [N, C, H, W] in [0, 1]; it ends in eval mode.

    Order and augmentation are decided by the recipe's seed alone; the global generator is as
    it was whenever the caller has the turn.

    Raises:
        BadValueError: No images, or the loss is no longer a number.
    """
    if len(images) == 0:
        raise BadValueError("there are no images to train on")
    steps = recipe.epochs * -(-len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps
    )
    classes = int(labels.max()) + 1
    mix = v2.MixUp(alpha=recipe.mixup, num_classes=classes) if recipe.mixup else None
    for epoch in range(1, recipe.epochs + 1):
        with _keyed(recipe.seed, epoch):
            net.train()
            total = 0.0
            for chosen in torch.split(torch.randperm(len(images)), recipe.batch_size):
                inputs, targets = augment(images[chosen], chosen, recipe, epoch), labels[chosen]
                if recipe.adversarial_eps:
                    inputs = _attacked(net, inputs, targets, chosen, recipe, epoch)
                if mix is not None:
                    inputs, targets = mix(inputs, targets)
                loss = F.cross_entropy(net(inputs), targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += loss.item() * len(chosen)
            net.eval()
        if not total < float("inf"):
            raise BadValueError(
                f"the loss is {total} in epoch {epoch}; lower the learning rate "
                f"({recipe.learning_rate})"
            )
        yield Epoch(epoch, total / len(images))


def augment(images: Tensor, ids: Tensor, recipe: Recipe, epoch: int) -> Tensor:
    """Turn, shift and add noise, each image by its own draw; float [B, C, H, W] in [0, 1]."""
    if recipe.rotation or recipe.shift:
        move = v2.RandomAffine(
            recipe.rotation,
            translate=(recipe.shift, recipe.shift),
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        # A batch given whole would be moved as one.
        images = torch.stack([move(image) for image in images])
    if recipe.noise:
        keys = keys_for(ids, seed=recipe.seed, stream=f"training noise {epoch}")
        sigma = keys.stream("sigma").uniform(1, 1, 1, high=recipe.noise).float()
        images = (images + sigma * keys.normal(*images.shape[1:])).clamp(0, 1)
    return images


def _attacked(
    net: nn.Module, images: Tensor, labels: Tensor, ids: Tensor, recipe: Recipe, epoch: int
) -> Tensor:
    """Images at which the network is worst, as PGD finds them in evaluation mode.

    The radius grows over the first epochs: from fresh weights a large one is never learned.
    """
    grown = min(1.0, epoch / (recipe.epochs * _GROWING))
    attack = PGD(eps=recipe.adversarial_eps * grown, steps=recipe.adversarial_steps)
    keys = keys_for(ids, seed=recipe.seed, stream=f"training attack {epoch}")
    net.eval()
    moved = worst_images(attack, net, images, labels, keys)
    net.train()
    return moved


@contextmanager
def _keyed(seed: int, epoch: int) -> Iterator[None]:
    """Seed the global generator that torchvision draws from, and put it back afterwards."""
    key = keys_for(torch.tensor([epoch]), seed=seed, stream="training").bits(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(key.item()))
        yield
