"""The recipe of the networks in the table, for a stack of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks.pgd import PGD
from holdfast.search.making.attacking import worst_images
from holdfast.search.making.stack import Stack

_GROWING = 0.5  # share of the epochs in which the radius grows


@dataclass(frozen=True)
class Recipe:
    """What `holdfast.training` calls a recipe, of the few fields that the table needs.

    Cross-entropy, AdamW and the one-cycle schedule; with a radius, on images that PGD has moved
    in evaluation mode, the radius growing over the first half of the epochs. One network trained
    by `holdfast.training.Trainer` gets the same weights, but for rounding; that is tested.

    Attributes:
        eps: Linf radius of adversarial training (Madry et al. 2018, arXiv:1706.06083); 0: none.
        steps: Of its PGD.
    """

    epochs: int
    eps: float = 0.0
    steps: int = 3
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 5e-4


def train(
    stack: Stack, images: Tensor, labels: Tensor, recipe: Recipe, *, seed: int
) -> Iterator[Tensor]:
    """Train all networks in place, yielding each epoch's mean loss of each, [G].

    Args:
        stack: Fresh networks.
        images: [N, side, side] in [0, 1].
        labels: int64 [N].
        recipe: The same for all.
        seed: Decides order and attacks, which are the same for all networks.

    Raises:
        BadValueError: A loss is no longer a number.
    """
    batches = -(-len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(
        stack.parameters.values(), weight_decay=recipe.weight_decay, foreach=False
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros(len(stack.cells))
        for chosen in torch.split(_order(len(images), seed, epoch), recipe.batch_size):
            inputs, targets = images[chosen][None], labels[chosen]
            if recipe.eps:
                keys = keys_for(chosen, seed=seed, stream=f"training attack {epoch}")
                nets = stack.prepared(training=False)
                inputs = worst_images(_attack(recipe, epoch), nets, inputs[0], targets, keys)
            logits = stack.prepared(training=True)(inputs)
            losses = F.cross_entropy(
                logits.flatten(0, 1), targets.repeat(len(logits)), reduction="none"
            )
            means = losses.view(len(logits), -1).mean(1)
            optimizer.zero_grad()
            means.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += means.detach() * len(chosen)
        if not bool(total.isfinite().all()):
            raise BadValueError(f"a loss is no number in epoch {epoch}; lower the learning rate")
        yield total / len(images)


def _order(count: int, seed: int, epoch: int) -> Tensor:
    key = keys_for(torch.tensor([epoch]), seed=seed, stream="training").bits(1)
    return torch.randperm(count, generator=torch.Generator().manual_seed(int(key.item())))


def _attack(recipe: Recipe, epoch: int) -> PGD:
    grown = min(1.0, epoch / (recipe.epochs * _GROWING))
    return PGD(eps=recipe.eps * grown, steps=recipe.steps)
